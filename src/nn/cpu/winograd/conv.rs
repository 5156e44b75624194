//! Convolution without a pool: forward, and the gradients of weights and input.
//!
//! All three go over the same tiles. The backward pass is that of each of the three parts: the outputs' gradients are
//! transformed into those of the products, whose factors are the transformed patches and weights.

mod backward;
mod forward;

use std::ops::Range;

use super::super::pieces::pieces;
use super::super::program::Affine;
use super::super::simd::Simd;
use super::{TILES, Transform, along, column};
pub use backward::Backward;
pub use forward::Forward;

/// How the tiles lie in the maps of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Rows and columns of the input, without the zeros around it.
    pub input: [usize; 2],
    pub output: [usize; 2],
    /// Rows and columns of zeros on each side of the input.
    pub padding: usize,
    /// Rows and columns of outputs of a tile, M.
    pub tile: usize,
}

impl Grid {
    /// Rows and columns of tiles; the last ones may reach beyond the map.
    const fn tiles(&self) -> [usize; 2] {
        [self.output[0].div_ceil(self.tile), self.output[1].div_ceil(self.tile)]
    }

    /// Places of a transformed patch, N².
    const fn places(&self) -> usize {
        (self.tile + 2) * (self.tile + 2)
    }

    /// Multiplications for one channel and output of a sample.
    pub const fn multiplications(&self) -> usize {
        let [rows, columns] = self.tiles();
        rows * columns * self.places()
    }

    const fn in_sample(&self) -> usize {
        let [rows, columns] = self.tiles();
        rows * columns
    }

    /// The sample of tile `number`, counted through all samples, and its first row and column of outputs.
    fn origin(&self, number: usize) -> [usize; 3] {
        let columns = self.tiles()[1];
        let within = number % self.in_sample();
        [number / self.in_sample(), within / columns * self.tile, within % columns * self.tile]
    }

    /// Where input position `y`, `x` of the padded map lies in the real one, `[sample, row, column]`, unless it is padding or
    /// beyond.
    #[inline(always)]
    fn input_position(&self, sample: usize, y: usize, x: usize) -> Option<usize> {
        let [height, width] = self.input;
        let (y, x) = (y.wrapping_sub(self.padding), x.wrapping_sub(self.padding));
        (y < height && x < width).then(|| (sample * height + y) * width + x)
    }

    /// Where output `y`, `x` lies, unless it is beyond the map.
    #[inline(always)]
    fn output_position(&self, sample: usize, y: usize, x: usize) -> Option<usize> {
        let [height, width] = self.output;
        (y < height && x < width).then(|| (sample * height + y) * width + x)
    }
}

/// The maps on both sides of a convolution.
#[derive(Clone, Copy)]
pub struct Shape {
    pub grid: Grid,
    pub samples: usize,
    /// Channels of input and output, padded to whole lanes.
    pub channels: usize,
    pub width: usize,
}

impl Shape {
    /// For `samples` samples that `affine` reads and writes.
    pub const fn of(affine: &Affine, grid: Grid, samples: usize) -> Self {
        Self { grid, samples, channels: affine.stride, width: affine.outputs_padded }
    }

    /// That the slices are as long as the maps of all samples: what makes the unchecked loads and stores sound.
    fn assert_fits<S: Simd>(&self, input: usize, output: usize) {
        let Self { grid, samples, channels, width } = *self;
        assert!(channels.is_multiple_of(S::LANES) && width.is_multiple_of(S::LANES));
        assert!(input >= samples * grid.input[0] * grid.input[1] * channels);
        assert!(output >= samples * grid.output[0] * grid.output[1] * width);
    }

    /// All tiles, as many at a time as fit in the scratch memory.
    fn pieces(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        pieces(self.samples * self.grid.in_sample(), TILES)
    }

    /// `patches[place][tile] = (Bᵀ d B)[place]` for the patches d of `tiles`, `[place, tile, channel]`.
    #[inline(always)]
    fn transform_input<S: Simd, const M: usize, const N: usize>(
        &self,
        simd: S,
        tiles: Range<usize>,
        input: &[f32],
        patches: &mut [f32],
    ) {
        let Self { grid, channels, .. } = *self;
        let matrix = &Transform::<M, N>::INPUT;
        let count = tiles.len();
        assert!(patches.len() >= N * N * count * channels);
        for (tile, number) in tiles.enumerate() {
            let [sample, top, left] = grid.origin(number);
            for channel in (0..channels).step_by(S::LANES) {
                let mut rows = [[simd.zero(); N]; N];
                for y in 0..N {
                    let mut d = [simd.zero(); N];
                    for x in 0..N {
                        if let Some(position) = grid.input_position(sample, top + y, left + x) {
                            // SAFETY: `assert_fits` was called for this input.
                            d[x] = unsafe { simd.load(input, position * channels + channel) };
                        }
                    }
                    rows[y] = along(simd, matrix, &d);
                }
                for x in 0..N {
                    let values = along(simd, matrix, &column(&rows, x));
                    for y in 0..N {
                        // SAFETY: asserted above.
                        unsafe { simd.store(patches, ((N * y + x) * count + tile) * channels + channel, values[y]) };
                    }
                }
            }
        }
    }

    /// `out[place][tile] = (A g Aᵀ)[place]` for the gradients g of the outputs of `tiles`, `[place, tile, width]`, that the
    /// rectifier let through; adds these up in `bias`.
    #[inline(always)]
    fn transform_gradient<S: Simd, const M: usize, const N: usize>(
        &self,
        simd: S,
        tiles: Range<usize>,
        gradient: &[f32],
        output: Option<&[f32]>,
        bias: &mut [f32],
        out: &mut [f32],
    ) {
        let Self { grid, width, .. } = *self;
        let matrix = &Transform::<M, N>::OUTPUT_TRANSPOSED;
        let count = tiles.len();
        assert!(out.len() >= N * N * count * width && bias.len() >= width);
        for (tile, number) in tiles.enumerate() {
            let [sample, top, left] = grid.origin(number);
            for channel in (0..width).step_by(S::LANES) {
                let mut sum = simd.zero();
                let mut rows = [[simd.zero(); N]; M];
                for y in 0..M {
                    let mut g = [simd.zero(); M];
                    for x in 0..M {
                        if let Some(position) = grid.output_position(sample, top + y, left + x) {
                            let at = position * width + channel;
                            // SAFETY: `assert_fits` was called for gradient and output.
                            unsafe {
                                g[x] = simd.load(gradient, at);
                                if let Some(output) = output {
                                    g[x] = simd.select_gt(simd.load(output, at), simd.zero(), g[x], simd.zero());
                                }
                            }
                            sum = simd.add(sum, g[x]);
                        }
                    }
                    rows[y] = along(simd, matrix, &g);
                }
                // SAFETY: asserted above.
                unsafe { simd.store(bias, channel, simd.add(simd.load(bias, channel), sum)) };
                for x in 0..N {
                    let values = along(simd, matrix, &column(&rows, x));
                    for y in 0..N {
                        // SAFETY: asserted above.
                        unsafe { simd.store(out, ((N * y + x) * count + tile) * width + channel, values[y]) };
                    }
                }
            }
        }
    }
}
