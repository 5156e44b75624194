//! What requests may say and what they are answered, as the API's description shows it.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::data::CLASSES;
use crate::data::picture::{Preprocess, Preprocessed};
use crate::metrics::argmax;
use crate::reply::Classified;
use crate::state::{LabState, Phase};

/// How an image becomes what the network sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PreprocessName {
    /// As MNIST was made: ink light on black, cropped, scaled into 20×20 pixels, centred by mass in 28×28.
    #[default]
    Auto,
    /// Grey values and scale alone, as the Keras tutorial does.
    Raw,
}

impl From<PreprocessName> for Preprocess {
    fn from(name: PreprocessName) -> Self {
        match name {
            PreprocessName::Auto => Self::Auto,
            PreprocessName::Raw => Self::Raw,
        }
    }
}

/// What can be asked of a prediction.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub struct PredictOptions {
    /// How the image becomes what the network sees.
    #[param(inline, default = "auto")]
    pub preprocess: PreprocessName,
    /// Whether the answer holds the image as the network sees it.
    #[param(default = false)]
    pub detail: bool,
    /// Whether the answer holds which pixels spoke for the digit.
    #[param(default = false)]
    pub saliency: bool,
}

/// What can be asked of a picture with several digits.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub struct ReadOptions {
    /// Whether the answer holds the images as the network sees them.
    #[param(default = false)]
    pub detail: bool,
    /// Whether the answer holds which pixels spoke for each digit.
    #[param(default = false)]
    pub saliency: bool,
}

/// An image as JSON.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PixelBody {
    /// 28×28 grey values, row by row from the top left, 0 for black to 255.
    #[schema(min_items = 784, max_items = 784)]
    pub pixels: Vec<u8>,
}

/// Several images as JSON.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImagesBody {
    /// Each 28×28 grey values, row by row from the top left, 0 for black to 255.
    #[schema(min_items = 1, max_items = 256)]
    pub images: Vec<Vec<u8>>,
}

/// An image file in a form, as browsers and `curl -F image=@digit.png` send it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes a form, which is read field by field")]
pub struct ImageForm {
    /// A PNG, JPEG or PGM file.
    #[schema(value_type = String, format = Binary)]
    pub image: Vec<u8>,
}

/// What the network says of an image.
#[derive(Debug, Serialize, ToSchema)]
pub struct Prediction {
    /// The most probable class.
    #[schema(maximum = 9)]
    pub digit: u8,
    /// Its probability.
    #[schema(minimum = 0, maximum = 1)]
    pub confidence: f32,
    /// Of each class, 0 to 9.
    pub probabilities: [f32; CLASSES],
    /// How the image became what the network saw.
    #[schema(inline)]
    pub preprocess: PreprocessName,
    /// The same in words.
    #[schema(examples(
        "280×280 image, inverted to light on dark, cropped to 90×180, scaled into 20×20 and centred by mass"
    ))]
    pub prepared: String,
    /// Epochs that the network had been trained for.
    pub epoch: u32,
    /// Steps that it had been trained for.
    pub step: u64,
    /// With `detail`: the 28×28 grey values that the network saw, row by row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Vec<u8>>,
    /// With `saliency`: gradient × input of the digit's logit for each pixel, row by row; above 0 it spoke for the digit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saliency: Option<Vec<f32>>,
}

/// Predictions of several images, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub struct Predictions {
    /// One for each image.
    pub predictions: Vec<Prediction>,
}

/// The digits that were found on a picture.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reading {
    /// The digits from left to right.
    #[schema(examples("1998"))]
    pub text: String,
    /// Each of them.
    pub digits: Vec<ReadDigit>,
}

/// A digit on a picture.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadDigit {
    /// Column, row, width and height of its ink in pixels of the picture; of the whole picture where that came as `pixels`, or is
    /// 28×28 with the digit in its place, as MNIST's own are.
    pub place: [u32; 4],
    /// What the network says of it.
    #[serde(flatten)]
    pub prediction: Prediction,
}

/// The network that answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelCard {
    /// The session's name.
    pub session: String,
    /// The layers.
    pub arch: String,
    /// How many numbers training adjusts.
    pub parameters: usize,
    /// Where it computes.
    pub device: String,
    /// What it was trained on.
    pub data: String,
    /// Of each class, 0 to 9.
    pub classes: Vec<String>,
    /// Epochs done.
    pub epoch: u32,
    /// Steps made.
    pub step: u64,
    /// Validation accuracy after the last epoch.
    pub val_accuracy: Option<f64>,
    /// Test accuracy, if it was measured of these weights.
    pub test_accuracy: Option<f64>,
    /// Whether it is being trained.
    pub training: bool,
    /// The version of mnist-lab.
    pub version: &'static str,
}

/// Why a request was not answered.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// What is wrong and what to do.
    pub error: String,
}

impl Prediction {
    /// Of each prepared image what the network said.
    pub fn of(prepared: &[Preprocessed], answer: &Classified, options: PredictOptions) -> Vec<Self> {
        let one = |(index, (prepared, &probabilities)): (usize, (&Preprocessed, &[f32; CLASSES]))| {
            let digit = argmax(&probabilities);
            Self {
                digit,
                confidence: probabilities[usize::from(digit)],
                probabilities,
                preprocess: options.preprocess,
                prepared: prepared.to_string(),
                epoch: answer.epoch,
                step: answer.step,
                image: options.detail.then(|| prepared.image.to_vec()),
                saliency: answer.saliency.get(index).map(|map| map.to_vec()),
            }
        };
        prepared.iter().zip(&answer.probabilities).enumerate().map(one).collect()
    }
}

impl ModelCard {
    /// Of the lab's run; `None` while it loads.
    pub fn of(state: &LabState) -> Option<Self> {
        let (run, dataset) = (state.run.as_ref()?, state.dataset.as_ref()?);
        let validation = state.history.epochs.last().and_then(|epoch| epoch.validation);
        let tested = state.test.as_ref().filter(|tested| tested.step == state.progress.step);
        Some(Self {
            session: run.name.clone(),
            arch: run.arch().to_string(),
            parameters: run.parameters,
            device: run.device.to_string(),
            data: dataset.name.clone(),
            classes: (0..CLASSES as u8).map(|class| dataset.class_name(class)).collect(),
            epoch: state.progress.epoch,
            step: state.progress.step,
            val_accuracy: validation.map(|validation| validation.accuracy),
            test_accuracy: tested.map(|tested| tested.evaluation.confusion.accuracy()),
            training: state.phase == Phase::Training,
            version: env!("CARGO_PKG_VERSION"),
        })
    }
}
