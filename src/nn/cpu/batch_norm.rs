//! Batch norm (Ioffe and Szegedy 2015), `y = (x − mean) · factor · scale + shift`, over rows of features. The maps come from
//! far away in memory, so they are read in their order: up to [`VECTORS`] vectors of features, which are whole rows of most
//! networks, down the rows of a block that stays in the cache for the rest.

use std::ops::Range;

use super::pieces::{pieces, with_count};
use super::pointwise::ROWS_IN_A_SUM;
use super::simd::{Kernel, LANES, Simd};
use super::weights::Normal;

/// Vectors of features that are gone through together: their factors and sums stay in registers.
const VECTORS: usize = 4;

/// How many values ahead of the pass the maps are fetched.
const AHEAD: usize = 512;

/// Adds the sums of `input`, `[row, width]`, and of its squares to `sums`, `[2, width]`.
pub struct Statistics<'a> {
    pub input: &'a [f32],
    pub sums: &'a mut [f64],
}

impl Kernel for Statistics<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (sums, squares) = self.sums.split_at_mut(self.sums.len() / 2);
        let width = sums.len();
        for block in blocks(self.input.len(), width) {
            let groups = sums.as_chunks_mut::<LANES>().0.iter_mut().zip(squares.as_chunks_mut::<LANES>().0);
            for (group, (sums, squares)) in groups.enumerate() {
                // In registers, where references into memory would not stay.
                let (mut sum, mut square) = (*sums, *squares);
                for row in self.input[block.clone()].chunks_exact(width) {
                    let x: &[f32; LANES] = row[group * LANES..].first_chunk().expect("whole lanes");
                    for lane in 0..LANES {
                        let x = f64::from(x[lane]);
                        sum[lane] += x;
                        square[lane] += x * x;
                    }
                }
                (*sums, *squares) = (sum, square);
            }
        }
    }
}

/// The forward pass, with the rectifier if `relu`.
pub struct Forward<'a> {
    pub normal: &'a Normal,
    pub relu: bool,
    pub input: &'a [f32],
    pub out: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { normal, relu, input, out } = self;
        let width = normal.width();
        assert!(out.len() >= input.len() && input.len().is_multiple_of(width) && width.is_multiple_of(S::LANES));
        let lowest = simd.splat(if relu { 0.0 } else { f32::NEG_INFINITY });
        for block in blocks(input.len(), width) {
            for group in pieces(width / S::LANES, VECTORS) {
                let column = group.start * S::LANES;
                // SAFETY: asserted above: whole vectors in whole rows.
                with_count!(group.len(), Q of 1 2 3 4 => unsafe {
                    let mean = load::<S, Q>(simd, &normal.mean, column);
                    let scale = load::<S, Q>(simd, &normal.scale, column);
                    let shift = load::<S, Q>(simd, &normal.shift, column);
                    let mut factor = load::<S, Q>(simd, &normal.factor, column);
                    for q in 0..Q {
                        factor[q] = simd.mul(factor[q], scale[q]);
                    }
                    for row in (block.start + column..block.end).step_by(width) {
                        for q in 0..Q {
                            let at = row + q * S::LANES;
                            fetch_ahead(simd, input, at);
                            let x = simd.sub(simd.load(input, at), mean[q]);
                            simd.store(out, at, simd.max(simd.fma(x, factor[q], shift[q]), lowest));
                        }
                    }
                });
            }
        }
    }
}

/// Q vectors from `column` on.
///
/// # Safety
/// `from` must hold them.
#[inline(always)]
unsafe fn load<S: Simd, const Q: usize>(simd: S, from: &[f32], column: usize) -> [S::V; Q] {
    let mut vectors = [simd.zero(); Q];
    for q in 0..Q {
        // SAFETY: the caller's promise.
        vectors[q] = unsafe { simd.load(from, column + q * S::LANES) };
    }
    vectors
}

/// Fetches what a pass over `map` will come to.
#[inline(always)]
fn fetch_ahead<S: Simd>(simd: S, map: &[f32], at: usize) {
    simd.prefetch(map.as_ptr().wrapping_add(at + AHEAD));
}

/// Blocks of rows of `width` values.
fn blocks(len: usize, width: usize) -> impl Iterator<Item = Range<usize>> {
    let size = ROWS_IN_A_SUM * width;
    (0..len).step_by(size).map(move |start| start..len.min(start + size))
}

