//! Predictions: one image, several, or one picture with several digits.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};

use super::App;
use super::answer::{
    ImageForm, ImagesBody, PixelBody, PredictOptions, Prediction, Predictions, PreprocessName, ReadDigit, ReadOptions,
    Reading,
};
use super::input::Upload;
use super::refusal::{Refusal, Refused};
use crate::command::{Command, Depth};
use crate::data::Image;
use crate::data::picture::{MOST_DIGITS, Preprocessed};
use crate::error::Error;
use crate::reply::Reply;

/// Images of one request whose pixels are asked for: a gradient takes much longer than a prediction, and a run waits.
const MOST_EXPLAINED: usize = MOST_DIGITS;

/// The digit on an image
#[utoipa::path(
    post, path = "/predict", params(PredictOptions),
    request_body(content(
        (ImageForm = "multipart/form-data"),
        (String = "image/png"),
        (String = "image/jpeg"),
        (PixelBody = "application/json"),
    )),
    responses(
        (status = 200, body = Prediction, description = "what the network says"),
        Refused,
    ),
    security((), ("token" = [])),
)]
pub async fn predict(
    State(app): State<App>,
    options: Result<Query<PredictOptions>, QueryRejection>,
    upload: Upload,
) -> Result<Json<Prediction>, Refusal> {
    let mut predictions = app.predict(options?.0, upload.single()?).await?;
    predictions.pop().map(Json).ok_or_else(Refusal::busy)
}

/// The digits on several images, one each
#[utoipa::path(
    post, path = "/predict/batch", params(PredictOptions),
    request_body(content(
        (ImageForm = "multipart/form-data"),
        (ImagesBody = "application/json"),
    )),
    responses(
        (status = 200, body = Predictions, description = "one prediction for each image, in their order"),
        Refused,
    ),
    security((), ("token" = [])),
)]
pub async fn predict_batch(
    State(app): State<App>,
    options: Result<Query<PredictOptions>, QueryRejection>,
    upload: Upload,
) -> Result<Json<Predictions>, Refusal> {
    Ok(Json(Predictions { predictions: app.predict(options?.0, upload).await? }))
}

/// All digits on one picture, from left to right; what comes as `pixels` is taken for one digit
#[utoipa::path(
    post, path = "/read", params(ReadOptions),
    request_body(content(
        (ImageForm = "multipart/form-data"),
        (String = "image/png"),
        (String = "image/jpeg"),
        (PixelBody = "application/json"),
    )),
    responses(
        (status = 200, body = Reading, description = "the digits that were found"),
        Refused,
    ),
    security((), ("token" = [])),
)]
pub async fn read(
    State(app): State<App>,
    options: Result<Query<ReadOptions>, QueryRejection>,
    upload: Upload,
) -> Result<Json<Reading>, Refusal> {
    let ReadOptions { detail, saliency } = options?.0;
    let options = PredictOptions { preprocess: PreprocessName::Auto, detail, saliency };
    let found = upload.digits(&app).await?;
    let places: Vec<[u32; 4]> = found.iter().map(|found| found.place).collect();
    let prepared: Vec<Preprocessed> = found.into_iter().map(|found| found.digit).collect();
    let predictions = app.ask(&prepared, options).await?;
    let text = predictions.iter().map(|prediction| prediction.digit.to_string()).collect();
    let digits = places.into_iter().zip(predictions).map(|(place, prediction)| ReadDigit { place, prediction });
    Ok(Json(Reading { text, digits: digits.collect() }))
}

impl App {
    async fn predict(&self, options: PredictOptions, upload: Upload) -> Result<Vec<Prediction>, Refusal> {
        let prepared = upload.prepare(self, options.preprocess.into()).await?;
        self.ask(&prepared, options).await
    }

    /// What the network says of these images.
    async fn ask(&self, prepared: &[Preprocessed], options: PredictOptions) -> Result<Vec<Prediction>, Refusal> {
        let images: Vec<Image> = prepared.iter().map(|prepared| prepared.image).collect();
        let depth = if options.saliency { Depth::Saliency } else { Depth::Classes };
        if depth == Depth::Saliency && images.len() > MOST_EXPLAINED {
            return Err(Refusal::too_large(format!("saliency is for {MOST_EXPLAINED} images at once: send fewer")));
        }
        let Reply::Classified(answer) = self.0.lab.ask(Command::Classify { images, depth }).await? else {
            return Err(Refusal::busy());
        };
        if answer.probabilities.iter().flatten().any(|probability| !probability.is_finite()) {
            return Err(Error::Failed("the network's weights are not finite: load another session".into()).into());
        }
        let predictions = Prediction::of(prepared, &answer, options);
        self.0.metrics.predicted(predictions.iter().map(|prediction| prediction.digit));
        Ok(predictions)
    }
}
