//! One affine map for rotation, shear, zoom and shift, and bilinear sampling in fixed-point numbers.

use super::super::{Image, SIDE};
use super::elastic::Field;

/// Bits behind the point of a coordinate. Coordinates stay far below the 32,768 pixels that fit before it.
pub const FRACTION: u32 = 16;
const ONE: i32 = 1 << FRACTION;

/// Row length of the image with a border of zeros, so that samples beside the image need no test of their own.
const STRIDE: usize = 32;
/// The rightmost and lowest coordinate of a sample, in the image with the border.
const LAST: i32 = (SIDE as i32 + 1) * ONE;

/// From a pixel of the result to its place in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    /// Where the result's first pixel comes from, `[x, y]`, in the image with the border.
    start: [i32; 2],
    /// How far the place moves, `[x, y]`, with each column of the result.
    column: [i32; 2],
    /// The same with each row.
    row: [i32; 2],
}

impl Map {
    /// Leaves every pixel where it is.
    pub const IDENTITY: Self = Self { start: [ONE; 2], column: [ONE, 0], row: [0, ONE] };

    /// The inverse of: zoom by `zoom` about the centre, shear by `shear` degrees, turn by `angle` degrees (clockwise), move
    /// by `shift` (fractions of the side, right and down).
    pub fn new(angle: f32, shear: f32, zoom: f32, shift: [f32; 2]) -> Self {
        let (sin, cos) = angle.to_radians().sin_cos();
        let slant = shear.to_radians().tan();
        let fixed = |value: f32| (value * ONE as f32).round() as i32;
        // The rows of S⁻¹ · R⁻¹, where S⁻¹ = [1 −slant; 0 1] and R⁻¹ = [cos sin; −sin cos].
        let x = [cos + slant * sin, sin - slant * cos].map(|value| fixed(value / zoom));
        let y = [-sin, cos].map(|value| fixed(value / zoom));
        let (column, row) = ([x[0], y[0]], [x[1], y[1]]);
        let moved = shift.map(|part| part * SIDE as f32);
        let start = [x, y].map(|[a, b]| {
            // Twice the way from the centre to the first pixel is the side less one, as whole pixels.
            let corner = a.wrapping_add(b).wrapping_mul(SIDE as i32 - 1) / 2;
            let back = fixed(moved[0] * (a as f32 / ONE as f32) + moved[1] * (b as f32 / ONE as f32));
            ((SIDE as i32 + 1) * ONE / 2).wrapping_sub(corner).wrapping_sub(back)
        });
        Self { start, column, row }
    }
}

/// Writes `image`, moved by `map`, to `out`.
pub fn warp(image: &Image, map: &Map, out: &mut Image) {
    sample(image, map, |_, _, _| 0, out);
}

/// Writes `image`, moved by `map` and by the displacements of `field`, to `out`.
pub fn warp_by_field(image: &Image, map: &Map, field: &Field, out: &mut Image) {
    sample(image, map, |axis, row, column| field.displacement[axis][row][column], out);
}

/// Bilinear sampling where `map` and `displacement(axis, row, column)` lead to, with zeros outside the image. Each step goes
/// over a whole row, so that the compiler makes vector code of all but the loads.
#[inline]
fn sample(image: &Image, map: &Map, displacement: impl Fn(usize, usize, usize) -> i32, out: &mut Image) {
    let padded = with_border(image);
    // Half of the weights' last bit rounds them, so that a whole pixel stays whole.
    let mut row_start = map.start.map(|start| start.wrapping_add(128));
    let steps = map.column.map(|step| std::array::from_fn::<i32, SIDE, _>(|column| step.wrapping_mul(column as i32)));
    let (rows, _) = out.as_chunks_mut::<SIDE>();
    for (row, pixels) in rows.iter_mut().enumerate() {
        let [mut right, mut down, mut at] = [[0_u16; SIDE]; 3];
        for column in 0..SIDE {
            let place = |axis: usize| row_start[axis].wrapping_add(steps[axis][column]);
            let [x, y] = [0, 1].map(|axis| place(axis).wrapping_add(displacement(axis, row, column)).clamp(0, LAST));
            right[column] = (x >> 8) as u16 & 255;
            down[column] = (y >> 8) as u16 & 255;
            at[column] = ((y >> FRACTION) * STRIDE as i32 + (x >> FRACTION)) as u16;
        }
        let mut corners = [[0_u16; SIDE]; 4];
        for column in 0..SIDE {
            let at = usize::from(at[column]) % (STRIDE * STRIDE);
            for (corner, step) in corners.iter_mut().zip([0, 1, STRIDE, STRIDE + 1]) {
                corner[column] = u16::from(padded[at + step]);
            }
        }
        for column in 0..SIDE {
            let between = |a: u16, b: u16, weight: u16| (a * (256 - weight) + b * weight + 128) >> 8;
            let [upper, lower] = [0, 2].map(|k| between(corners[k][column], corners[k + 1][column], right[column]));
            pixels[column] = between(upper, lower, down[column]) as u8;
        }
        row_start = [0, 1].map(|axis| row_start[axis].wrapping_add(map.row[axis]));
    }
}

