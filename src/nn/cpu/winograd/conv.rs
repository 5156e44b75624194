//! Convolution without a pool: forward, and the gradients of weights and input.
//!
//! All three go over the same tiles. The backward pass is that of each of the three parts: the outputs' gradients are
//! transformed into those of the products, whose factors are the transformed patches and weights.
//!
//! A convolution in steps of 2 is the sum of four in steps of 1, over every other row and column of the map with every other
//! row and column of the weights: the four *phases* are to the matrix products as so many more channels.

mod backward;
mod forward;

use std::ops::Range;

use super::super::pieces::pieces;
use super::super::program::Affine;
use super::super::simd::Simd;
use super::{TILES, Transform, column};
pub use backward::Backward;
pub use forward::Forward;

/// How the tiles lie in the maps of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Rows and columns of the input, without the zeros around it.
    pub input: [usize; 2],
    pub output: [usize; 2],
    /// Rows and columns of a window, of which each phase has at most three.
    pub kernel: [usize; 2],
    /// Rows and columns from one window to the next, 1 or 2.
    pub stride: usize,
    /// Rows and columns of zeros on each side of the input.
    pub padding: usize,
    /// Rows and columns of outputs of a tile, M.
    pub tile: usize,
}

impl Grid {
    /// For windows of size `kernel`, if they are of a size that the algorithm is for.
    pub fn new(input: [usize; 2], kernel: [usize; 2], stride: usize, padding: usize, tile: usize) -> Option<Self> {
        let output = [0, 1].map(|axis| (input[axis] + 2 * padding - kernel[axis]) / stride + 1);
        let grid = Self { input, output, kernel, stride, padding, tile };
        kernel.iter().all(|&rows| grid.tap(rows - 1).0 == 2).then_some(grid)
    }

    /// How many convolutions in steps of 1 it is the sum of.
    pub const fn phases(&self) -> usize {
        self.stride * self.stride
    }

    /// Rows of zeros before the first row of a phase.
    const fn before(&self) -> usize {
        self.padding.div_ceil(self.stride)
    }

    /// Row `row` of a window as one of three rows in a phase, and which; the same of columns.
    const fn tap(&self, row: usize) -> (usize, usize) {
        let from_first = row + self.before() * self.stride - self.padding;
        (from_first / self.stride, from_first % self.stride)
    }

    /// Where tap `number` of the window stands among `[3, 3, phase]`.
    pub const fn place_of_tap(&self, number: usize) -> usize {
        let (row, row_phase) = self.tap(number / self.kernel[1]);
        let (column, column_phase) = self.tap(number % self.kernel[1]);
        (3 * row + column) * self.phases() + row_phase * self.stride + column_phase
    }

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
        self.in_sample() * self.places() * self.phases()
    }

    const fn in_sample(&self) -> usize {
        let [rows, columns] = self.tiles();
        rows * columns
    }

    /// What tile `number`, counted through all samples, reads of a phase.
    fn patch(&self, number: usize, phase: usize) -> Square {
        let phase = [phase / self.stride, phase % self.stride];
        self.square(number, self.input, self.tile + 2, self.before(), self.stride, phase)
    }

    /// What tile `number` writes.
    fn outputs(&self, number: usize) -> Square {
        self.square(number, self.output, self.tile, 0, 1, [0, 0])
    }

    /// `side` rows and columns of those rows and columns of `map` that begin at `phase` and are `stride` apart, from `before`
    /// the tile on.
    fn square(
        &self,
        number: usize,
        map: [usize; 2],
        side: usize,
        before: usize,
        stride: usize,
        phase: [usize; 2],
    ) -> Square {
        let columns = self.tiles()[1];
        let (sample, within) = (number / self.in_sample(), number % self.in_sample());
        let corner = [within / columns * self.tile, within % columns * self.tile];
        let inside = [0, 1].map(|axis| {
            let rows = (map[axis] - phase[axis].min(map[axis])).div_ceil(stride);
            (before.saturating_sub(corner[axis]), side.min((rows + before).saturating_sub(corner[axis])))
        });
        let [y, x] = [0, 1].map(|axis| (corner[axis] * stride + phase[axis]).wrapping_sub(before * stride));
        Square {
            corner: (sample * map[0]).wrapping_add(y).wrapping_mul(map[1]).wrapping_add(x),
            steps: [map[1] * stride, stride],
            inside,
            whole: inside == [(0, side); 2],
        }
    }
}

/// A part of a map, that may reach beyond it.
#[derive(Clone, Copy)]
struct Square {
    /// The position of its upper left corner, counted through all samples, wrapping around below 0.
    corner: usize,
    /// Positions from one row to the next, and from one column to the next.
    steps: [usize; 2],
    /// Its first row inside the map and the one after the last, and the same of its columns.
    inside: [(usize, usize); 2],
    /// Whether all of it is inside. Most tiles are, and spare the question for each position.
    whole: bool,
}

