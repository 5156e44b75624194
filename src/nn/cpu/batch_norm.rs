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

/// The forward pass, with the sum with an `other` map, if there is one, and the rectifier if `relu`.
pub struct Forward<'a> {
    pub normal: &'a Normal,
    pub other: Option<&'a [f32]>,
    pub relu: bool,
    pub input: &'a [f32],
    pub out: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { normal, other, relu, input, out } = self;
        let width = normal.width();
        normal.assert_width();
        assert!(other.is_none_or(|other| other.len() >= input.len()));
        assert!(out.len() >= input.len() && input.len().is_multiple_of(width) && width.is_multiple_of(S::LANES));
        let lowest = simd.splat(if relu { 0.0 } else { f32::NEG_INFINITY });
        for block in blocks(input.len(), width) {
            for group in pieces(width / S::LANES, VECTORS) {
                let column = group.start * S::LANES;
                // SAFETY: asserted above: whole vectors in whole rows.
                with_count!(group.len(), Q of 1 2 3 4 => unsafe {
                    let mean = load::<S, Q>(simd, &normal.mean, column);
                    let output = Output::<S, Q>::load(simd, normal, column);
                    for row in (block.start + column..block.end).step_by(width) {
                        for q in 0..Q {
                            let at = row + q * S::LANES;
                            fetch_ahead(simd, input, at);
                            let x = simd.sub(simd.load(input, at), mean[q]);
                            let mut value = output.of(simd, q, x);
                            if let Some(other) = other {
                                fetch_ahead(simd, other, at);
                                value = simd.add(value, simd.load(other, at));
                            }
                            simd.store(out, at, simd.max(value, lowest));
                        }
                    }
                });
            }
        }
    }
}

/// What makes a value the output, of Q vectors of features.
#[derive(Clone, Copy)]
struct Output<S: Simd, const Q: usize> {
    factor: [S::V; Q],
    shift: [S::V; Q],
}

impl<S: Simd, const Q: usize> Output<S, Q> {
    /// Those from `column` on.
    ///
    /// # Safety
    /// `normal` must have as many.
    #[inline(always)]
    unsafe fn load(simd: S, normal: &Normal, column: usize) -> Self {
        // SAFETY: the caller's promise.
        let [mut factor, scale, shift] =
            [&normal.factor, &normal.scale, &normal.shift].map(|values| unsafe { load::<S, Q>(simd, values, column) });
        for q in 0..Q {
            factor[q] = simd.mul(factor[q], scale[q]);
        }
        Self { factor, shift }
    }

