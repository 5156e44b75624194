//! Corrupted images, to see how robust a network is: the fifteen kinds of MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337), each in
//! five severities.
//!
//! The kinds are the paper's; strengths follow it where it gives them, at the size of these images. A corrupted set is a pure
//! function of the images, the kind and the severity.

mod blur;
mod canvas;
mod edges;
mod geometry;
mod light;
mod lines;
mod noise;

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSliceMut};

use super::{Image, Images, PIXELS};
use crate::random::{Purpose, Stream};
use canvas::Canvas;

/// What can be done to an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Random numbers of photons.
    ShotNoise,
    /// Single pixels white or black.
    ImpulseNoise,
    /// As through frosted glass.
    GlassBlur,
    /// A camera in motion.
    MotionBlur,
    /// Slanted.
    Shear,
    /// Smaller.
    Scale,
    /// Turned.
    Rotate,
    /// Lighter everywhere.
    Brightness,
    /// Moved.
    Translate,
    /// A vertical stripe in the middle inverted.
    Stripe,
    /// Fog in front.
    Fog,
    /// Drops of ink.
    Spatter,
    /// A dotted line across.
    DottedLine,
    /// A zigzag across.
    Zigzag,
    /// Edges alone.
    CannyEdges,
}

impl Kind {
    /// All of them, in the paper's order.
    pub const ALL: [Self; 15] = [
        Self::ShotNoise,
        Self::ImpulseNoise,
        Self::GlassBlur,
        Self::MotionBlur,
        Self::Shear,
        Self::Scale,
        Self::Rotate,
        Self::Brightness,
        Self::Translate,
        Self::Stripe,
        Self::Fog,
        Self::Spatter,
        Self::DottedLine,
        Self::Zigzag,
        Self::CannyEdges,
    ];

    /// Its name in MNIST-C.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ShotNoise => "shot_noise",
            Self::ImpulseNoise => "impulse_noise",
            Self::GlassBlur => "glass_blur",
            Self::MotionBlur => "motion_blur",
            Self::Shear => "shear",
            Self::Scale => "scale",
            Self::Rotate => "rotate",
            Self::Brightness => "brightness",
            Self::Translate => "translate",
            Self::Stripe => "stripe",
            Self::Fog => "fog",
            Self::Spatter => "spatter",
            Self::DottedLine => "dotted_line",
            Self::Zigzag => "zigzag",
            Self::CannyEdges => "canny_edges",
        }
    }
}

/// A kind and how strong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// What is done.
    pub kind: Kind,
    severity: u8,
}

/// The severity if none is named.
pub const SEVERITY: u8 = 3;

impl Corruption {
    /// `kind` at a severity from 1 to 5.
    ///
    /// # Errors
    /// If the severity is another number.
    pub fn new(kind: Kind, severity: u8) -> Result<Self, String> {
        if (1..=5).contains(&severity) { Ok(Self { kind, severity }) } else { Err(no_severity(&severity)) }
    }

    /// Every kind at a severity from 1 to 5.
    ///
    /// # Errors
    /// If the severity is another number.
    pub fn each(severity: u8) -> Result<Vec<Self>, String> {
        Kind::ALL.into_iter().map(|kind| Self::new(kind, severity)).collect()
    }

    /// From 1 to 5.
    pub const fn severity(self) -> u8 {
        self.severity
    }

    /// `image`, corrupted as the one with the number `index` is.
    pub fn apply(self, image: &Image, index: usize) -> Image {
        let mut draws = Stream::new(u64::from(self.severity), Purpose::Corrupt, [self.kind as u64, index as u64]);
        let level = usize::from(self.severity) - 1;
        let canvas = Canvas::of(image);
        let corrupted = match self.kind {
            Kind::ShotNoise => noise::shot(&canvas, level, &mut draws),
            Kind::ImpulseNoise => noise::impulse(&canvas, level, &mut draws),
            Kind::GlassBlur => blur::glass(&canvas, level, &mut draws),
            Kind::MotionBlur => blur::motion(&canvas, level, &mut draws),
            Kind::Shear => return geometry::shear(image, level, &mut draws),
            Kind::Scale => return geometry::scale(image, level),
            Kind::Rotate => return geometry::rotate(image, level, &mut draws),
            Kind::Translate => return geometry::translate(image, level, &mut draws),
            Kind::Brightness => light::brightness(&canvas, level),
            Kind::Stripe => light::stripe(&canvas, level),
            Kind::Fog => light::fog(&canvas, level, &mut draws),
            Kind::Spatter => light::spatter(&canvas, level, &mut draws),
            Kind::DottedLine => lines::dotted(&canvas, level, &mut draws),
            Kind::Zigzag => lines::zigzag(&canvas, level, &mut draws),
            Kind::CannyEdges => edges::canny(&canvas, level),
        };
        corrupted.to_image()
    }

    /// The samples `range` of `images`, corrupted, with their labels.
    pub fn apply_to(self, images: &Images, range: Range<usize>) -> Arc<Images> {
        let mut pixels = vec![0; range.len() * PIXELS];
        pixels.par_chunks_mut(PIXELS).zip(range.clone()).for_each(|(out, index)| {
            out.copy_from_slice(&self.apply(images.image(index), index));
        });
        Arc::new(Images::new(pixels, images.labels()[range].to_vec()))
    }
}

impl fmt::Display for Corruption {
    /// `shot_noise:3`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.severity)
    }
}

impl FromStr for Corruption {
    type Err = String;

    /// `shot_noise` or `shot_noise:5`
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, severity) = split(text)?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let names = Kind::ALL.map(Kind::name).join(", ");
            format!("`{name}` is no corruption: there are {names}")
        })?;
        Self::new(kind, severity)
    }
}

/// `fog:5` as name and severity; [`SEVERITY`] if there is none.
///
/// # Errors
/// If the severity is no number.
pub fn split(text: &str) -> Result<(&str, u8), String> {
    let Some((name, severity)) = text.split_once(':') else { return Ok((text, SEVERITY)) };
    Ok((name, severity.parse().map_err(|_| no_severity(&severity))?))
}

fn no_severity(given: &dyn fmt::Display) -> String {
    format!("`{given}` is no severity: use 1 to 5")
}

#[cfg(test)]
mod tests;
