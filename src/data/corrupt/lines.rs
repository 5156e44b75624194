//! Lines drawn over the image.

use super::super::SIDE;
use super::canvas::Canvas;
use crate::random::Stream;

/// So many dotted lines from one side to another.
pub fn dotted(canvas: &Canvas, level: usize, draws: &mut Stream) -> Canvas {
    let count = [1, 2, 3, 4, 5][level];
    let mut drawn = canvas.clone();
    for _ in 0..count {
        let [start, end] = across(draws);
        let length = distance(start, end);
        // A dot each three pixels.
        let mut at = 0.0;
        while at <= length {
            dot(&mut drawn, between(start, end, at / length.max(1.0)), 0.8);
            at += 3.0;
        }
    }
    drawn
}

/// A line that goes up and down by so many pixels on its way across.
pub fn zigzag(canvas: &Canvas, level: usize, draws: &mut Stream) -> Canvas {
    let (height, thickness) = [(1.0, 0.6), (2.0, 0.7), (2.5, 0.8), (3.0, 0.9), (3.5, 1.1)][level];
    let [start, end] = across(draws);
    let length = distance(start, end).max(1.0);
    let aside = [-(end[1] - start[1]) / length, (end[0] - start[0]) / length];
    let teeth = (length / 5.0).max(2.0);
    let mut drawn = canvas.clone();
    let steps = (4.0 * length) as usize;
    for step in 0..=steps {
        let part = step as f32 / steps as f32;
        let phase = (part * teeth).fract();
        let off = height * (4.0 * (phase - 0.5).abs() - 1.0);
        let [row, column] = between(start, end, part);
        dot(&mut drawn, [row + off * aside[0], column + off * aside[1]], thickness);
    }
    drawn
}

/// A place on the left edge and one on the right, or on the upper and the lower.
fn across(draws: &mut Stream) -> [[f32; 2]; 2] {
    let last = (SIDE - 1) as f32;
    let (a, b) = (draws.uniform(0.2, 0.8) * last, draws.uniform(0.2, 0.8) * last);
    if draws.unit() < 0.5 { [[a, 0.0], [b, last]] } else { [[0.0, a], [last, b]] }
}

fn distance(a: [f32; 2], b: [f32; 2]) -> f32 {
    (b[0] - a[0]).hypot(b[1] - a[1])
}

fn between(a: [f32; 2], b: [f32; 2], part: f32) -> [f32; 2] {
    [a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part]
}

/// Paints a white dot of this radius, with a soft edge.
fn dot(canvas: &mut Canvas, [row, column]: [f32; 2], radius: f32) {
    for y in (row - 2.0).max(0.0) as usize..=((row + 3.0).max(0.0) as usize).min(SIDE - 1) {
        for x in (column - 2.0).max(0.0) as usize..=((column + 3.0).max(0.0) as usize).min(SIDE - 1) {
            let ink = (radius + 0.5 - (y as f32 - row).hypot(x as f32 - column)).clamp(0.0, 1.0);
            let pixel = &mut canvas.0[y * SIDE + x];
            *pixel = pixel.max(ink);
        }
    }
}
