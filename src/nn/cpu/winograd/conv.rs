//! Convolution without a pool: forward, and the gradients of weights and input.
//!
//! All three go over the same tiles. The backward pass is that of each of the three parts: the outputs' gradients are
//! transformed into those of the products, whose factors are the transformed patches and weights.
//!
//! A convolution in steps of 2 is the sum of four in steps of 1, over every other row and column of the map with every other
//! row and column of the weights: the four *phases* are to the matrix products as so many more channels.

mod backward;
mod forward;

use std::hint::black_box;
use std::ops::Range;

use super::super::batch_norm::{SlopeVectors, Slopes};
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

    /// What tile `number` of a sample reads of a phase.
    fn patch(&self, number: usize, phase: usize) -> Square {
        let phase = [phase / self.stride, phase % self.stride];
        self.square(number, self.input, self.tile + 2, self.before(), self.stride, phase)
    }

    /// What tile `number` of a sample writes.
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
        let corner = [number / columns * self.tile, number % columns * self.tile];
        let inside = [0, 1].map(|axis| {
            let rows = (map[axis] - phase[axis].min(map[axis])).div_ceil(stride);
            (before.saturating_sub(corner[axis]), side.min((rows + before).saturating_sub(corner[axis])))
        });
        let [y, x] = [0, 1].map(|axis| (corner[axis] * stride + phase[axis]).wrapping_sub(before * stride));
        Square {
            corner: y.wrapping_mul(map[1]).wrapping_add(x),
            steps: [map[1] * stride, stride],
            inside,
            whole: inside == [(0, side); 2],
        }
    }
}

/// A [`Grid`] and what its tiles read and write.
#[derive(Clone, Debug)]
pub struct Tiles {
    grid: Grid,
    /// `[tile, phase]`
    patches: Vec<Square>,
    /// `[tile]`
    outputs: Vec<Square>,
}

impl Tiles {
    /// Those of one sample.
    pub fn of(grid: Grid) -> Self {
        let tiles = 0..grid.in_sample();
        let phases = |tile| (0..grid.phases()).map(move |phase| grid.patch(tile, phase));
        Self {
            grid,
            patches: tiles.clone().flat_map(phases).collect(),
            outputs: tiles.map(|tile| grid.outputs(tile)).collect(),
        }
    }

    pub const fn grid(&self) -> &Grid {
        &self.grid
    }

    /// What tile `number`, counted through all samples, reads of a phase.
    #[inline(always)]
    fn patch(&self, number: usize, phase: usize) -> Square {
        let (sample, tile) = (number / self.outputs.len(), number % self.outputs.len());
        self.patches[tile * self.grid.phases() + phase].of_sample(sample, self.grid.input)
    }

    /// What tile `number`, counted through all samples, writes.
    #[inline(always)]
    fn outputs(&self, number: usize) -> Square {
        let (sample, tile) = (number / self.outputs.len(), number % self.outputs.len());
        self.outputs[tile].of_sample(sample, self.grid.output)
    }
}

/// A part of a map, that may reach beyond it.
#[derive(Clone, Copy, Debug)]
struct Square {
    /// The position of its upper left corner, wrapping around below 0.
    corner: usize,
    /// Positions from one row to the next, and from one column to the next.
    steps: [usize; 2],
    /// Its first row inside the map and the one after the last, and the same of its columns.
    inside: [(usize, usize); 2],
    /// Whether all of it is inside. Most tiles are, and spare the question for each position.
    whole: bool,
}

impl Square {
    /// The same in `sample` of maps with so many rows and columns.
    #[inline(always)]
    fn of_sample(self, sample: usize, map: [usize; 2]) -> Self {
        Self { corner: self.corner.wrapping_add(sample * map[0] * map[1]), ..self }
    }

