//! The edges of an image (Canny 1986): steep places, thinned to lines, the faint ones kept where they go on from clear ones.

use super::super::{PIXELS, SIDE};
use super::canvas::Canvas;

/// The edges after a blur of this deviation: more of it leaves fewer details.
pub fn canny(canvas: &Canvas, level: usize) -> Canvas {
    let deviation = [0.6, 0.8, 1.0, 1.25, 1.5][level];
    let slopes = Slopes::of(&canvas.blurred(deviation));
    let steepest = slopes.size.0.iter().copied().fold(0.0, f32::max);
    let (clear, faint) = (0.4 * steepest, 0.15 * steepest);
    let ridge = |at: usize| slopes.is_ridge((at / SIDE) as i32, (at % SIDE) as i32);
    let height = |at: usize| if ridge(at) { slopes.size.0[at] } else { 0.0 };
    let mut edges = Canvas::BLANK;
    if steepest <= 0.0 {
        return edges;
    }
    let mut open: Vec<usize> = (0..PIXELS).filter(|&at| height(at) >= clear).collect();
    while let Some(at) = open.pop() {
        if edges.0[at] > 0.0 {
            continue;
        }
        edges.0[at] = 1.0;
        let (row, column) = (at / SIDE, at % SIDE);
        for y in row.saturating_sub(1)..=(row + 1).min(SIDE - 1) {
            for x in column.saturating_sub(1)..=(column + 1).min(SIDE - 1) {
                let next = y * SIDE + x;
                if edges.0[next] == 0.0 && height(next) >= faint {
                    open.push(next);
                }
            }
        }
    }
    edges
}

/// How steep each place is, and in which direction.
struct Slopes {
    size: Canvas,
    down: Canvas,
    right: Canvas,
}

impl Slopes {
    /// By Sobel's filters.
    fn of(canvas: &Canvas) -> Self {
        let slope = |row: i32, column: i32, [down, right]: [i32; 2]| {
            let side = |sign: i32| {
                let weights = [(-1, 1.0), (0, 2.0), (1, 1.0)];
                let value =
                    |along: i32| canvas.near(row + sign * down + along * right, column + sign * right + along * down);
                weights.iter().map(|&(along, weight)| weight * value(along)).sum::<f32>()
            };
            (side(1) - side(-1)) / 8.0
        };
        let down = Canvas::from_fn(|row, column| slope(row, column, [1, 0]));
        let right = Canvas::from_fn(|row, column| slope(row, column, [0, 1]));
        let size = Canvas::from_fn(|row, column| down.near(row, column).hypot(right.near(row, column)));
        Self { size, down, right }
    }

    /// Whether it is steeper here than on either side along the slope.
    fn is_ridge(&self, row: i32, column: i32) -> bool {
        let (down, right) = (self.down.near(row, column), self.right.near(row, column));
        let steep = down.abs().max(right.abs());
        if steep <= 0.0 {
            return false;
        }
        let step = |part: f32| (part / steep).round() as i32;
        let (y, x) = (step(down), step(right));
        let here = self.size.near(row, column);
        // Of two equal neighbours one is taken.
        here >= self.size.near(row + y, column + x) && here > self.size.near(row - y, column - x)
    }
}
