//! The whole image moved: slanted, smaller, turned, shifted.

use super::super::augment::warp::{Map, warp};
use super::super::{Image, PIXELS, SIDE};
use crate::random::Stream;

/// Slanted to either side, in degrees.
pub fn shear(image: &Image, level: usize, draws: &mut Stream) -> Image {
    let angle = [11.0, 17.0, 22.0, 26.0, 31.0][level];
    moved(image, &Map::new(0.0, either(angle, draws), 1.0, [0.0; 2]))
}

/// Smaller by this factor.
pub fn scale(image: &Image, level: usize) -> Image {
    let zoom = [0.9, 0.8, 0.7, 0.6, 0.5][level];
    moved(image, &Map::new(0.0, 0.0, zoom, [0.0; 2]))
}

/// Turned to either side, in degrees.
pub fn rotate(image: &Image, level: usize, draws: &mut Stream) -> Image {
    let angle = [10.0, 20.0, 30.0, 40.0, 50.0][level];
    moved(image, &Map::new(either(angle, draws), 0.0, 1.0, [0.0; 2]))
}

/// Moved by so many pixels along each axis, to either side.
pub fn translate(image: &Image, level: usize, draws: &mut Stream) -> Image {
    let pixels = [1.0, 2.0, 3.0, 4.0, 5.0][level];
    let shift = [either(pixels, draws), either(pixels, draws)].map(|pixels| pixels / SIDE as f32);
    moved(image, &Map::new(0.0, 0.0, 1.0, shift))
}

fn moved(image: &Image, map: &Map) -> Image {
    let mut out = [0; PIXELS];
    warp(image, map, &mut out);
    out
}

fn either(value: f32, draws: &mut Stream) -> f32 {
    if draws.unit() < 0.5 { -value } else { value }
}