/// The image with a row and a column of zeros before it and more behind it, `[STRIDE, STRIDE]`.
fn with_border(image: &Image) -> [u8; STRIDE * (STRIDE + 2)] {
    let mut padded = [0; STRIDE * (STRIDE + 2)];
    let (rows, _) = image.as_chunks::<SIDE>();
    for (row, pixels) in rows.iter().enumerate() {
        let start = (row + 1) * STRIDE + 1;
        padded[start..start + SIDE].copy_from_slice(pixels);
    }
    padded
}

#[cfg(test)]
mod tests {
    use super::{Image, Map, SIDE, warp};
    use crate::data::PIXELS;

    fn numbers() -> Image {
        std::array::from_fn(|at| (at * 7 % 256) as u8)
    }

    /// Checks that pixel (row, column) of the result is the source's pixel `from(row, column)`, 0 outside.
    fn check(map: Map, from: impl Fn(i32, i32) -> (i32, i32)) {
        let (image, mut out) = (numbers(), [1; PIXELS]);
        warp(&image, &map, &mut out);
        let side = SIDE as i32;
        for (row, column) in (0..side).flat_map(|row| (0..side).map(move |column| (row, column))) {
            let (y, x) = from(row, column);
            let inside = (0..side).contains(&y) && (0..side).contains(&x);
            let expected = if inside { image[(y * side + x) as usize] } else { 0 };
            assert_eq!(out[(row * side + column) as usize], expected, "row {row}, column {column}");
        }
    }

    #[test]
    fn whole_steps_move_pixels_exactly() {
        let pixels = |x: f32, y: f32| [x, y].map(|pixels| pixels / SIDE as f32);
        check(Map::IDENTITY, |row, column| (row, column));
        assert_eq!(Map::IDENTITY, Map::new(0.0, 0.0, 1.0, [0.0; 2]));
        check(Map::new(0.0, 0.0, 1.0, pixels(3.0, -5.0)), |row, column| (row + 5, column - 3));
        check(Map::new(0.0, 0.0, 1.0, pixels(-40.0, 0.0)), |row, column| (row, column + 40));
        check(Map::new(90.0, 0.0, 1.0, [0.0; 2]), |row, column| (27 - column, row));
        check(Map::new(-90.0, 0.0, 1.0, [0.0; 2]), |row, column| (column, 27 - row));
        check(Map::new(180.0, 0.0, 1.0, [0.0; 2]), |row, column| (27 - row, 27 - column));
        check(Map::new(90.0, 0.0, 1.0, pixels(2.0, 0.0)), |row, column| (27 - (column - 2), row));
    }

    #[test]
    fn half_a_pixel_is_the_mean_of_two() {
        let (image, mut out) = (numbers(), [0; PIXELS]);
        warp(&image, &Map::new(0.0, 0.0, 1.0, [-0.5 / SIDE as f32, 0.0]), &mut out);
        assert_eq!(out[40], (u16::from(image[40]) + u16::from(image[41])).div_ceil(2) as u8);
    }

    #[test]
    fn zoom_and_shear_move_points_about_the_centre() {
        let moved = |map: Map, row: usize, column: usize| {
            let (mut image, mut out) = ([0; PIXELS], [0; PIXELS]);
            image[row * SIDE + column] = 255;
            warp(&image, &map, &mut out);
            let total: f32 = out.iter().copied().map(f32::from).sum();
            let mean = |place: fn(usize) -> usize| {
                out.iter().enumerate().map(|(at, &pixel)| place(at) as f32 * f32::from(pixel)).sum::<f32>() / total
            };
            (mean(|at| at / SIDE), mean(|at| at % SIDE))
        };
        let near = |(row, column): (f32, f32), expected: (f32, f32)| {
            assert!((row - expected.0).hypot(column - expected.1) < 0.3, "({row}, {column}) should be {expected:?}");
        };
        near(moved(Map::new(0.0, 0.0, 1.5, [0.0; 2]), 8, 19), (13.5 - 5.5 * 1.5, 13.5 + 5.5 * 1.5));
        near(moved(Map::new(0.0, 45.0, 1.0, [0.0; 2]), 19, 13), (19.0, 13.0 + 5.5));
        near(moved(Map::new(30.0, 0.0, 1.0, [0.0; 2]), 13, 23), (13.5 + 9.5 * 0.5 - 0.43, 13.5 + 9.5 * 0.866 + 0.25));
    }
}
