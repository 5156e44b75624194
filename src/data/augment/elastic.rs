//! Elastic distortion (Simard et al. 2003): a smooth random field of displacements.

use super::super::{PIXELS, SIDE};
use super::warp::FRACTION;
use crate::random::Stream;

/// Distance in pixels between two control points. A cubic B-spline over this distance has a deviation of 7/√3 ≈ 4 pixels,
/// like the Gaussian with which the paper smooths its field.
const STEP: usize = 7;
/// Control points along each axis: a cubic B-spline reaches one before and two behind its cell.
const POINTS: usize = SIDE / STEP + 3;
/// Weights of the four control points around each place within a cell, `[place, point]`.
const WEIGHTS: [[f32; 4]; STEP] = weights();

/// A value for each pixel, `[row, column]`.
type Plane<T> = [[T; SIDE]; SIDE];

/// A displacement for each pixel, `[axis (x, y), row, column]`, as fixed-point numbers.
pub struct Field {
    /// With [`FRACTION`] bits behind the point.
    pub displacement: [Plane<i32>; 2],
}

impl Field {
    /// Uniformly random control points, smoothed by cubic B-splines; over the image, the displacement's length has exactly
    /// the root mean square `rms` in pixels.
    pub fn draw(rms: f32, stream: &mut Stream) -> Self {
        let smooth = [(); 2].map(|()| smooth(&control_points(stream)));
        let scale = rms / mean_square(&smooth).sqrt().max(f32::MIN_POSITIVE) * (1 << FRACTION) as f32;
        Self { displacement: smooth.map(|axis| axis.map(|row| row.map(|value| round(value * scale)))) }
    }
}

/// Of the displacements' lengths, summed in eight parts that the processor can add at once.
fn mean_square(field: &[Plane<f32>; 2]) -> f32 {
    let mut sums = [0.0; 8];
    for eight in field.as_flattened().as_flattened().as_chunks::<8>().0 {
        for (sum, value) in sums.iter_mut().zip(eight) {
            *sum += value * value;
        }
    }
    sums.iter().sum::<f32>() / PIXELS as f32
}

/// The nearest whole number to a `value` below 2²²; unlike `as i32` it takes no branch, so that whole rows are done at once.
fn round(value: f32) -> i32 {
    const MAGIC: f32 = 12_582_912.0;
    (value + MAGIC).to_bits().wrapping_sub(MAGIC.to_bits()) as i32
}

/// Uniform in −1…1, four from each random number.
fn control_points(stream: &mut Stream) -> [[f32; POINTS]; POINTS] {
    let mut points = [[0.0; POINTS]; POINTS];
    for four in points.as_flattened_mut().chunks_mut(4) {
        let bits = stream.next_u64();
        for (at, point) in four.iter_mut().enumerate() {
            *point = f32::from((bits >> (16 * at)) as i16) / 32768.0;
        }
    }
    points
}

fn smooth(points: &[[f32; POINTS]; POINTS]) -> Plane<f32> {
    let wide = points.map(|points| {
        let mut line = [0.0; SIDE];
        for (cell, values) in line.as_chunks_mut::<STEP>().0.iter_mut().enumerate() {
            for (value, weights) in values.iter_mut().zip(&WEIGHTS) {
                *value = (0..4).map(|k| weights[k] * points[cell + k]).sum();
            }
        }
        line
    });
    std::array::from_fn(|y| {
        let (lines, weights) = (&wide[y / STEP..][..4], &WEIGHTS[y % STEP]);
        std::array::from_fn(|x| (0..4).map(|k| weights[k] * lines[k][x]).sum())
    })
}

const fn weights() -> [[f32; 4]; STEP] {
    let mut weights = [[0.0; 4]; STEP];
    let mut place = 0;
    while place < STEP {
        let t = (place as f32 + 0.5) / STEP as f32;
        let s = 1.0 - t;
        weights[place] = [
            s * s * s / 6.0,
            (3.0 * t * t * t - 6.0 * t * t + 4.0) / 6.0,
            (3.0 * s * s * s - 6.0 * s * s + 4.0) / 6.0,
            t * t * t / 6.0,
        ];
        place += 1;
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::{FRACTION, Field, PIXELS};
    use crate::random::{Purpose, Stream};

    #[test]
    fn the_field_has_the_length_asked_for_and_is_smooth() {
        for sample in 0..20 {
            let field = Field::draw(1.5, &mut Stream::new(1, Purpose::Augment, [0, sample]));
            let [x, y] = field
                .displacement
                .map(|axis| axis.map(|row| row.map(|value| f64::from(value) / f64::from(1 << FRACTION))));
            let square: f64 = [x, y].as_flattened().as_flattened().iter().map(|value| value * value).sum();
            assert!(((square / PIXELS as f64).sqrt() - 1.5).abs() < 1e-3, "{square}");
            for pair in x.iter().flat_map(|row| row.windows(2)) {
                assert!((pair[1] - pair[0]).abs() < 1.0, "neighbours {} and {}", pair[0], pair[1]);
            }
        }
    }

    #[test]
    fn the_spline_weights_add_up_to_one() {
        for weights in super::WEIGHTS {
            assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
    }
}