    /// From `x` less the mean, in vector `q` of features.
    #[inline(always)]
    fn of(&self, simd: S, q: usize, x: S::V) -> S::V {
        simd.fma(x, self.factor[q], self.shift[q])
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

/// Adds the gradients of scale and shift to theirs, after it has zeroed `gradient` where the output is rectified, if `relu`:
/// to compute it again is faster than to read it. The gradient of the input needs these sums over the whole batch.
pub struct ParameterGradient<'a> {
    pub normal: &'a Normal,
    pub relu: bool,
    pub input: &'a [f32],
    pub gradient: &'a mut [f32],
    pub scale: &'a mut [f32],
    pub shift: &'a mut [f32],
}

impl Kernel for ParameterGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { normal, relu, input, gradient, scale, shift } = self;
        let (width, len) = (normal.width(), input.len());
        normal.assert_width();
        assert!(len.is_multiple_of(width) && width.is_multiple_of(S::LANES) && gradient.len() >= len);
        assert!(scale.len() >= width && shift.len() >= width);
        for block in blocks(len, width) {
            for group in pieces(width / S::LANES, VECTORS) {
                let column = group.start * S::LANES;
                // SAFETY: asserted above: whole vectors in whole rows.
                with_count!(group.len(), Q of 1 2 3 4 => unsafe {
                    let mean = load::<S, Q>(simd, &normal.mean, column);
                    let factor = load::<S, Q>(simd, &normal.factor, column);
                    let output = Output::<S, Q>::load(simd, normal, column);
                    let (mut products, mut sums) = ([simd.zero(); Q], [simd.zero(); Q]);
                    for row in (block.start + column..block.end).step_by(width) {
                        for q in 0..Q {
                            let at = row + q * S::LANES;
                            fetch_ahead(simd, gradient, at);
                            fetch_ahead(simd, input, at);
                            let mut g = simd.load(gradient, at);
                            let x = simd.sub(simd.load(input, at), mean[q]);
                            if relu {
                                g = simd.select_gt(output.of(simd, q, x), simd.zero(), g, simd.zero());
                                simd.store(gradient, at, g);
                            }
                            let x = simd.mul(x, factor[q]);
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

/// What makes the gradient of the output that of the input, `slope · (g − of_mean − (x − mean) · of_factor)`, by feature: mean
/// and factor depend on every row of the batch.
#[derive(Debug)]
pub struct Slopes {
    mean: Vec<f32>,
    slope: Vec<f32>,
    of_mean: Vec<f32>,
    of_factor: Vec<f32>,
}

impl Slopes {
    /// From the gradients of scale and shift of a whole batch of so many `rows`.
    pub fn new(normal: &Normal, rows: usize, scale: &[f32], shift: &[f32]) -> Self {
        let share = 1.0 / rows as f32;
        let factors = || normal.factor.iter();
        Self {
            mean: normal.mean.to_vec(),
            slope: factors().zip(&*normal.scale).map(|(factor, scale)| factor * scale).collect(),
            of_mean: shift.iter().map(|gradient| share * gradient).collect(),
            of_factor: factors().zip(scale).map(|(factor, gradient)| share * (gradient * factor)).collect(),
        }
    }

    /// That they are those of `width` features: what makes [`Slopes::load`] sound.
    pub fn assert_width(&self, width: usize) {
        assert!([&self.mean, &self.slope, &self.of_mean, &self.of_factor].iter().all(|values| values.len() == width));
    }

    /// Those of Q vectors of features from `column` on.
    ///
    /// # Safety
    /// There must be as many.
    #[inline(always)]
    pub unsafe fn load<S: Simd, const Q: usize>(&self, simd: S, column: usize) -> SlopeVectors<S, Q> {
        let Self { mean, slope, of_mean, of_factor } = self;
        // SAFETY: the caller's promise.
        let [mean, slope, of_mean, of_factor] =
            [mean, slope, of_mean, of_factor].map(|values| unsafe { load(simd, values, column) });
        SlopeVectors { mean, slope, of_mean, of_factor }
    }
}

/// [`Slopes`] in registers.
#[derive(Clone, Copy)]
pub struct SlopeVectors<S: Simd, const Q: usize> {
    mean: [S::V; Q],
    slope: [S::V; Q],
    of_mean: [S::V; Q],
    of_factor: [S::V; Q],
}

impl<S: Simd, const Q: usize> SlopeVectors<S, Q> {
    /// Where there is no batch norm.
    #[inline(always)]
    pub fn zero(simd: S) -> Self {
        let zero = [simd.zero(); Q];
        Self { mean: zero, slope: zero, of_mean: zero, of_factor: zero }
    }

    /// The gradient of `input` from that of the output, in vector `q` of features.
    #[inline(always)]
    pub fn input_gradient(&self, simd: S, q: usize, input: S::V, gradient: S::V) -> S::V {
        let x = simd.sub(input, self.mean[q]);
        simd.mul(self.slope[q], simd.sub(gradient, simd.fma(x, self.of_factor[q], self.of_mean[q])))
    }
}

/// Makes the gradient of the output that of the input.
pub struct InputGradient<'a> {
    pub slopes: &'a Slopes,
    pub input: &'a [f32],
    pub gradient: &'a mut [f32],
}

impl Kernel for InputGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { slopes, input, gradient } = self;
        let (width, len) = (slopes.mean.len(), input.len());
        assert!(len.is_multiple_of(width) && width.is_multiple_of(S::LANES) && gradient.len() >= len);
        slopes.assert_width(width);
        for block in blocks(len, width) {
            for group in pieces(width / S::LANES, VECTORS) {
                let column = group.start * S::LANES;
                // SAFETY: asserted above: whole vectors in whole rows.
                with_count!(group.len(), Q of 1 2 3 4 => unsafe {
                    let slopes = slopes.load::<S, Q>(simd, column);
                    for row in (block.start + column..block.end).step_by(width) {
                        for q in 0..Q {
                            let at = row + q * S::LANES;
                            fetch_ahead(simd, gradient, at);
                            fetch_ahead(simd, input, at);
                            let (x, g) = (simd.load(input, at), simd.load(gradient, at));
                            simd.store(gradient, at, slopes.input_gradient(simd, q, x, g));
                        }
                    }
                });
            }
        }
    }
}
