//! The gradient of the input of a 3×3 convolution with 2×2 pooling: all that a pooled cell gives back falls into one 4×4
//! patch, which stays in registers.

use super::{Hit, Kernel, Simd, quarter};
use crate::nn::cpu::simd::LANES;

/// Outputs gone through at a time, so that their weights for one vector of channels stay in the first-level cache.
const OUTPUTS: usize = 32;

/// What came through in one sample for up to [`OUTPUTS`] outputs, cell by cell, and in a cell quarter by quarter.
#[derive(Clone, Debug, Default)]
pub struct CellHits {
    /// `[cell, quarter, OUTPUTS]`, of which the first `counts[cell][quarter]` are there.
    hits: Vec<Hit>,
    counts: Vec<[usize; 4]>,
}

impl CellHits {
    /// Lists the non-zero values among the `outputs` of `gradient`, `[cell, width]`.
    #[inline(always)]
    fn collect(&mut self, gradient: &[f32], codes: &[u8], width: usize, outputs: std::ops::Range<usize>) {
        let cells = gradient.len() / width;
        if self.counts.len() < cells {
            self.counts.resize(cells, [0; 4]);
            self.hits.resize(cells * 4 * OUTPUTS, Hit::default());
        }
        let rows = gradient.chunks_exact(width).zip(codes.chunks_exact(width));
        let lists = self.hits.as_chunks_mut::<{ 4 * OUTPUTS }>().0.iter_mut().zip(&mut self.counts);
        for ((gradient, codes), (hits, found)) in rows.zip(lists) {
            let mut counts = [0; 4];
            for (at, (&gradient, &code)) in
                (outputs.start..).zip(gradient[outputs.clone()].iter().zip(&codes[outputs.clone()]))
            {
                let quarter = quarter(code) & 3;
                // Always written and counted only if not zero: a branch here would often be mispredicted.
                hits[quarter * OUTPUTS + counts[quarter] % OUTPUTS] = Hit { at: at as u32, gradient };
                counts[quarter] += usize::from(gradient != 0.0);
            }
            *found = counts;
        }
    }

    /// The hits of one cell, by quarter.
    #[inline(always)]
    fn of(&self, cell: usize) -> [&[Hit]; 4] {
        let (hits, counts) = (&self.hits[cell * 4 * OUTPUTS..][..4 * OUTPUTS], &self.counts[cell]);
        let [first, second, third, fourth] = *counts;
        [
            &hits[..first],
            &hits[OUTPUTS..OUTPUTS + second],
            &hits[2 * OUTPUTS..2 * OUTPUTS + third],
            &hits[3 * OUTPUTS..3 * OUTPUTS + fourth],
        ]
    }
}

/// `input_gradient[patch] += Σ gradient · weights` over the hits of one sample; 3×3 in steps of 1 only.
pub struct PatchGradient<'a> {
    /// Four for each cell; the first is the corner of its patch.
    pub starts: &'a [u32],
    /// Values from one row of the map to the next.
    pub row: usize,
    pub channels: usize,
    /// `[cell, width]`, rectified.
    pub gradient: &'a [f32],
    pub codes: &'a [u8],
    pub width: usize,
    /// `[block of LANES channels, output, 9, LANES]`
    pub weights: &'a [f32],
    pub input_gradient: &'a mut [f32],
    pub hits: &'a mut CellHits,
}

impl Kernel for PatchGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { starts, row, channels, gradient, codes, width, weights, input_gradient, hits } = self;
        let cells = starts.len() / 4;
        let last = starts.iter().max().map_or(0, |&start| start as usize);
        assert!(last + 2 * row + 3 * channels <= input_gradient.len() && channels.is_multiple_of(LANES));
        assert!(weights.len() >= 9 * channels * width);
        // So that every cell has hits of these outputs, none that are left from others.
        assert!(gradient.len() >= cells * width && codes.len() >= cells * width);
        for first in (0..width).step_by(OUTPUTS) {
            hits.collect(gradient, codes, width, first..(first + OUTPUTS).min(width));
            for channel in (0..channels).step_by(S::LANES) {
                let (block, lane) = (channel / LANES, channel % LANES);
                let weights = &weights[block * width * 9 * LANES + lane..];
                for (cell, starts) in starts.as_chunks::<4>().0.iter().enumerate() {
                    let corner = starts[0] as usize + channel;
                    // SAFETY: asserted above: the patch lies inside the gradient, and every output has its weights.
                    unsafe { patch(simd, input_gradient, corner, row, channels, hits.of(cell), weights) };
                }
            }
        }
    }
}

/// Adds the hits of one cell to one vector of channels of its patch.
///
/// # Safety
/// The patch must lie inside `gradient`, and `weights` must hold 9 vectors, LANES apart, for each hit's output.
#[inline(always)]
unsafe fn patch<S: Simd>(
    simd: S,
    gradient: &mut [f32],
    corner: usize,
    row: usize,
    channels: usize,
    [upper_left, upper_right, lower_left, lower_right]: [&[Hit]; 4],
    weights: &[f32],
) {
    let at = |y: usize, x: usize| corner + y * row + x * channels;
    let mut sums = [[simd.zero(); 4]; 4];
    for y in 0..4 {
        for x in 0..4 {
            // SAFETY: the caller's promise.
            sums[y][x] = unsafe { simd.load(gradient, at(y, x)) };
        }
    }
    // SAFETY: the caller's promise.
    unsafe {
        add_hits::<S, 0, 0>(simd, &mut sums, upper_left, weights);
        add_hits::<S, 0, 1>(simd, &mut sums, upper_right, weights);
        add_hits::<S, 1, 0>(simd, &mut sums, lower_left, weights);
        add_hits::<S, 1, 1>(simd, &mut sums, lower_right, weights);
    }
    for y in 0..4 {
        for x in 0..4 {
            // SAFETY: the caller's promise.
            unsafe { simd.store(gradient, at(y, x), sums[y][x]) };
        }
    }
}

/// Adds the hits of the quarter at row Y and column X of a cell.
///
/// # Safety
/// `weights` must hold 9 vectors, LANES apart, for each hit's output.
#[inline(always)]
unsafe fn add_hits<S: Simd, const Y: usize, const X: usize>(
    simd: S,
    sums: &mut [[S::V; 4]; 4],
    hits: &[Hit],
    weights: &[f32],
) {
    for hit in hits {
        let g = simd.splat(hit.gradient);
        for y in 0..3 {
            for x in 0..3 {
                // SAFETY: the caller's promise.
                let w = unsafe { simd.load(weights, (hit.at as usize * 9 + 3 * y + x) * LANES) };
                sums[y + Y][x + X] = simd.fma(g, w, sums[y + Y][x + X]);
            }
        }
    }
}
