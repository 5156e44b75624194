//! The matrix products of convolutions and dense layers over [`Windows`], in tiles that stay in registers: forward, and
//! the gradients of weights and input.
//!
//! A tile is P rows × Q vectors of outputs. Each turn of its inner loop loads Q vectors of weights, broadcasts P inputs and
//! makes P·Q multiply-adds, so arithmetic and not memory sets the pace.

use std::ops::Range;

use super::pieces::{pieces, with_count};
use super::program::Affine;
use super::simd::{Kernel, LANES, Simd};

/// The rows of a matrix that lie in `values` as windows of `runs` runs of `run` values, `step` apart.
#[derive(Clone, Copy)]
pub struct Windows<'a> {
    /// Where each row starts.
    pub starts: &'a [u32],
    pub runs: usize,
    pub run: usize,
    pub step: usize,
}

impl<'a> Windows<'a> {
    /// The windows of the first `samples` samples of a chunk.
    pub fn of(affine: &'a Affine, samples: usize) -> Self {
        let Affine { runs, run, step, .. } = *affine;
        Self { starts: &affine.starts[..samples * affine.rows], runs, run, step }
    }

    pub const fn depth(&self) -> usize {
        self.runs * self.run
    }

    /// That every window lies inside `len` values: what makes the unchecked loads of the kernels sound.
    pub fn assert_inside(&self, len: usize) {
        let reach = (self.runs - 1) * self.step + self.run;
        let last = self.starts.iter().max().map_or(0, |&start| start as usize + reach);
        assert!(last <= len, "windows inside the map");
    }
}

/// `Σ_k rows[p][k] · b[k][q]` for a tile, where k counts through `runs` runs of `run` values, `step` apart in each row, and
/// the rows of `b` are `width` long.
///
/// # Safety
/// Each of `rows` must reach to the end of its last run, and `b` must hold a tile's vectors from `column` on in as many
/// rows as there are values of k.
#[inline(always)]
pub unsafe fn tile<S: Simd, const P: usize, const Q: usize>(
    simd: S,
    rows: [&[f32]; P],
    [runs, run, step]: [usize; 3],
    b: &[f32],
    width: usize,
    column: usize,
) -> [[S::V; Q]; P] {
    let mut sums = [[simd.zero(); Q]; P];
    let mut at = column;
    for first in (0..runs).map(|i| i * step) {
        for k in first..first + run {
            // SAFETY: the caller's promise.
            let vectors: [S::V; Q] = std::array::from_fn(|q| unsafe { simd.load(b, at + q * S::LANES) });
            for p in 0..P {
                // SAFETY: the caller's promise.
                let x = unsafe { simd.broadcast(rows[p], k) };
                for q in 0..Q {
                    sums[p][q] = simd.fma(x, vectors[q], sums[p][q]);
                }
            }
            at += width;
        }
    }
    sums
}

/// `out[row] = input[row] · weights + bias`, then perhaps the rectifier.
pub struct Forward<'a> {
    pub windows: Windows<'a>,
    pub input: &'a [f32],
    /// `[depth, width]`
    pub weights: &'a [f32],
    pub bias: &'a [f32],
    /// Outputs, padded to whole lanes.
    pub width: usize,
    pub relu: bool,
    /// `[row, width]`
    pub out: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        self.windows.assert_inside(self.input.len());
        assert!(self.width.is_multiple_of(LANES) && self.bias.len() >= self.width);
        assert!(self.weights.len() >= self.windows.depth() * self.width);
        assert!(self.out.len() >= self.windows.starts.len() * self.width);
        let mut column = 0;
        while column < self.width {
            let vectors = if self.width - column >= 2 * S::LANES { 2 } else { 1 };
            for rows in pieces(self.windows.starts.len(), S::ROWS) {
                with_count!(rows.len(), P => match vectors {
                    2 => self.tile::<S, P, 2>(simd, rows.start, column),
                    _ => self.tile::<S, P, 1>(simd, rows.start, column),
                });
            }
            column += vectors * S::LANES;
        }
    }
}

