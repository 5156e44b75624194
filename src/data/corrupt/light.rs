//! What is in front of the image or shines on it: brightness, a stripe, fog, drops.

use super::super::SIDE;
use super::canvas::Canvas;
use crate::random::Stream;

/// Lighter everywhere by this.
pub fn brightness(canvas: &Canvas, level: usize) -> Canvas {
    let more = [0.1, 0.2, 0.3, 0.4, 0.5][level];
    canvas.map(|value| value + more)
}

/// A stripe of so many columns in the middle, inverted.
pub fn stripe(canvas: &Canvas, level: usize) -> Canvas {
    let width = [2, 4, 6, 8, 10][level];
    let first = (SIDE as i32 - width) / 2;
    Canvas::from_fn(|row, column| {
        let value = canvas.near(row, column);
        if (first..first + width).contains(&column) { 1.0 - value } else { value }
    })
}

/// Fog of this strength, the sum brought back to the image's own range.
pub fn fog(canvas: &Canvas, level: usize, draws: &mut Stream) -> Canvas {
    let (strength, decay) = [(0.5, 2.0), (0.75, 2.0), (1.0, 1.7), (1.25, 1.5), (1.5, 1.4)][level];
    let clouds = clouds(decay, draws);
    Canvas::from_fn(|row, column| (canvas.near(row, column) + strength * clouds.near(row, column)) / (1.0 + strength))
}

/// Clouds between 0 and 1: noise on ever finer grids, each weaker than the last by `decay`.
fn clouds(decay: f32, draws: &mut Stream) -> Canvas {
    let mut sum = Canvas::BLANK;
    let mut weight = 1.0;
    for cells in [1_usize, 2, 4, 8, 16] {
        let side = cells + 1;
        let grid: Vec<f32> = (0..side * side).map(|_| draws.unit()).collect();
        let layer = Canvas::from_fn(|row, column| {
            let place = |at: i32| at as f32 / SIDE as f32 * cells as f32;
            let (y, x) = (place(row), place(column));
            let (top, left) = (y as usize, x as usize);
            let (down, right) = (y.fract(), x.fract());
            let at = |y: usize, x: usize| grid[y * side + x];
            let between = |a: f32, b: f32, part: f32| a + (b - a) * part;
            let upper = between(at(top, left), at(top, left + 1), right);
            let lower = between(at(top + 1, left), at(top + 1, left + 1), right);
            between(upper, lower, down)
        });
        sum = Canvas::from_fn(|row, column| sum.near(row, column) + weight * layer.near(row, column));
        weight /= decay;
    }
    let [least, most] = range(&sum);
    sum.map(|value| (value - least) / (most - least).max(1e-6))
}

/// Drops of ink: where smooth noise is highest, this share of the image.
pub fn spatter(canvas: &Canvas, level: usize, draws: &mut Stream) -> Canvas {
    let share = [0.03, 0.06, 0.09, 0.12, 0.16][level];
    let noise = Canvas::BLANK.map(|_| draws.normal()).blurred(1.2);
    let mut sorted = noise.0.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let height = sorted[((1.0 - share) * sorted.len() as f32) as usize];
    let steep = (sorted[sorted.len() - 1] - height).max(1e-6);
    Canvas::from_fn(|row, column| {
        let drop = ((noise.near(row, column) - height) / steep * 3.0).clamp(0.0, 1.0);
        canvas.near(row, column).max(drop)
    })
}

fn range(canvas: &Canvas) -> [f32; 2] {
    canvas
        .0
        .iter()
        .fold([f32::INFINITY, f32::NEG_INFINITY], |[least, most], &value| [least.min(value), most.max(value)])
}
