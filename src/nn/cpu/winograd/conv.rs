//! Convolution without a pool: forward, and the gradients of weights and input.
//!
//! All three go over the same tiles. The backward pass is that of each of the three parts: the outputs' gradients are
//! transformed into those of the products, whose factors are the transformed patches and weights.
//!
//! A convolution in steps of 2 is the sum of four in steps of 1, over every other row and column of the map with every other
//! row and column of the weights: the four *phases* are to the matrix products as so many more channels.

/// Calls a method of a tile's square with M and N of its rows and of its columns as constants (there HM, H, WM and W), and with
/// whether all of it is inside the map.
macro_rules! with_sides {
    ($square:ident.$method:ident::<$S:ident, $M:ident, $N:ident>($simd:expr, $($argument:expr),*)) => {
        match $square.cut {
            _ if $square.whole => $square.$method::<$S, $M, $N, $M, $N>($simd, true, $($argument),*),
            [true, false] if $M == 4 => $square.$method::<$S, 2, 4, $M, $N>($simd, false, $($argument),*),
            [false, true] if $M == 4 => $square.$method::<$S, $M, $N, 2, 4>($simd, false, $($argument),*),
            [true, true] if $M == 4 => $square.$method::<$S, 2, 4, 2, 4>($simd, false, $($argument),*),
            _ => $square.$method::<$S, $M, $N, $M, $N>($simd, false, $($argument),*),
        }
    };
}

mod backward;
mod forward;
mod grid;

use std::ops::Range;