impl Forward<'_> {
    #[inline(always)]
    fn tile<S: Simd, const P: usize, const Q: usize>(&mut self, simd: S, row: usize, column: usize) {
        let Windows { starts, runs, run, step } = self.windows;
        let mut rows = [self.input; P];
        for p in 0..P {
            rows[p] = &self.input[starts[row + p] as usize..];
        }
        // SAFETY: `run` has asserted that windows, weights, bias and output are large enough.
        unsafe {
            let sums = tile::<S, P, Q>(simd, rows, [runs, run, step], self.weights, self.width, column);
            for p in 0..P {
                for q in 0..Q {
                    let at = column + q * S::LANES;
                    let value = simd.add(sums[p][q], simd.load(self.bias, at));
                    let value = if self.relu { simd.max(value, simd.zero()) } else { value };
                    simd.store(self.out, (row + p) * self.width + at, value);
                }
            }
        }
    }
}

/// `input_gradient[row] += gradient[row] · weights`, scattered to where the windows lie.
pub struct InputGradient<'a> {
    pub windows: Windows<'a>,
    /// `[row, width]`
    pub gradient: &'a [f32],
    pub width: usize,
    /// Outputs that count.
    pub outputs: usize,
    /// `[output, depth]`
    pub weights: &'a [f32],
    pub input_gradient: &'a mut [f32],
}

impl Kernel for InputGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let depth = self.windows.depth();
        self.windows.assert_inside(self.input_gradient.len());
        assert!(self.weights.len() >= self.outputs * depth && self.windows.run.is_multiple_of(S::LANES));
        assert!(self.gradient.len() >= self.windows.starts.len() * self.width && self.width >= self.outputs);
        let mut column = 0;
        while column < depth {
            // A tile's vectors stay within one run, because the next run lies elsewhere.
            let (run, within) = (column / self.windows.run, column % self.windows.run);
            let vectors = if self.windows.run - within >= 2 * S::LANES { 2 } else { 1 };
            let offset = run * self.windows.step + within;
            for rows in pieces(self.windows.starts.len(), S::ROWS) {
                with_count!(rows.len(), P => match vectors {
                    2 => self.tile::<S, P, 2>(simd, rows.start, column, offset),
                    _ => self.tile::<S, P, 1>(simd, rows.start, column, offset),
                });
            }
            column += vectors * S::LANES;
        }
    }
}

impl InputGradient<'_> {
    #[inline(always)]
    fn tile<S: Simd, const P: usize, const Q: usize>(&mut self, simd: S, row: usize, column: usize, offset: usize) {
        let mut rows = [self.gradient; P];
        for p in 0..P {
            rows[p] = &self.gradient[(row + p) * self.width..];
        }
        // SAFETY: `run` has asserted that windows, weights and gradient are large enough.
        unsafe {
            let depth = self.windows.depth();
            let sums = tile::<S, P, Q>(simd, rows, [1, self.outputs, 0], self.weights, depth, column);
            for p in 0..P {
                let start = self.windows.starts[row + p] as usize + offset;
                for q in 0..Q {
                    let at = start + q * S::LANES;
                    let sum = simd.add(simd.load(self.input_gradient, at), sums[p][q]);
                    simd.store(self.input_gradient, at, sum);
                }
            }
        }
    }
}

/// `weight_gradient[output] += Σ_row gradient[row][output] · input[row]`.
pub struct WeightGradient<'a> {
    pub windows: Windows<'a>,
    pub input: &'a [f32],
    /// `[row, width]`
    pub gradient: &'a [f32],
    /// Outputs, padded to whole lanes.
    pub width: usize,
    /// `[width, depth]`, or `[depth, width]` for runs that are not whole vectors.
    pub weight_gradient: &'a mut [f32],
}

/// Rows that are gone through before the next tile, so that they stay in the cache.
const ROWS_AT_A_TIME: usize = 256;

