//! Grey values as numbers from 0 to 1, to compute with.

use super::super::{Image, PIXELS, SIDE};

/// An image, `[height, width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Canvas(pub [f32; PIXELS]);

impl Canvas {
    /// Nothing on black.
    pub const BLANK: Self = Self([0.0; PIXELS]);

    /// The image's grey values.
    pub fn of(image: &Image) -> Self {
        Self(image.map(|pixel| f32::from(pixel) / 255.0))
    }

    /// Back to bytes; what is below 0 or above 1 becomes that.
    pub fn to_image(&self) -> Image {
        self.0.map(|value| (value.clamp(0.0, 1.0) * 255.0).round() as u8)
    }

    /// The value at a row and column; outside, that of the nearest pixel inside.
    pub fn near(&self, row: i32, column: i32) -> f32 {
        let inside = |at: i32| at.clamp(0, SIDE as i32 - 1) as usize;
        self.0[inside(row) * SIDE + inside(column)]
    }

    /// A value for each pixel from its row and column.
    pub fn from_fn(value: impl Fn(i32, i32) -> f32) -> Self {
        let mut canvas = Self::BLANK;
        for (at, pixel) in canvas.0.iter_mut().enumerate() {
            *pixel = value((at / SIDE) as i32, (at % SIDE) as i32);
        }
        canvas
    }

    /// Each value changed by itself.
    pub fn map(&self, change: impl FnMut(f32) -> f32) -> Self {
        Self(self.0.map(change))
    }

    /// Blurred by a normal distribution with this deviation in pixels.
    pub fn blurred(&self, deviation: f32) -> Self {
        let reach = (3.0 * deviation).ceil() as i32;
        let weight = |at: i32| (-0.5 * (at as f32 / deviation).powi(2)).exp();
        let total: f32 = (-reach..=reach).map(weight).sum();
        let along = |value: &dyn Fn(i32) -> f32| (-reach..=reach).map(|at| weight(at) * value(at)).sum::<f32>() / total;
        let rows = Self::from_fn(|row, column| along(&|at| self.near(row, column + at)));
        Self::from_fn(|row, column| along(&|at| rows.near(row + at, column)))
    }
}
