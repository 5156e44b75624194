//! Convolution, bias, rectifier and 2×2 max pooling in one go: what the pool drops is never stored, and for the backward
//! pass a byte tells which of the four was the largest.

use super::affine::{Windows, tile};
use super::pieces::pieces;
use super::simd::{Kernel, LANES, Simd};

/// Where a cell's maximum was, as the index in a 4×4 patch that starts at the cell: row · 4 + column.
pub const CODES: [u8; 4] = [0, 1, 4, 5];

/// Which of the four rows of a cell has this code: 0 to 3.
#[inline(always)]
pub const fn quarter(code: u8) -> usize {
    ((code & 1) | ((code >> 1) & 2)) as usize
}

/// Any convolution, directly. Four rows of `windows` make a cell.
pub struct Direct<'a> {
    pub windows: Windows<'a>,
    /// That the windows of a cell make a 4×4 patch of the image: where there is no ink, which is half of a digit's image,
    /// there is nothing to multiply.
    pub image_patch: bool,
    pub input: &'a [f32],
    /// `[depth, width]`
    pub weights: &'a [f32],
    pub bias: &'a [f32],
    /// Outputs, padded to whole lanes.
    pub width: usize,
    /// `[cell, width]`
    pub out: &'a mut [f32],
    /// `[cell, width]`
    pub codes: &'a mut [u8],
}

impl Kernel for Direct<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let cells = self.windows.starts.len() / 4;
        self.windows.assert_inside(self.input.len());
        assert!(self.width.is_multiple_of(LANES) && self.bias.len() >= self.width);
        assert!(self.weights.len() >= self.windows.depth() * self.width);
        assert!(
            !self.image_patch || (self.windows.runs, self.windows.run) == (3, 3),
            "four 3×3 windows make a 4×4 patch"
        );
        assert!(self.out.len() >= cells * self.width && self.codes.len() >= cells * self.width);
        let mut column = 0;
        while column < self.width {
            let vectors = if self.width - column >= 2 * S::LANES { 2 } else { 1 };
            for cells in pieces(cells, S::ROWS / 4) {
                match (cells.len(), vectors) {
                    (3, 2) => self.cells::<S, 12, 2>(simd, cells.start, column),
                    (3, _) => self.cells::<S, 12, 1>(simd, cells.start, column),
                    (2, 2) => self.cells::<S, 8, 2>(simd, cells.start, column),
                    (2, _) => self.cells::<S, 8, 1>(simd, cells.start, column),
                    (1, 2) => self.cells::<S, 4, 2>(simd, cells.start, column),
                    (1, _) => self.cells::<S, 4, 1>(simd, cells.start, column),
                    _ => {}
                }
            }
            column += vectors * S::LANES;
        }
    }
}

impl Direct<'_> {
    /// P/4 cells.
    #[inline(always)]
    fn cells<S: Simd, const P: usize, const Q: usize>(&mut self, simd: S, cell: usize, column: usize) {
        let Windows { starts, runs, run, step } = self.windows;
        let mut rows = [self.input; P];
        for p in 0..P {
            rows[p] = &self.input[starts[4 * cell + p] as usize..];
        }
        // SAFETY: `run` has asserted that windows, weights, bias and outputs are large enough.
        unsafe {
            let blank = self.image_patch
                && (0..P).step_by(4).all(|p| {
                    let corner = starts[4 * cell + p] as usize;
                    simd.is_blank(simd.load_patch(self.input, corner, step))
                });
            let sums = if blank {
                [[simd.zero(); Q]; P]
            } else {
                tile::<S, P, Q>(simd, rows, [runs, run, step], self.weights, self.width, column)
            };
            for i in 0..P / 4 {
                for q in 0..Q {
                    let at = column + q * S::LANES;
                    let four = std::array::from_fn(|j| sums[4 * i + j][q]);
                    let bias = simd.load(self.bias, at);
                    store_pooled(simd, four, bias, self.out, self.codes, (cell + i) * self.width + at);
                }
            }
        }
    }
}

/// Stores the rectified maximum of `four` plus `bias`, and the code of the first of equal maxima.
///
/// # Safety
/// `out` and `codes` must hold a vector from `at` on.
#[inline(always)]
pub unsafe fn store_pooled<S: Simd>(
    simd: S,
    four: [S::V; 4],
    bias: S::V,
    out: &mut [f32],
    codes: &mut [u8],
    at: usize,
) {
    let code = |i: usize| simd.splat(f32::from(CODES[i]));
    let (upper, upper_code) = (simd.max(four[0], four[1]), simd.select_gt(four[1], four[0], code(1), code(0)));
    let (lower, lower_code) = (simd.max(four[2], four[3]), simd.select_gt(four[3], four[2], code(3), code(2)));
    let best = simd.max(upper, lower);
    let best_code = simd.select_gt(lower, upper, lower_code, upper_code);
    // SAFETY: the caller's promise.
    unsafe {
        simd.store(out, at, simd.max(simd.add(best, bias), simd.zero()));
        simd.store_bytes(codes, at, best_code);
    }
}
