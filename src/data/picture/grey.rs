//! Decoding an image file into grey values, within limits.

use std::io::Cursor;

use image::error::ImageError;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageReader, Limits, Luma, RgbaImage};

use super::{MOST_PIXELS, PictureError};

/// Behind transparent pixels: paper.
pub const WHITE: u8 = 255;
/// Behind transparent pixels: MNIST's background.
pub const BLACK: u8 = 0;

/// A decoded image, upright.
pub struct Picture(RgbaImage);

impl Picture {
    /// Grey values (ITU-R 601, as Pillow's `L`) on a background of this grey.
    pub fn on(&self, background: u8) -> GrayImage {
        GrayImage::from_fn(self.0.width(), self.0.height(), |x, y| {
            let [red, green, blue, alpha] = self.0.get_pixel(x, y).0.map(u32::from);
            let grey = (299 * red + 587 * green + 114 * blue + 500) / 1000;
            Luma([((grey * alpha + u32::from(background) * (255 - alpha) + 127) / 255) as u8])
        })
    }

    /// Whether something behind the image would show.
    pub fn is_transparent(&self) -> bool {
        self.0.pixels().any(|pixel| pixel.0[3] < 255)
    }
}

/// Width times height, from the file's head alone.
pub fn pixels(bytes: &[u8]) -> Result<u64, PictureError> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|_| PictureError::Format)?;
    reader.format().ok_or(PictureError::Format)?;
    let (width, height) = reader.into_dimensions().map_err(sentence)?;
    Ok(u64::from(width) * u64::from(height))
}

/// Decodes a PNG, JPEG or PNM file, told by its content; a photograph is turned as its camera says.
pub fn decode(bytes: &[u8]) -> Result<Picture, PictureError> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_PIXELS * 16);
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|_| PictureError::Format)?;
    reader.format().ok_or(PictureError::Format)?;
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(sentence)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(PictureError::TooLarge(format!("{width}×{height}")));
    }
    if width == 0 || height == 0 {
        return Err(PictureError::Damaged("it has no pixels".into()));
    }
    // Without the note which side is up, the image is as it is.
    let orientation = decoder.orientation().ok();
    let mut image = DynamicImage::from_decoder(decoder).map_err(sentence)?;
    if let Some(orientation) = orientation {
        image.apply_orientation(orientation);
    }
    Ok(Picture(image.into_rgba8()))
}

fn sentence(error: ImageError) -> PictureError {
    match error {
        ImageError::Unsupported(_) => PictureError::Format,
        ImageError::Limits(error) => PictureError::TooLarge(error.to_string()),
        error => PictureError::Damaged(error.to_string()),
    }
}