    /// Where its values of the channels from `channel` on lie in a map of so many `channels`.
    #[inline(always)]
    fn places(&self, channels: usize, channel: usize) -> Places {
        let first = self.corner.wrapping_mul(channels).wrapping_add(channel);
        Places { first, steps: self.steps.map(|step| step * channels) }
    }

    /// Whether row `y` and column `x` of it are inside the map; `whole` as a constant.
    #[inline(always)]
    fn holds(&self, y: usize, x: usize, whole: bool) -> bool {
        let [rows, columns] = self.inside;
        whole || (rows.0 <= y && y < rows.1 && columns.0 <= x && x < columns.1)
    }
}

/// Where the values of a square of rows and columns lie in memory.
#[derive(Clone, Copy)]
struct Places {
    first: usize,
    /// Values from one row to the next, and from one column to the next.
    steps: [usize; 2],
}

impl Places {
    #[inline(always)]
    fn at(self, y: usize, x: usize) -> usize {
        self.first.wrapping_add(y * self.steps[0] + x * self.steps[1])
    }

    /// The same in a way that the compiler can't see through. It would otherwise keep a pointer to each of the places, more
    /// than there are registers, and advance them all in memory from tile to tile.
    #[inline(always)]
    fn hidden(self) -> Self {
        black_box(self)
    }
}

/// What lies between the output of a convolution and the gradient that its backward pass is given.
#[derive(Clone, Copy)]
pub enum After<'a> {
    Nothing,
    /// The rectifier, which made it this `output`.
    Rectifier {
        output: &'a [f32],
    },
    /// A batch norm that read this `output`.
    Norm {
        output: &'a [f32],
        slopes: &'a Slopes,
    },
}

impl After<'_> {
    /// That the slices are as long as `gradient`, and there are slopes for its `width` channels.
    fn assert_fits(&self, gradient: &[f32], width: usize) {
        match self {
            Self::Nothing => {}
            Self::Rectifier { output } => assert!(output.len() >= gradient.len()),
            Self::Norm { output, slopes } => {
                assert!(output.len() >= gradient.len());
                slopes.assert_width(width);
            }
        }
    }
}

/// The maps on both sides of a convolution.
#[derive(Clone, Copy)]
pub struct Shape<'a> {
    pub tiles: &'a Tiles,
    pub samples: usize,
    /// Channels of input and output, padded to whole lanes.
    pub channels: usize,
    pub width: usize,
}

impl<'a> Shape<'a> {
    /// Rows of the weights' matrices: the channels of all phases.
    const fn depth(&self) -> usize {
        self.tiles.grid.phases() * self.channels
    }

    /// For `samples` samples that `affine` reads and writes.
    pub const fn of(affine: &Affine, tiles: &'a Tiles, samples: usize) -> Self {
        Self { tiles, samples, channels: affine.stride, width: affine.outputs_padded }
    }

    /// That the slices are as long as the maps of all samples: what makes the unchecked loads and stores sound.
    fn assert_fits<S: Simd>(&self, input: usize, output: usize) {
        let Self { tiles: Tiles { grid, .. }, samples, channels, width } = *self;
        assert!(channels.is_multiple_of(S::LANES) && width.is_multiple_of(S::LANES));
        assert!(input >= samples * grid.input[0] * grid.input[1] * channels);
        assert!(output >= samples * grid.output[0] * grid.output[1] * width);
    }

    /// All tiles, as many at a time as fit in the scratch memory.
    fn pieces(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        pieces(self.samples * self.tiles.grid.in_sample(), TILES)
    }

