//! Why a network takes a digit for what it does: which pixels count, what happens without them, and what its layers see.

mod neighbours;
mod pictures;
mod reading;

use std::sync::Arc;

use crate::arch::Arch;
use crate::data::{Batch, CLASSES, Image, Images, PIXELS, SIDE};
use crate::metrics::{argmax, softmax};
use crate::nn::{Network, NetworkError};

pub use neighbours::{Neighbour, nearest};
pub use pictures::{LayerMaps, Picture};
pub use reading::Reading;

/// A value for each pixel, `[28, 28]`.
pub type Map = [f32; PIXELS];

/// Side of the square that occlusion puts over each pixel.
const PATCH: usize = 5;

/// All that is said of one digit.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Explanation {
    /// The class that is explained.
    pub class: u8,
    /// Gradient × input of the class's logit.
    #[serde(with = "crate::data::pixels")]
    pub saliency: Box<Map>,
    /// How much the class's probability falls when the pixel and those around it are wiped out.
    #[serde(with = "crate::data::pixels")]
    pub occlusion: Box<Map>,
    /// What speaks for and against each class.
    pub evidence: [Evidence; CLASSES],
    /// What each layer makes of the image; a residual block is one.
    pub layers: Vec<LayerMaps>,
    /// The weights of the first layer that has some.
    pub filters: LayerMaps,
}

/// What speaks for and against a class. The logit is their sum, and what the biases add.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Evidence {
    /// The class.
    pub class: u8,
    /// Its logit.
    pub logit: f32,
    /// Its probability.
    pub probability: f32,
    /// Sum of the positive gradient × input over the pixels.
    pub pro: f32,
    /// Sum of the negative ones.
    pub con: f32,
}

/// Gradient × input of the predicted class's logit: pixels above 0 speak for the prediction, those below 0 against it.
/// (Shrikumar et al. 2016, arXiv:1605.01713.)
pub fn saliency(network: &Reading, image: &Image) -> Map {
    let pass = network.forward(image);
    pass.saliency(argmax(&pass.logits()))
}

/// Explains why `network` gives `image` to `class`, or to what it predicts.
///
/// # Errors
/// If the network's device fails.
pub fn explain(
    network: &mut dyn Network,
    arch: &Arch,
    image: &Image,
    class: Option<u8>,
) -> Result<Explanation, NetworkError> {
    let state = network.state()?;
    let reading = Reading::new(arch, &state)?;
    let pass = reading.forward(image);
    let logits = pass.logits();
    let class = class.unwrap_or_else(|| argmax(&logits));
    let probabilities = softmax(&logits);
    let evidence = std::array::from_fn(|class| {
        let map = pass.saliency(class as u8);
        let sum = |sign: fn(&f32) -> bool| map.iter().copied().filter(sign).sum();
        Evidence {
            class: class as u8,
            logit: logits[class],
            probability: probabilities[class],
            pro: sum(|value| *value > 0.0),
            con: sum(|value| *value < 0.0),
        }
    });
    Ok(Explanation {
        class,
        saliency: Box::new(pass.saliency(class)),
        occlusion: Box::new(occlusion(network, image, class)?),
        evidence,
        layers: pass.maps(),
        filters: reading.filters(),
    })
}

/// A layer's units that never fire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadRelus {
    /// The layer's place in the network, from 1.
    pub layer: String,
    /// Channels, or values of a vector, that are 0 for every image.
    pub dead: usize,
    /// All of them.
    pub units: usize,
}

impl DeadRelus {
    /// The share that is dead.
    pub fn share(&self) -> f64 {
        self.dead as f64 / self.units.max(1) as f64
    }
}

/// The layers in which units are 0 everywhere in each of these images.
///
/// # Errors
/// If the network's device fails.
pub fn dead_relus<'a>(
    network: &dyn Network,
    arch: &Arch,
    images: impl Iterator<Item = &'a Image>,
) -> Result<Vec<DeadRelus>, NetworkError> {
    let state = network.state()?;
    let reading = Reading::new(arch, &state)?;
    let mut layers: Vec<(String, Vec<bool>)> = Vec::new();
    for image in images {
        let fired = reading.forward(image).fired();
        if layers.is_empty() {
            layers = fired;
            continue;
        }
        for ((_, all), (_, fired)) in layers.iter_mut().zip(fired) {
            all.iter_mut().zip(fired).for_each(|(all, fired)| *all |= fired);
        }
    }
    let count = |(layer, fired): (String, Vec<bool>)| DeadRelus {
        layer,
        dead: fired.iter().filter(|fired| !**fired).count(),
        units: fired.len(),
    };
    Ok(layers.into_iter().map(count).filter(|layer| layer.dead > 0).collect())
}

/// How much the probability of `class` falls when a square of 5×5 around each pixel is wiped out (Zeiler and Fergus 2014): above 0
/// the network needs what is there.
///
/// # Errors
/// If the network's device fails.
pub fn occlusion(network: &mut dyn Network, image: &Image, class: u8) -> Result<Map, NetworkError> {
    let mut pixels = Vec::with_capacity((PIXELS + 1) * PIXELS);
    pixels.extend_from_slice(image);
    for centre in 0..PIXELS {
        pixels.extend_from_slice(&without(image, centre));
    }
    let images = Arc::new(Images::new(pixels, vec![0; PIXELS + 1]));
    let logits = network.logits(&Batch::new(images, (0..=PIXELS as u32).collect()))?;
    let probability = |index: usize| softmax(&logits[index])[usize::from(class)];
    Ok(std::array::from_fn(|pixel| probability(0) - probability(pixel + 1)))
}

/// The image with a square of background over pixel `centre`.
fn without(image: &Image, centre: usize) -> Image {
    let (y, x) = (centre / SIDE, centre % SIDE);
    let mut wiped = *image;
    let reach = |at: usize| at.saturating_sub(PATCH / 2)..(at + PATCH / 2 + 1).min(SIDE);
    for row in reach(y) {
        for column in reach(x) {
            wiped[row * SIDE + column] = 0;
        }
    }
    wiped
}

#[cfg(test)]
mod tests;
