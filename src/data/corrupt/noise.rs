//! Noise of single pixels.

use super::canvas::Canvas;
use crate::random::Stream;

/// Poisson noise, with so many photons for white.
pub fn shot(canvas: &Canvas, level: usize, draws: &mut Stream) -> Canvas {
    let photons = [60.0, 25.0, 12.0, 5.0, 3.0][level];
    canvas.map(|value| poisson(value * photons, draws) / photons)
}

/// A number from the Poisson distribution with this mean, of 60 at most (Knuth's method).
fn poisson(mean: f32, draws: &mut Stream) -> f32 {
    let least = (-mean).exp();
    let mut product = draws.unit();
    let mut count = 0.0;
    while product > least {
        product *= draws.unit();
        count += 1.0;
    }
    count
}

/// This share of the pixels becomes white or black.
pub fn impulse(canvas: &Canvas, level: usize, draws: &mut Stream) -> Canvas {
    let share = [0.03, 0.06, 0.09, 0.17, 0.27][level];
    canvas.map(|value| {
        let (hit, white) = (draws.unit() < share, draws.unit() < 0.5);
        match (hit, white) {
            (false, _) => value,
            (true, white) => f32::from(u8::from(white)),
        }
    })
}
