//! Blur: frosted glass and motion.

use super::super::SIDE;
use super::canvas::Canvas;
use crate::random::Stream;

/// Blur, pixels exchanged with near ones, and blur again: deviation, reach and rounds of exchanging.
pub fn glass(canvas: &Canvas, level: usize, draws: &mut Stream) -> Canvas {
    let (deviation, reach, rounds) = [(0.4, 1, 1), (0.5, 1, 2), (0.6, 2, 1), (0.7, 2, 2), (0.8, 3, 2)][level];
    let mut mixed = canvas.blurred(deviation);
    for _ in 0..rounds {
        for row in reach..SIDE - reach {
            for column in reach..SIDE - reach {
                let step = |draws: &mut Stream| draws.below(2 * reach + 1);
                let (down, right) = (step(draws), step(draws));
                let other = (row + down - reach) * SIDE + column + right - reach;
                mixed.0.swap(row * SIDE + column, other);
            }
        }
    }
    mixed.blurred(deviation)
}

/// Each pixel becomes the mean of those behind it along a random direction, the near ones counting most.
pub fn motion(canvas: &Canvas, level: usize, draws: &mut Stream) -> Canvas {
    let deviation = [2.0, 3.0, 4.0, 5.0, 6.0][level];
    let (sin, cos) = draws.uniform(-45.0, 45.0_f32).to_radians().sin_cos();
    let length = (2.0 * deviation) as i32;
    let weight = |at: i32| (-0.5 * (at as f32 / deviation).powi(2)).exp();
    let total: f32 = (0..=length).map(weight).sum();
    Canvas::from_fn(|row, column| {
        let behind = |at: i32| {
            let (down, right) = (at as f32 * sin, at as f32 * cos);
            canvas.near(row + down.round() as i32, column + right.round() as i32)
        };
        (0..=length).map(|at| weight(at) * behind(at)).sum::<f32>() / total
    })
}