/// Adds the gradients of scale and shift to theirs, after it has zeroed `gradient` where the rectified `output` is 0 (if
/// given). The gradient of the input needs these sums over the whole batch.
pub struct ParameterGradient<'a> {
    pub normal: &'a Normal,
    pub input: &'a [f32],
    pub output: Option<&'a [f32]>,
    pub gradient: &'a mut [f32],
    pub scale: &'a mut [f32],
    pub shift: &'a mut [f32],
}

impl Kernel for ParameterGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { normal, input, output, gradient, scale, shift } = self;
        let (width, len) = (normal.width(), input.len());
        assert!(len.is_multiple_of(width) && width.is_multiple_of(S::LANES) && gradient.len() >= len);
        assert!(output.is_none_or(|output| output.len() >= len) && scale.len() >= width && shift.len() >= width);
        for block in blocks(len, width) {
            for group in pieces(width / S::LANES, VECTORS) {
                let column = group.start * S::LANES;
                // SAFETY: asserted above: whole vectors in whole rows.
                with_count!(group.len(), Q of 1 2 3 4 => unsafe {
                    let mean = load::<S, Q>(simd, &normal.mean, column);
                    let factor = load::<S, Q>(simd, &normal.factor, column);
                    let (mut products, mut sums) = ([simd.zero(); Q], [simd.zero(); Q]);
                    for row in (block.start + column..block.end).step_by(width) {
                        for q in 0..Q {
                            let at = row + q * S::LANES;
                            fetch_ahead(simd, gradient, at);
                            fetch_ahead(simd, input, at);
                            let mut g = simd.load(gradient, at);
                            if let Some(output) = output {
                                g = simd.select_gt(simd.load(output, at), simd.zero(), g, simd.zero());
                                simd.store(gradient, at, g);
                            }
                            let x = simd.mul(simd.sub(simd.load(input, at), mean[q]), factor[q]);
                            products[q] = simd.fma(g, x, products[q]);
                            sums[q] = simd.add(sums[q], g);
                        }
                    }
                    for q in 0..Q {
                        let at = column + q * S::LANES;
                        simd.store(scale, at, simd.add(simd.load(scale, at), products[q]));
                        simd.store(shift, at, simd.add(simd.load(shift, at), sums[q]));
                    }
                });
            }
        }
    }
}

/// Makes the gradient of the output that of the input; mean and factor depend on every row of the batch.
pub struct InputGradient<'a> {
    pub normal: &'a Normal,
    /// Rows of the whole batch.
    pub rows: usize,
    pub input: &'a [f32],
    pub gradient: &'a mut [f32],
    /// The whole batch's gradients of scale and shift.
    pub scale: &'a [f32],
    pub shift: &'a [f32],
}

impl Kernel for InputGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { normal, rows, input, gradient, scale, shift } = self;
        let (width, len) = (normal.width(), input.len());
        assert!(len.is_multiple_of(width) && width.is_multiple_of(S::LANES) && gradient.len() >= len);
        assert!(scale.len() >= width && shift.len() >= width);
        let share = simd.splat(1.0 / rows as f32);
        for block in blocks(len, width) {
            for group in pieces(width / S::LANES, VECTORS) {
                let column = group.start * S::LANES;
                // SAFETY: asserted above: whole vectors in whole rows.
                with_count!(group.len(), Q of 1 2 3 4 => unsafe {
                    let mean = load::<S, Q>(simd, &normal.mean, column);
                    let mut slope = load::<S, Q>(simd, &normal.scale, column);
                    let mut of_mean = load::<S, Q>(simd, shift, column);
                    let mut of_factor = load::<S, Q>(simd, scale, column);
                    for q in 0..Q {
                        let factor = simd.load(&normal.factor, column + q * S::LANES);
                        slope[q] = simd.mul(factor, slope[q]);
                        of_mean[q] = simd.mul(share, of_mean[q]);
                        of_factor[q] = simd.mul(share, simd.mul(of_factor[q], factor));
                    }
                    for row in (block.start + column..block.end).step_by(width) {
                        for q in 0..Q {
                            let at = row + q * S::LANES;
                            fetch_ahead(simd, gradient, at);
                            fetch_ahead(simd, input, at);
                            let x = simd.sub(simd.load(input, at), mean[q]);
                            let g = simd.sub(simd.load(gradient, at), simd.fma(x, of_factor[q], of_mean[q]));
                            simd.store(gradient, at, simd.mul(slope[q], g));
                        }
                    }
                });
            }
        }
    }
}
