//! Image files (PNG, JPEG, PGM) as a network expects them: light ink on black, 28×28, centred as MNIST's digits are.

mod auto;
mod grey;
mod segment;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use image::GrayImage;
use image::imageops::{FilterType, resize};

use super::{DataError, Image, PIXELS, SIDE};

/// An image may have this many pixels (a 4096×4096 square), so that a small hostile file cannot fill the memory.
pub const MOST_PIXELS: u64 = 1 << 24;
/// A picture may have this many digits.
pub const MOST_DIGITS: usize = 32;
/// An image file may have this many bytes.
pub const MOST_BYTES: u64 = 64 << 20;

/// How an image file becomes a 28×28 image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preprocess {
    /// As MNIST was made: ink light on black, cropped, scaled into 20×20 pixels, centred by mass in 28×28.
    #[default]
    Auto,
    /// Grey values and scale alone, as the Keras tutorial does.
    Raw,
}

impl FromStr for Preprocess {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "raw" => Ok(Self::Raw),
            _ => Err(format!("preprocess is auto or raw, but {text:?} was given")),
        }
    }
}

impl fmt::Display for Preprocess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Raw => "raw",
        })
    }
}

/// Why a file gives no digit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// The content is of no kind that can be read.
    #[error("it is no PNG, JPEG or PGM image: save it as one of these")]
    Format,
    /// The content starts well, but cannot be decoded.
    #[error("the image is damaged ({0}): save it again")]
    Damaged(String),
    /// Larger than [`MOST_PIXELS`] or [`MOST_BYTES`].
    #[error("the image is too large ({0}): make it smaller, up to 16 megapixels in 64 MiB")]
    TooLarge(String),
    /// Nothing is on it.
    #[error("the image is blank: no ink stands out from its background; use one with more contrast")]
    Blank,
    /// More marks than [`MOST_DIGITS`].
    #[error("the image has {0} separate marks: crop it to {MOST_DIGITS} digits or fewer")]
    Crowded(usize),
}

/// A 28×28 image and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preprocessed {
    /// What the network sees, `[height, width]`.
    pub image: Image,
    /// Width and height of the file's image in pixels.
    pub size: [u32; 2],
    /// Whether dark ink on a light background was made light on black.
    pub inverted: bool,
    /// What was done to the shape.
    pub shape: Shape,
}

/// What was done to bring an image to 28×28.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// It had the size, and the digit the place, that MNIST's have.
    Kept,
    /// The whole image was scaled.
    Scaled,
    /// The ink's bounding box, of this width and height, was scaled into 20×20 pixels and centred by mass.
    Cropped([u32; 2]),
}

/// A digit and where on the picture it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The digit, as a network expects it.
    pub digit: Preprocessed,
    /// Column, row, width and height of its ink in pixels of the picture.
    pub place: [u32; 4],
}

impl fmt::Display for Preprocessed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [width, height] = self.size;
        write!(f, "{width}×{height} image")?;
        if self.inverted {
            f.write_str(", inverted to light on dark")?;
        }
        match self.shape {
            Shape::Kept => f.write_str(", kept as it is"),
            Shape::Scaled => write!(f, ", scaled to {SIDE}×{SIDE}"),
            Shape::Cropped([width, height]) => {
                write!(f, ", cropped to {width}×{height}, scaled into 20×20 and centred by mass")
            }
        }
    }
}

/// Reads the image file at `path`.
///
/// # Errors
/// If the file cannot be read, is no image, is too large or blank.
pub fn read(path: &Path, preprocess: Preprocess) -> Result<Preprocessed, DataError> {
    let wrong = |problem: String| DataError { path: path.into(), problem };
    let unreadable = |error: std::io::Error| wrong(format!("the image cannot be read ({error}): check its path"));
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err(wrong("it is no file: give the path of a PNG, JPEG or PGM image".into()));
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(unreadable)?.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    decode(&bytes, preprocess).map_err(|error| wrong(error.to_string()))
}

/// Reads the image file that consists of `bytes`; what kind it is of is told by its content.
///
/// # Errors
/// If it is no image, is too large or blank.
pub fn decode(bytes: &[u8], preprocess: Preprocess) -> Result<Preprocessed, PictureError> {
    let picture = open(bytes)?;
    match preprocess {
        Preprocess::Raw => raw(&picture.on(grey::WHITE)),
        Preprocess::Auto => ink_on(&picture, auto::preprocess),
    }
}

/// The digits on the image file that consists of `bytes`, from left to right, each as [`Preprocess::Auto`] makes it.
///
/// # Errors
/// As [`decode`]; or if there are more than [`MOST_DIGITS`].
pub fn digits(bytes: &[u8]) -> Result<Vec<Found>, PictureError> {
    ink_on(&open(bytes)?, segment::find)
}

/// Grey values `[height, width]`, 0 for black to 255, as [`decode`] takes them from a file.
///
/// # Errors
/// If nothing is on it.
pub fn from_pixels(pixels: &Image, preprocess: Preprocess) -> Result<Preprocessed, PictureError> {
    let side = SIDE as u32;
    let grey = GrayImage::from_raw(side, side, pixels.to_vec()).ok_or(PictureError::Blank)?;
    match preprocess {
        Preprocess::Raw => raw(&grey),
        Preprocess::Auto => auto::preprocess(&grey),
    }
}

/// How many pixels the image file that consists of `bytes` says it has; nothing is decoded.
///
/// # Errors
/// If it is no image.
pub fn pixels(bytes: &[u8]) -> Result<u64, PictureError> {
    grey::pixels(bytes)
}

fn open(bytes: &[u8]) -> Result<grey::Picture, PictureError> {
    if bytes.len() as u64 > MOST_BYTES {
        return Err(PictureError::TooLarge(format!("{} MiB", bytes.len() >> 20)));
    }
    grey::decode(bytes)
}

/// What `find` sees on paper; white ink on nothing shows on black alone.
fn ink_on<T>(picture: &grey::Picture, find: impl Fn(&GrayImage) -> Result<T, PictureError>) -> Result<T, PictureError> {
    match find(&picture.on(grey::WHITE)) {
        Err(PictureError::Blank) if picture.is_transparent() => find(&picture.on(grey::BLACK)),
        result => result,
    }
}

fn raw(grey: &GrayImage) -> Result<Preprocessed, PictureError> {
    if grey.iter().all(|pixel| *pixel == grey.as_raw()[0]) {
        return Err(PictureError::Blank);
    }
    let size = [grey.width(), grey.height()];
    // Pillow's `resize`, which the tutorial's server calls, is bicubic and antialiased as well.
    let scaled = resize(grey, SIDE as u32, SIDE as u32, FilterType::CatmullRom);
    let mut image = [0; PIXELS];
    image.copy_from_slice(scaled.as_raw());
    Ok(Preprocessed { image, size, inverted: false, shape: Shape::Scaled })
}
