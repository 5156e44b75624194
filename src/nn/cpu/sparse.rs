//! The backward pass of a fused convolution and pooling. Pool and rectifier let at most one gradient in four through: the
//! kernels go over lists of those that are not zero, and leave out three quarters of the work and more.

mod image;
mod patch;

pub use image::{ImageWeightGradient, unpool};
pub use patch::{CellHits, PatchGradient};

use super::affine::Windows;
use super::conv_pool::quarter;
use super::pieces::{pieces, with_count};
use super::simd::{Kernel, Simd};

/// A gradient that came through, and the window or weights that it belongs to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hit {
    pub at: u32,
    pub gradient: f32,
}

/// What came through in one sample, output by output.
#[derive(Clone, Debug, Default)]
pub struct Hits {
    /// `[output, cell]`, of which the first `counts[output]` are there.
    hits: Vec<Hit>,
    counts: Vec<usize>,
    cells: usize,
    /// The largest start that a hit can have.
    last: u32,
}

impl Hits {
    /// Lists the non-zero values of `gradient`, `[cell, width]`; four of `starts` belong to each cell.
    pub fn collect(&mut self, gradient: &[f32], codes: &[u8], starts: &[u32], width: usize) {
        self.cells = starts.len() / 4;
        self.last = starts.iter().copied().max().unwrap_or_default();
        self.counts.clear();
        self.counts.resize(width, 0);
        if self.hits.len() < width * self.cells {
            self.hits.resize(width * self.cells, Hit::default());
        }
        let rows = gradient.chunks_exact(width).zip(codes.chunks_exact(width));
        for ((gradient, codes), starts) in rows.zip(starts.as_chunks::<4>().0) {
            for (output, ((&gradient, &code), count)) in gradient.iter().zip(codes).zip(&mut self.counts).enumerate() {
                // Always written and counted only if not zero: a branch here would often be mispredicted.
                self.hits[output * self.cells + *count] = Hit { at: starts[quarter(code) & 3], gradient };
                *count += usize::from(gradient != 0.0);
            }
        }
    }

    /// The hits of one output.
    pub fn of(&self, output: usize) -> &[Hit] {
        &self.hits[output * self.cells..][..self.counts[output]]
    }

    /// That the windows which start at hits lie inside `len` values: what makes the unchecked loads of the kernels sound.
    fn assert_inside(&self, windows: Windows, len: usize) {
        Windows { starts: &[self.last], ..windows }.assert_inside(len);
    }
}

/// `weight_gradient[output] += Σ gradient · window` over the hits of one sample.
pub struct WeightGradient<'a> {
    pub windows: Windows<'a>,
    pub input: &'a [f32],
    pub hits: &'a Hits,
    pub outputs: usize,
    /// `[output, depth]`
    pub weight_gradient: &'a mut [f32],
}

impl Kernel for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let Windows { runs, run, .. } = self.windows;
        self.hits.assert_inside(self.windows, self.input.len());
        assert!(self.weight_gradient.len() >= self.outputs * runs * run && run.is_multiple_of(S::LANES));
        for output in 0..self.outputs {
            if self.hits.of(output).is_empty() {
                continue;
            }
            if runs == 3 && S::ROWS >= 12 {
                for vectors in pieces(run / S::LANES, 6) {
                    with_count!(vectors.len(), Q => self.block::<S, 3, Q>(simd, output, 0, vectors.start * S::LANES));
                }
            } else {
                for i in 0..runs {
                    for vectors in pieces(run / S::LANES, 12) {
                        with_count!(vectors.len(), Q => self.block::<S, 1, Q>(simd, output, i, vectors.start * S::LANES));
                    }
                }
            }
        }
    }
}

impl WeightGradient<'_> {
    /// R runs × Q vectors of one output's weights stay in registers while its hits go by.
    #[inline(always)]
    fn block<S: Simd, const R: usize, const Q: usize>(&mut self, simd: S, output: usize, run: usize, column: usize) {
        let Windows { runs, run: len, step, .. } = self.windows;
        let at = |r: usize, q: usize| (output * runs + run + r) * len + column + q * S::LANES;
        // SAFETY: `Kernel::run` has asserted that the hits' windows lie inside the input and the weights are large enough.
        unsafe {
            let mut sums = [[simd.zero(); Q]; R];
            for r in 0..R {
                for q in 0..Q {
                    sums[r][q] = simd.load(self.weight_gradient, at(r, q));
                }
            }
            for hit in self.hits.of(output) {
                let g = simd.splat(hit.gradient);
                let start = hit.at as usize + run * step + column;
                for r in 0..R {
                    for q in 0..Q {
                        let x = simd.load(self.input, start + r * step + q * S::LANES);
                        sums[r][q] = simd.fma(g, x, sums[r][q]);
                    }
                }
            }
            for r in 0..R {
                for q in 0..Q {
                    simd.store(self.weight_gradient, at(r, q), sums[r][q]);
                }
            }
        }
    }
}

/// `input_gradient[window] += gradient · weights[output]` over the hits of one sample, for any convolution.
pub struct InputGradient<'a> {
    pub windows: Windows<'a>,
    pub hits: &'a Hits,
    pub outputs: usize,
    /// `[output, depth]`
    pub weights: &'a [f32],
    pub input_gradient: &'a mut [f32],
}

impl Kernel for InputGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let Windows { runs, run, .. } = self.windows;
        self.hits.assert_inside(self.windows, self.input_gradient.len());
        assert!(self.weights.len() >= self.outputs * runs * run && run.is_multiple_of(S::LANES));
        for output in 0..self.outputs {
            for i in 0..runs {
                for vectors in pieces(run / S::LANES, 12) {
                    with_count!(vectors.len(), Q => self.block::<S, Q>(simd, output, i, vectors.start * S::LANES));
                }
            }
        }
    }
}

impl InputGradient<'_> {
    /// Q vectors of one output's weights stay in registers while its hits go by.
    #[inline(always)]
    fn block<S: Simd, const Q: usize>(&mut self, simd: S, output: usize, run: usize, column: usize) {
        let Windows { runs, run: len, step, .. } = self.windows;
        let at = (output * runs + run) * len + column;
        // SAFETY: `Kernel::run` has asserted that the hits' windows lie inside the gradient and the weights are large enough.
        unsafe {
            let weights: [S::V; Q] = std::array::from_fn(|q| simd.load(self.weights, at + q * S::LANES));
            for hit in self.hits.of(output) {
                let g = simd.splat(hit.gradient);
                let start = hit.at as usize + run * step + column;
                for (q, &w) in weights.iter().enumerate() {
                    let at = start + q * S::LANES;
                    let sum = simd.fma(g, w, simd.load(self.input_gradient, at));
                    simd.store(self.input_gradient, at, sum);
                }
            }
        }
    }
}
