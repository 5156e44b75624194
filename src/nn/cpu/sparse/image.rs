//! The weight gradient of a convolution of the image itself, whose one channel fills no vector: vectors go over outputs.

use super::{Kernel, Simd, quarter};
use crate::nn::cpu::simd::LANES;

/// `weight_gradient[tap] += Σ_cell gradient[cell] · window(cell)[tap]` for 3×3 in steps of 1. The 4×4 pixels under a cell are
/// one table, and each output looks up the pixel under its maximum. Where there is no ink, which is half of a digit's image,
/// there is nothing to add.
pub struct ImageWeightGradient<'a> {
    /// Four for each cell; the first is the corner of its patch.
    pub starts: &'a [u32],
    /// Values from one row of the image to the next.
    pub row: usize,
    pub input: &'a [f32],
    /// `[cell, width]`, rectified.
    pub gradient: &'a [f32],
    pub codes: &'a [u8],
    pub width: usize,
    /// `[9, width]`
    pub weight_gradient: &'a mut [f32],
}

impl Kernel for ImageWeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let cells = self.starts.len() / 4;
        let last = self.starts.iter().max().map_or(0, |&start| start as usize);
        assert!(last + 2 * self.row + 3 <= self.input.len() && self.width.is_multiple_of(LANES));
        assert!(self.weight_gradient.len() >= 9 * self.width);
        assert!(self.gradient.len() >= cells * self.width && self.codes.len() >= cells * self.width);
        let mut column = 0;
        while column < self.width {
            let vectors = if S::ROWS >= 12 && self.width - column >= 2 * S::LANES { 2 } else { 1 };
            match vectors {
                2 => self.columns::<S, 2>(simd, column),
                _ => self.columns::<S, 1>(simd, column),
            }
            column += vectors * S::LANES;
        }
    }
}

impl ImageWeightGradient<'_> {
    #[inline(always)]
    fn columns<S: Simd, const Q: usize>(&mut self, simd: S, column: usize) {
        let at = |row: usize, q: usize| row * self.width + column + q * S::LANES;
        // SAFETY: `run` has asserted that patches lie inside the image and the other slices are large enough.
        unsafe {
            let mut sums = [[simd.zero(); Q]; 9];
            for tap in 0..9 {
                for q in 0..Q {
                    sums[tap][q] = simd.load(self.weight_gradient, at(tap, q));
                }
            }
            for (cell, starts) in self.starts.as_chunks::<4>().0.iter().enumerate() {
                let pixels = simd.load_patch(self.input, starts[0] as usize, self.row);
                if simd.is_blank(pixels) {
                    continue;
                }
                for q in 0..Q {
                    let index = simd.load_index(self.codes, at(cell, q));
                    let g = simd.load(self.gradient, at(cell, q));
                    for (tap, sum) in sums.iter_mut().enumerate() {
                        let x = simd.lookup(pixels, simd.shift(index, (tap / 3 * 4 + tap % 3) as u8));
                        sum[q] = simd.fma(g, x, sum[q]);
                    }
                }
            }
            for (tap, sum) in sums.into_iter().enumerate() {
                for (q, sum) in sum.into_iter().enumerate() {
                    simd.store(self.weight_gradient, at(tap, q), sum);
                }
            }
        }
    }
}

/// Writes the gradient of each cell to the one of its four rows that was the maximum, `[cell, 4, width]`, and zeros to the
/// others: for the kernels that know nothing of pooling.
pub fn unpool(gradient: &[f32], codes: &[u8], width: usize, rows: &mut [f32]) {
    rows.fill(0.0);
    let cells = gradient.chunks_exact(width).zip(codes.chunks_exact(width));
    for ((gradient, codes), rows) in cells.zip(rows.chunks_exact_mut(4 * width)) {
        for (output, (&gradient, &code)) in gradient.iter().zip(codes).enumerate() {
            rows[(quarter(code) & 3) * width + output] = gradient;
        }
    }
}