impl Kernel for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        self.windows.assert_inside(self.input.len());
        assert!(self.width.is_multiple_of(LANES));
        assert!(self.weight_gradient.len() >= self.width * self.windows.depth());
        assert!(self.gradient.len() >= self.windows.starts.len() * self.width);
        let whole_vectors = self.windows.run.is_multiple_of(LANES);
        for rows in pieces(self.windows.starts.len(), ROWS_AT_A_TIME) {
            for run in 0..self.windows.runs {
                match whole_vectors {
                    true if S::ROWS >= 8 => self.columns::<S, 8, 3>(simd, &rows, run),
                    true => self.columns::<S, 4, 2>(simd, &rows, run),
                    false => self.narrow(simd, &rows, run),
                }
            }
        }
    }
}

impl WeightGradient<'_> {
    /// All tiles of one run: up to Q vectors of its values for P outputs.
    #[inline(always)]
    fn columns<S: Simd, const P: usize, const Q: usize>(&mut self, simd: S, rows: &Range<usize>, run: usize) {
        let mut column = 0;
        while column < self.windows.run {
            let left = (self.windows.run - column) / S::LANES;
            // Four vectors are two and two, not three and one.
            let vectors = if left == 4 { 2 } else { left.min(Q) };
            for output in (0..self.width).step_by(P) {
                match vectors {
                    1 => self.tile::<S, P, 1>(simd, rows, run, column, output),
                    2 => self.tile::<S, P, 2>(simd, rows, run, column, output),
                    _ => self.tile::<S, P, Q>(simd, rows, run, column, output),
                }
            }
            column += vectors * S::LANES;
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const P: usize, const Q: usize>(
        &mut self,
        simd: S,
        rows: &Range<usize>,
        run: usize,
        column: usize,
        output: usize,
    ) {
        let depth = self.windows.depth();
        let at = |p: usize, q: usize| (output + p) * depth + run * self.windows.run + column + q * S::LANES;
        let offset = run * self.windows.step + column;
        // SAFETY: `Kernel::run` has asserted that windows, gradient and weights are large enough, and that `width` is a
        // multiple of LANES, which P divides.
        unsafe {
            let mut sums = [[simd.zero(); Q]; P];
            for p in 0..P {
                for q in 0..Q {
                    sums[p][q] = simd.load(self.weight_gradient, at(p, q));
                }
            }
            for row in rows.clone() {
                let start = *self.windows.starts.get_unchecked(row) as usize + offset;
                let x: [S::V; Q] = std::array::from_fn(|q| simd.load(self.input, start + q * S::LANES));
                for p in 0..P {
                    let g = simd.broadcast(self.gradient, row * self.width + output + p);
                    for q in 0..Q {
                        sums[p][q] = simd.fma(g, x[q], sums[p][q]);
                    }
                }
            }
            for p in 0..P {
                for q in 0..Q {
                    simd.store(self.weight_gradient, at(p, q), sums[p][q]);
                }
            }
        }
    }

    /// One run of a few values, for convolutions of the image itself: vectors go over the outputs instead.
    #[inline(always)]
    fn narrow<S: Simd>(&mut self, simd: S, rows: &Range<usize>, run: usize) {
        for column in (0..self.width).step_by(S::LANES) {
            for taps in pieces(self.windows.run, S::ROWS.min(7)) {
                with_count!(taps.len(), P => self.narrow_tile::<S, P>(simd, rows, run, taps.start, column));
            }
        }
    }

    #[inline(always)]
    fn narrow_tile<S: Simd, const P: usize>(
        &mut self,
        simd: S,
        rows: &Range<usize>,
        run: usize,
        tap: usize,
        column: usize,
    ) {
        let at = |p: usize| (run * self.windows.run + tap + p) * self.width + column;
        // SAFETY: `Kernel::run` has asserted that windows, gradient and weights are large enough.
        unsafe {
            let mut sums: [S::V; P] = std::array::from_fn(|p| simd.load(self.weight_gradient, at(p)));
            for row in rows.clone() {
                let start = *self.windows.starts.get_unchecked(row) as usize + run * self.windows.step + tap;
                let g = simd.load(self.gradient, row * self.width + column);
                for (p, sum) in sums.iter_mut().enumerate() {
                    *sum = simd.fma(simd.broadcast(self.input, start + p), g, *sum);
                }
            }
            for (p, sum) in sums.into_iter().enumerate() {
                simd.store(self.weight_gradient, at(p), sum);
            }
        }
    }
}
