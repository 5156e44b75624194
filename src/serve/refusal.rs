//! Requests that are not answered: a status and a sentence, always as `{"error": …}`.

use axum::Json;
use axum::extract::multipart::{MultipartError, MultipartRejection};
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use utoipa::IntoResponses;

use super::answer::ErrorBody;
use super::listen::REQUEST;
use crate::data::picture::PictureError;
use crate::error::Error;

/// Why a request is not answered.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    sentence: String,
}

impl Refusal {
    /// With this status, for this reason.
    pub fn new(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self { status, sentence: sentence.into() }
    }

    /// The request itself is wrong.
    pub fn bad(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, sentence)
    }

    /// There is more than is taken.
    pub fn too_large(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, sentence)
    }

    /// The server has its hands full.
    pub fn busy() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests are under way: try again in a moment")
    }

    /// The lab has no network that could answer: it loads one still, could not, or has closed.
    pub fn no_network() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "no network is loaded: the lab loads it, could not, or has ended")
    }

    /// The request took too long.
    pub fn slow() -> Self {
        let seconds = REQUEST.as_secs();
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the request was not complete within {seconds} seconds: send it again"),
        )
    }

    /// The token is missing or wrong.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "send the server's token along, as `Authorization: Bearer TOKEN`")
    }

    /// Nothing is there.
    pub fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is nothing at this path: /openapi.json describes what there is")
    }

    /// What is there wants another method.
    pub fn no_such_method() -> Self {
        let sentence = "this path is asked in another way (GET or POST): /openapi.json tells how";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, sentence)
    }

    /// From what axum says of a body that it could not read.
    fn body(status: StatusCode, text: String) -> Self {
        match status {
            StatusCode::PAYLOAD_TOO_LARGE => Self::too_large("the body is larger than 4 MiB: send a smaller image"),
            status => Self::new(status, text),
        }
    }
}

/// How pictures are refused, for the API's description.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes what a `Refusal` can be")]
pub enum Refused {
    /// The request can't be understood, or holds no image, or several where one is wanted.
    #[response(status = 400)]
    Bad(ErrorBody),
    /// The server wants a token.
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// The request came too slowly.
    #[response(status = 408)]
    Slow(ErrorBody),
    /// Over 4 MiB, 256 images (32 with `saliency`), or 16 megapixels in one.
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// No PNG, JPEG or PGM.
    #[response(status = 415)]
    Unsupported(ErrorBody),
    /// An image is damaged, blank, of the wrong size, or has more marks than digits are read.
    #[response(status = 422)]
    Unreadable(ErrorBody),
    /// Too many requests at once, or no network is loaded.
    #[response(status = 503)]
    Busy(ErrorBody),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(ErrorBody { error: self.sentence })).into_response()
    }
}

impl From<PictureError> for Refusal {
    fn from(error: PictureError) -> Self {
        let status = match error {
            PictureError::Format => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            PictureError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            PictureError::Damaged(_) | PictureError::Blank | PictureError::Crowded(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
        };
        Self::new(status, error.to_string())
    }
}

/// What the lab can't do is nobody's fault outside.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad(rejection.body_text())
    }
}

impl From<BytesRejection> for Refusal {
    fn from(rejection: BytesRejection) -> Self {
        Self::body(rejection.status(), rejection.body_text())
    }
}

impl From<MultipartRejection> for Refusal {
    fn from(rejection: MultipartRejection) -> Self {
        Self::body(rejection.status(), rejection.body_text())
    }
}

impl From<MultipartError> for Refusal {
    fn from(error: MultipartError) -> Self {
        Self::body(error.status(), error.body_text())
    }
}
