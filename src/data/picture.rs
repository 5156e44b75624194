//! Image files.
/// Why an image file can't be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PictureError(pub String);
