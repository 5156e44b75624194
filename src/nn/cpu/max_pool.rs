//! Max pooling on its own, with windows of any size.

use super::program::Map;
use super::simd::{Kernel, Simd};

/// The windows of a pooling step.
#[derive(Clone, Copy)]
pub struct MaxPool {
    pub size: usize,
    pub stride: usize,
    pub input: Map,
    pub output: Map,
}

impl MaxPool {
    /// The offsets in all samples of the positions of cell `cell`, counted through all samples, row by row.
    #[inline(always)]
    fn window(self, cell: usize) -> impl Iterator<Item = usize> {
        let (sample, within) = (cell / self.output.positions(), cell % self.output.positions());
        let (y, x) = (within / self.output.width * self.stride, within % self.output.width * self.stride);
        let corner = (sample * self.input.height + y) * self.input.width + x;
        (0..self.size * self.size)
            .map(move |i| (corner + i / self.size * self.input.width + i % self.size) * self.input.stride)
    }

    /// How many cells there are in `output` values; that the windows of all lie in `input` values.
    fn assert_fits<S: Simd>(self, input: usize, output: usize) -> usize {
        let samples = output / self.output.len();
        assert!(self.output.stride == self.input.stride && self.input.stride.is_multiple_of(S::LANES));
        assert!(input >= samples * self.input.len());
        let reach = |side: usize| (side - 1) * self.stride + self.size;
        assert!(reach(self.output.height) <= self.input.height && reach(self.output.width) <= self.input.width);
        samples * self.output.positions()
    }
}

/// The maxima of all samples.
pub struct Forward<'a> {
    pub pool: MaxPool,
    pub input: &'a [f32],
    pub out: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { pool, input, out } = self;
        let width = pool.output.stride;
        for cell in 0..pool.assert_fits::<S>(input.len(), out.len()) {
            for channel in (0..width).step_by(S::LANES) {
                let mut best = simd.splat(f32::NEG_INFINITY);
                for start in pool.window(cell) {
                    // SAFETY: asserted above.
                    let x = unsafe { simd.load(input, start + channel) };
                    best = simd.select_gt(x, best, x, best);
                }
                // SAFETY: asserted above.
                unsafe { simd.store(out, cell * width + channel, best) };
            }
        }
    }
}

/// Adds each cell's gradient to the first position of its window that holds the maximum.
pub struct Backward<'a> {
    pub pool: MaxPool,
    pub input: &'a [f32],
    pub output: &'a [f32],
    pub gradient: &'a [f32],
    pub input_gradient: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { pool, input, output, gradient, input_gradient } = self;
        let width = pool.output.stride;
        let cells = pool.assert_fits::<S>(input.len().min(input_gradient.len()), output.len());
        assert!(gradient.len() >= output.len());
        for cell in 0..cells {
            for channel in (0..width).step_by(S::LANES) {
                // SAFETY: asserted above.
                unsafe {
                    let maximum = simd.load(output, cell * width + channel);
                    let mut left = simd.load(gradient, cell * width + channel);
                    for start in pool.window(cell) {
                        let at = start + channel;
                        let x = simd.load(input, at);
                        let given = simd.select_gt(maximum, x, simd.zero(), left);
                        left = simd.select_gt(maximum, x, left, simd.zero());
                        simd.store(input_gradient, at, simd.add(simd.load(input_gradient, at), given));
                    }
                }
            }
        }
    }
}