    /// Where the inputs of those samples are whose first tile is among `tiles`.
    fn starting(&self, tiles: &Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
        let Self { tiles: Tiles { grid, .. }, channels, .. } = *self;
        let len = grid.input[0] * grid.input[1] * channels;
        let [start, end] = [tiles.start, tiles.end].map(|tile| tile.div_ceil(grid.in_sample()));
        (start..end).map(move |sample| sample * len..(sample + 1) * len)
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
        let Self { channels, .. } = *self;
        let (depth, apart) = (self.depth(), tiles.len() * self.depth());
        assert!(patches.len() >= N * N * apart);
        for (tile, number) in tiles.enumerate() {
            for phase in 0..self.tiles.grid.phases() {
                let square = self.tiles.patch(number, phase);
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

    /// `out[place][tile] = (A g Aᵀ)[place]` for the gradients g of the outputs of `tiles`, `[place, tile, width]`, before what
    /// comes `after` them; adds these up in `bias`.
    #[inline(always)]
    fn transform_gradient<S: Simd, const M: usize, const N: usize>(
        &self,
        simd: S,
        tiles: Range<usize>,
        gradient: &[f32],
        after: After,
        bias: &mut [f32],
        out: &mut [f32],
    ) {
        let Self { width, .. } = *self;
        let count = tiles.len();
        assert!(out.len() >= N * N * count * width && bias.len() >= width);
        for (tile, number) in tiles.enumerate() {
            let square = self.tiles.outputs(number);
            for channel in (0..width).step_by(S::LANES) {
                let out = &mut out[tile * width + channel..];
                // SAFETY: `assert_fits` was called for gradient and output, `After::assert_fits` too; the rest is asserted above.
                unsafe {
                    let sum = if square.whole {
                        square.slopes::<S, M, N>(simd, true, gradient, after, width, channel, out, count)
                    } else {
                        square.slopes::<S, M, N>(simd, false, gradient, after, width, channel, out, count)
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
        let places = self.places(channels, channel).hidden();
        let to = Places { first: 0, steps: [N * apart, apart] }.hidden();
        let mut rows = [[simd.zero(); N]; N];
        for y in 0..N {
            let mut d = [simd.zero(); N];
            for x in 0..N {
                if self.holds(y, x, whole) {
                    // SAFETY: the caller's promise.
                    d[x] = unsafe { simd.load(input, places.at(y, x)) };
                }
            }
            rows[y] = Transform::<M, N>::input(simd, &d);
        }
        for x in 0..N {
            let values = Transform::<M, N>::input(simd, &column(&rows, x));
            for y in 0..N {
                // SAFETY: the caller's promise.
                unsafe { simd.store(out, to.at(y, x), values[y]) };
            }
        }
    }

    /// The same with a tile's gradients before what comes `after` it; returns their sum.
    ///
    /// # Safety
    /// `gradient` and `after` must hold what of the square is inside, `whole` be as it says, and `out` have room.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "three maps and where to look in them")]
    unsafe fn slopes<S: Simd, const M: usize, const N: usize>(
        &self,
        simd: S,
        whole: bool,
        gradient: &[f32],
        after: After,
        width: usize,
        channel: usize,
        out: &mut [f32],
        count: usize,
    ) -> S::V {
        let places = self.places(width, channel).hidden();
        let to = Places { first: 0, steps: [N * count * width, count * width] }.hidden();
        let norm = match after {
            // SAFETY: the caller's promise.
            After::Norm { slopes, .. } => unsafe { slopes.load::<S, 1>(simd, channel) },
            _ => SlopeVectors::zero(simd),
        };
        let mut sum = simd.zero();
        let mut rows = [[simd.zero(); N]; M];
        for y in 0..M {
            let mut g = [simd.zero(); M];
            for x in 0..M {
                if self.holds(y, x, whole) {
                    let at = places.at(y, x);
                    // SAFETY: the caller's promise.
                    unsafe {
                        g[x] = simd.load(gradient, at);
                        match after {
                            After::Nothing => {}
                            After::Rectifier { output } => {
                                g[x] = simd.select_gt(simd.load(output, at), simd.zero(), g[x], simd.zero());
                            }
                            After::Norm { output, .. } => {
                                g[x] = norm.input_gradient(simd, 0, simd.load(output, at), g[x]);
                            }
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
                unsafe { simd.store(out, to.at(y, x), values[y]) };
            }
        }
        sum
    }
}