impl Square {
    /// Where row `y` and column `x` of the square lie, unless they are beyond the map; `whole` as a constant.
    #[inline(always)]
    fn position(&self, y: usize, x: usize, whole: bool) -> Option<usize> {
        let [rows, columns] = self.inside;
        let inside = whole || (rows.0 <= y && y < rows.1 && columns.0 <= x && x < columns.1);
        inside.then(|| self.corner.wrapping_add(y * self.steps[0] + x * self.steps[1]))
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
    /// Rows of the weights' matrices: the channels of all phases.
    const fn depth(&self) -> usize {
        self.grid.phases() * self.channels
    }

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

    /// `patches[place][tile] = (Bᵀ d B)[place]` for the patches d of `tiles`, `[place, tile, phase, channel]`.
    #[inline(always)]
    fn transform_input<S: Simd, const M: usize, const N: usize>(
        &self,
        simd: S,
        tiles: Range<usize>,
        input: &[f32],
        patches: &mut [f32],
    ) {
        let Self { grid, channels, .. } = *self;
        let (depth, apart) = (self.depth(), tiles.len() * self.depth());
        assert!(patches.len() >= N * N * apart);
        for (tile, number) in tiles.enumerate() {
            for phase in 0..grid.phases() {
                let square = grid.patch(number, phase);
                for channel in (0..channels).step_by(S::LANES) {
                    let out = &mut patches[tile * depth + phase * channels + channel..];
                    // SAFETY: `assert_fits` was called for this input; the rest is asserted above.
                    unsafe {
                        if square.whole {
                            square.patch::<S, M, N>(simd, true, input, channels, channel, out, apart);
                        } else {
                            square.patch::<S, M, N>(simd, false, input, channels, channel, out, apart);
                        }
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
        let count = tiles.len();
        assert!(out.len() >= N * N * count * width && bias.len() >= width);
        for (tile, number) in tiles.enumerate() {
            let square = grid.outputs(number);
            for channel in (0..width).step_by(S::LANES) {
                let out = &mut out[tile * width + channel..];
                // SAFETY: `assert_fits` was called for gradient and output; the rest is asserted above.
                unsafe {
                    let sum = if square.whole {
                        square.slopes::<S, M, N>(simd, true, gradient, output, width, channel, out, count)
                    } else {
                        square.slopes::<S, M, N>(simd, false, gradient, output, width, channel, out, count)
                    };
                    simd.store(bias, channel, simd.add(simd.load(bias, channel), sum));
                }
            }
        }
    }
}

impl Square {
    /// Transforms a patch of the channels from `channel` on; what comes of a place goes to `out`, `apart`
    /// values after that of the place before.
    ///
    /// # Safety
    /// `input` must hold what of the square is inside, `whole` be as it says, and `out` have room.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "two maps and where to look in them")]
    unsafe fn patch<S: Simd, const M: usize, const N: usize>(
        &self,
        simd: S,
        whole: bool,
        input: &[f32],
        channels: usize,
        channel: usize,
        out: &mut [f32],
        apart: usize,
    ) {
        let mut rows = [[simd.zero(); N]; N];
        for y in 0..N {
            let mut d = [simd.zero(); N];
            for x in 0..N {
                if let Some(position) = self.position(y, x, whole) {
                    // SAFETY: the caller's promise.
                    d[x] = unsafe { simd.load(input, position * channels + channel) };
                }
            }
            rows[y] = Transform::<M, N>::input(simd, &d);
        }
        for x in 0..N {
            let values = Transform::<M, N>::input(simd, &column(&rows, x));
            for y in 0..N {
                // SAFETY: the caller's promise.
                unsafe { simd.store(out, (N * y + x) * apart, values[y]) };
            }
        }
    }

    /// The same with a tile's gradients that the rectifier let through; returns their sum.
    ///
    /// # Safety
    /// `gradient` and `output` must hold what of the square is inside, `whole` be as it says, and `out` have room.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "three maps and where to look in them")]
    unsafe fn slopes<S: Simd, const M: usize, const N: usize>(
        &self,
        simd: S,
        whole: bool,
        gradient: &[f32],
        output: Option<&[f32]>,
        width: usize,
        channel: usize,
        out: &mut [f32],
        count: usize,
    ) -> S::V {
        let mut sum = simd.zero();
        let mut rows = [[simd.zero(); N]; M];
        for y in 0..M {
            let mut g = [simd.zero(); M];
            for x in 0..M {
                if let Some(position) = self.position(y, x, whole) {
                    let at = position * width + channel;
                    // SAFETY: the caller's promise.
                    unsafe {
                        g[x] = simd.load(gradient, at);
                        if let Some(output) = output {
                            g[x] = simd.select_gt(simd.load(output, at), simd.zero(), g[x], simd.zero());
                        }
                    }
                    sum = simd.add(sum, g[x]);
                }
            }
            rows[y] = Transform::<M, N>::output_gradient(simd, &g);
        }
        for x in 0..N {
            let values = Transform::<M, N>::output_gradient(simd, &column(&rows, x));
            for y in 0..N {
                // SAFETY: the caller's promise.
                unsafe { simd.store(out, (N * y + x) * count * width, values[y]) };
            }
        }
        sum
    }
}