use super::super::batch_norm::{SlopeVectors, Slopes};
use super::super::pieces::pieces;
use super::super::program::Affine;
use super::super::simd::Simd;
use super::piece::Piece;
use super::{TILES, Transform, column};
pub use backward::Backward;
pub use forward::Forward;
pub use grid::{Grid, Tiles};
use grid::{Places, Square};

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
        self.tiles.grid().phases() * self.channels
    }

    /// For `samples` samples that `affine` reads and writes.
    pub const fn of(affine: &Affine, tiles: &'a Tiles, samples: usize) -> Self {
        Self { tiles, samples, channels: affine.stride, width: affine.outputs_padded }
    }

    /// That the slices are as long as the maps of all samples: what makes the unchecked loads and stores sound.
    fn assert_fits<S: Simd>(&self, input: usize, output: usize) {
        let Self { tiles, samples, channels, width } = *self;
        let grid = tiles.grid();
        assert!(channels.is_multiple_of(S::LANES) && width.is_multiple_of(S::LANES));
        assert!(input >= samples * grid.input[0] * grid.input[1] * channels);
        assert!(output >= samples * grid.output[0] * grid.output[1] * width);
    }

    /// All tiles, as many at a time as fit in the scratch memory.
    fn pieces(&self) -> impl ExactSizeIterator<Item = Piece> + use<'a> {
        let tiles = self.tiles;
        pieces(self.samples * tiles.grid().in_sample(), TILES).map(|numbers| tiles.piece(numbers))
    }

    /// Where the inputs of those samples are whose first tile is in `piece`.
    fn starting(&self, piece: &Piece) -> impl Iterator<Item = Range<usize>> + use<> {
        let Self { tiles, channels, .. } = *self;
        let grid = tiles.grid();
        let len = grid.input[0] * grid.input[1] * channels;
        let [start, end] = [piece.numbers.start, piece.numbers.end].map(|tile| tile.div_ceil(grid.in_sample()));
        (start..end).map(move |sample| sample * len..(sample + 1) * len)
    }

    /// `patches[place][tile] = (Bᵀ d B)[place]` for the patches d of `piece`, `[place, tile, phase, channel]`.
    #[inline(always)]
    fn transform_input<S: Simd, const M: usize, const N: usize>(
        &self,
        simd: S,
        piece: &Piece,
        input: &[f32],
        patches: &mut [f32],
    ) {
        let Self { channels, .. } = *self;
        let (depth, apart) = (self.depth(), piece.len() * self.depth());
        assert!(patches.len() >= N * N * apart);
        for (number, slot) in piece.tiles() {
            for phase in 0..self.tiles.grid().phases() {
                let square = self.tiles.patch(number, phase);
                for channel in (0..channels).step_by(S::LANES) {
                    let out = &mut patches[slot * depth + phase * channels + channel..];
                    // SAFETY: `assert_fits` was called for this input; the rest is asserted above.
                    unsafe {
                        with_sides!(square.patch::<S, M, N>(simd, input, channels, channel, out, apart));
                    }
                }
            }
        }
    }

    /// `out[place][tile] = (A g Aᵀ)[place]` for the gradients g of the outputs of `piece`, `[place, tile, width]`, before what
    /// comes `after` them; adds these up in `bias`.
    #[inline(always)]
    fn transform_gradient<S: Simd, const M: usize, const N: usize>(
        &self,
        simd: S,
        piece: &Piece,
        gradient: &[f32],
        after: After,
        bias: &mut [f32],
        out: &mut [f32],
    ) {
        let Self { width, .. } = *self;
        let count = piece.len();
        assert!(out.len() >= N * N * count * width && bias.len() >= width);
        for (number, slot) in piece.tiles() {
            let square = self.tiles.outputs(number);
            for channel in (0..width).step_by(S::LANES) {
                let out = &mut out[slot * width + channel..];
                // SAFETY: `assert_fits` was called for gradient and output, `After::assert_fits` too; the rest is asserted above.
                unsafe {
                    let sum = with_sides!(square.slopes::<S, M, N>(simd, gradient, after, width, channel, out, count));
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
    unsafe fn patch<S: Simd, const HM: usize, const H: usize, const WM: usize, const W: usize>(
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
        let to = Places { first: 0, steps: [Transform::<WM, W>::WHOLE * apart, apart] }.hidden();
        let mut rows = [[simd.zero(); W]; H];
        for y in 0..H {
            let mut d = [simd.zero(); W];
            for x in 0..W {
                if self.holds(y, x, whole) {
                    // SAFETY: the caller's promise.
                    d[x] = unsafe { simd.load(input, places.at(y, x)) };
                }
            }
            rows[y] = Transform::<WM, W>::input(simd, &d);
        }
        for x in 0..W {
            let values = Transform::<HM, H>::input(simd, &column(&rows, x));
            // SAFETY: the caller's promise.
            unsafe { store_places::<S, HM, H, WM, W>(simd, &values, x, out, to) };
        }
    }

    /// The same with a tile's gradients before what comes `after` it; returns their sum.
    ///
    /// # Safety
    /// `gradient` and `after` must hold what of the square is inside, `whole` be as it says, and `out` have room.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "three maps and where to look in them")]
    unsafe fn slopes<S: Simd, const HM: usize, const H: usize, const WM: usize, const W: usize>(
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
        let to = Places { first: 0, steps: [Transform::<WM, W>::WHOLE * count * width, count * width] }.hidden();
        let norm = match after {
            // SAFETY: the caller's promise.
            After::Norm { slopes, .. } => unsafe { slopes.load::<S, 1>(simd, channel) },
            _ => SlopeVectors::zero(simd),
        };
        let mut sum = simd.zero();
        let mut rows = [[simd.zero(); W]; HM];
        for y in 0..HM {
            let mut g = [simd.zero(); WM];
            for x in 0..WM {
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
            rows[y] = Transform::<WM, W>::output_gradient(simd, &g);
        }
        for x in 0..W {
            let values = Transform::<HM, H>::output_gradient(simd, &column(&rows, x));
            // SAFETY: the caller's promise.
            unsafe { store_places::<S, HM, H, WM, W>(simd, &values, x, out, to) };
        }
        sum
    }
}

/// Stores column `x` of a tile's places where they are among those of whole tiles, which lie as `to` says.
///
/// # Safety
/// `out` must have room for the places of whole tiles.
#[inline(always)]
unsafe fn store_places<S: Simd, const HM: usize, const H: usize, const WM: usize, const W: usize>(
    simd: S,
    values: &[S::V; H],
    x: usize,
    out: &mut [f32],
    to: Places,
) {
    for y in 0..H {
        let place = to.at(Transform::<HM, H>::place(y), Transform::<WM, W>::place(x));
        // SAFETY: the caller's promise.
        unsafe { simd.store(out, place, values[y]) };
    }
}
