//! From a request's body to images: forms, files and JSON.

use axum::body::Bytes;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{StatusCode, header};

use super::App;
use super::answer::{ImagesBody, PixelBody};
use super::refusal::Refusal;
use crate::data::picture::{self, Found, Preprocess, Preprocessed};
use crate::data::{Image, PIXELS};

/// A request may bring this many images.
pub const MOST_IMAGES: usize = 256;
/// The form's field.
const FIELD: &str = "image";

/// The images that a request brought; at least one.
#[derive(Debug)]
pub struct Upload(Vec<Brought>);

#[derive(Debug)]
enum Brought {
    File(Bytes),
    Pixels(Box<Image>),
}

impl Upload {
    /// The images as the network sees them.
    pub(super) async fn prepare(self, app: &App, preprocess: Preprocess) -> Result<Vec<Preprocessed>, Refusal> {
        let mut prepared = Vec::with_capacity(self.0.len());
        for brought in self.0 {
            prepared.push(match brought {
                Brought::Pixels(pixels) => picture::from_pixels(&pixels, preprocess)?,
                Brought::File(bytes) => app.decode(bytes, move |bytes| picture::decode(bytes, preprocess)).await?,
            });
        }
        Ok(prepared)
    }

    /// The digits on the only image.
    pub(super) async fn digits(self, app: &App) -> Result<Vec<Found>, Refusal> {
        match self.only()? {
            Brought::File(bytes) => app.decode(bytes, picture::digits).await,
            Brought::Pixels(pixels) => {
                let digit = picture::from_pixels(&pixels, Preprocess::Auto)?;
                let [width, height] = digit.size;
                Ok(vec![Found { digit, place: [0, 0, width, height] }])
            }
        }
    }

    /// The same, if it is one image.
    pub(super) fn single(self) -> Result<Self, Refusal> {
        Ok(Self(vec![self.only()?]))
    }

    fn only(mut self) -> Result<Brought, Refusal> {
        match (self.0.pop(), self.0.is_empty()) {
            (Some(image), true) => Ok(image),
            _ => Err(Refusal::bad("this takes one image: /predict/batch takes several")),
        }
    }
}

impl App {
    /// Decodes a file: a small one at once, a large one when it is its turn.
    async fn decode<T: Send + 'static>(
        &self,
        bytes: Bytes,
        decode: impl FnOnce(&[u8]) -> Result<T, picture::PictureError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let pixels = picture::pixels(&bytes)?;
        if pixels > picture::MOST_PIXELS {
            return Err(Refusal::too_large(format!(
                "the image has {pixels} pixels: make it smaller, up to 16 megapixels"
            )));
        }
        if pixels <= super::LARGE_PICTURE {
            return Ok(decode(&bytes)?);
        }
        let turn = self.0.large.clone().acquire_owned().await.map_err(|_| Refusal::busy())?;
        let decoding = tokio::task::spawn_blocking(move || {
            let decoded = decode(&bytes);
            drop(turn);
            decoded
        });
        Ok(decoding.await.map_err(|_| Refusal::busy())??)
    }
}

impl<S: Send + Sync> FromRequest<S> for Upload {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let images = match kind.as_str() {
            "multipart/form-data" => from_form(Multipart::from_request(request, state).await?).await?,
            "application/json" => from_json(&Bytes::from_request(request, state).await?)?,
            "application/octet-stream" => vec![Brought::File(Bytes::from_request(request, state).await?)],
            kind if kind.starts_with("image/") => vec![Brought::File(Bytes::from_request(request, state).await?)],
            _ => {
                let sentence = "send the image as multipart/form-data with a field `image`, as image/png or image/jpeg, \
                                or as application/json with `pixels`";
                return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence));
            }
        };
        if images.is_empty() {
            return Err(Refusal::bad(format!("there is no image: put a file into the field `{FIELD}`")));
        }
        if images.len() > MOST_IMAGES {
            return Err(Refusal::too_large(format!("these are more than {MOST_IMAGES} images: send fewer at once")));
        }
        if images.iter().any(|image| matches!(image, Brought::File(bytes) if bytes.is_empty())) {
            return Err(Refusal::bad("the image is empty: send a PNG, JPEG or PGM file"));
        }
        Ok(Self(images))
    }
}

async fn from_form(mut form: Multipart) -> Result<Vec<Brought>, Refusal> {
    let mut images = Vec::new();
    while let Some(field) = form.next_field().await? {
        if field.name() == Some(FIELD) && images.len() <= MOST_IMAGES {
            images.push(Brought::File(field.bytes().await?));
        }
    }
    Ok(images)
}

/// `{"pixels": [784]}` or `{"images": [[784], …]}`
fn from_json(bytes: &[u8]) -> Result<Vec<Brought>, Refusal> {
    let problem = match serde_json::from_slice::<PixelBody>(bytes) {
        Ok(body) => return Ok(vec![from_pixels(&body.pixels)?]),
        Err(problem) => problem,
    };
    // Whoever sent `images` wants to hear what is wrong with these.
    let problem = match serde_json::from_slice::<ImagesBody>(bytes) {
        Ok(body) if body.images.len() > MOST_IMAGES => {
            return Err(Refusal::too_large(format!("these are more than {MOST_IMAGES} images: send fewer at once")));
        }
        Ok(body) => return body.images.iter().map(|pixels| from_pixels(pixels)).collect(),
        Err(other) if problem.to_string().contains("`images`") => other,
        Err(_) => problem,
    };
    let status = if problem.is_data() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
    Err(Refusal::new(status, format!("the JSON is not {{\"pixels\": [784 integers from 0 to 255]}}: {problem}")))
}

fn from_pixels(pixels: &[u8]) -> Result<Brought, Refusal> {
    let image = <&Image>::try_from(pixels).map_err(|_| {
        let sentence = format!("an image has 28×28 = {PIXELS} pixels, but these are {}", pixels.len());
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, sentence)
    })?;
    Ok(Brought::Pixels(Box::new(*image)))
}
