//! 3×3 convolution by Winograd's F(2×2, 3×3) (Lavin and Gray 2016), fused with bias, rectifier and 2×2 max pooling.
//!
//! The transform gives 2×2 outputs from a 4×4 patch of the input with 16 multiplications instead of 36, and those 2×2
//! outputs are just one window of the pool.

use super::affine::{pieces, tile, with_rows};
use super::conv_pool::store_pooled;
use super::simd::{Kernel, Simd};

/// Cells that are transformed together, so that their patches stay in the cache.
const CELLS: usize = 24;

/// Vectors of outputs that a tile computes at a time.
const VECTORS: usize = 2;

/// Scratch memory for `channels` of input and any number of cells and outputs.
pub const fn scratch_len(channels: usize) -> usize {
    16 * CELLS * (channels + VECTORS * super::simd::LANES)
}

/// The forward pass.
pub struct Winograd<'a> {
    /// Where each row of the convolution's windows starts; every fourth is the corner of a cell's 4×4 patch.
    pub starts: &'a [u32],
    /// Values from one row of the map to the next, and from one position to the next.
    pub row: usize,
    pub channels: usize,
    pub input: &'a [f32],
    /// `[16, channel, width]`, from [`Weights`].
    pub weights: &'a [f32],
    pub bias: &'a [f32],
    /// Outputs, padded to whole lanes.
    pub width: usize,
    /// `[cell, width]`
    pub out: &'a mut [f32],
    /// `[cell, width]`
    pub codes: &'a mut [u8],
    /// As long as [`scratch_len`] says.
    pub scratch: &'a mut [f32],
}

impl Kernel for Winograd<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { starts, row, channels, input, weights, bias, width, out, codes, scratch } = self;
        let cells = starts.len() / 4;
        let last = starts.iter().max().map_or(0, |&start| start as usize);
        // The largest start is that of a cell's lower right window, one row and position after its patch's corner.
        assert!(last + 2 * row + 3 * channels <= input.len() && channels.is_multiple_of(S::LANES));
        assert!(weights.len() >= 16 * channels * width && bias.len() >= width);
        assert!(out.len() >= cells * width && codes.len() >= cells * width);
        assert!(scratch.len() >= scratch_len(channels));
        let (patches, products) = scratch.split_at_mut(16 * CELLS * channels);
        for cells in pieces(cells, CELLS) {
            let count = cells.len();
            // SAFETY: asserted above: patches lie inside the input, and the scratch memory holds CELLS of them.
            unsafe { transform_input(simd, &starts[4 * cells.start..4 * cells.end], row, channels, input, patches) };
            let mut column = 0;
            while column < width {
                let vectors = if width - column >= VECTORS * S::LANES { VECTORS } else { 1 };
                for i in 0..16 {
                    let patches = &patches[i * count * channels..];
                    let weights = &weights[i * channels * width..];
                    let products = &mut products[i * count * VECTORS * S::LANES..];
                    for piece in pieces(count, S::ROWS) {
                        // SAFETY: asserted above: `channels` rows of `width` weights, `count` rows of patches and products.
                        unsafe {
                            with_rows!(piece.len(), P => match vectors {
                                VECTORS => multiply::<S, P, VECTORS>(
                                    simd, patches, channels, weights, width, column, products, piece.start),
                                _ => multiply::<S, P, 1>(
                                    simd, patches, channels, weights, width, column, products, piece.start),
                            });
                        }
                    }
                }
                for cell in 0..count {
                    for vector in 0..vectors {
                        let at = column + vector * S::LANES;
                        // SAFETY: asserted above.
                        unsafe {
                            let four = transform_output(simd, products, count, cell, vector);
                            let bias = simd.load(bias, at);
                            store_pooled(simd, four, bias, out, codes, (cells.start + cell) * width + at);
                        }
                    }
                }
                column += vectors * S::LANES;
            }
        }
    }
}

/// Bᵀ over four values.
#[inline(always)]
fn input_along<S: Simd>(simd: S, d: [S::V; 4]) -> [S::V; 4] {
    [simd.sub(d[0], d[2]), simd.add(d[1], d[2]), simd.sub(d[2], d[1]), simd.sub(d[1], d[3])]
}

/// Aᵀ over four values.
#[inline(always)]
fn output_along<S: Simd>(simd: S, m: [S::V; 4]) -> [S::V; 2] {
    let (sum, difference) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
    [simd.add(m[0], sum), simd.sub(difference, m[3])]
}

/// G over three values.
#[inline(always)]
fn weights_along<S: Simd>(simd: S, g: [S::V; 3]) -> [S::V; 4] {
    let (half, ends) = (simd.splat(0.5), simd.add(g[0], g[2]));
    [g[0], simd.mul(half, simd.add(ends, g[1])), simd.mul(half, simd.sub(ends, g[1])), g[2]]
}

/// `patches[i][cell] = (Bᵀ d B)[i]` for the 4×4 patch d of each cell, `[16, cell, channel]`.
///
/// # Safety
/// Each patch must lie inside `input`, and `patches` must hold all of them.
#[inline(always)]
unsafe fn transform_input<S: Simd>(
    simd: S,
    starts: &[u32],
    row: usize,
    channels: usize,
    input: &[f32],
    patches: &mut [f32],
) {
    let count = starts.len() / 4;
    for cell in 0..count {
        let start = starts[4 * cell] as usize;
        for channel in (0..channels).step_by(S::LANES) {
            let mut rows = [[simd.zero(); 4]; 4];
            for y in 0..4 {
                let mut d = [simd.zero(); 4];
                for x in 0..4 {
                    // SAFETY: the caller's promise.
                    d[x] = unsafe { simd.load(input, start + y * row + x * channels + channel) };
                }
                rows[y] = input_along(simd, d);
            }
            for x in 0..4 {
                let column = input_along(simd, [rows[0][x], rows[1][x], rows[2][x], rows[3][x]]);
                for y in 0..4 {
                    // SAFETY: the caller's promise.
                    unsafe { simd.store(patches, ((4 * y + x) * count + cell) * channels + channel, column[y]) };
                }
            }
        }
    }
}

/// `products[cell][q] = Σ_channel patches[cell][channel] · weights[channel][column + q]` for P cells from `cell` on.
///
/// # Safety
/// The slices must hold these rows.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "two matrices and where to look in them")]
unsafe fn multiply<S: Simd, const P: usize, const Q: usize>(
    simd: S,
    patches: &[f32],
    channels: usize,
    weights: &[f32],
    width: usize,
    column: usize,
    products: &mut [f32],
    cell: usize,
) {
    let rows = std::array::from_fn::<_, P, _>(|p| &patches[(cell + p) * channels..]);
    // SAFETY: the caller's promise.
    unsafe {
        let sums = tile::<S, P, Q>(simd, rows, [1, channels, 0], weights, width, column);
        for p in 0..P {
            for q in 0..Q {
                simd.store(products, ((cell + p) * VECTORS + q) * S::LANES, sums[p][q]);
            }
        }
    }
}

/// `Aᵀ m A`: the 2×2 outputs of a cell from its 16 products.
///
/// # Safety
/// `products` must hold `[16, count, VECTORS]` vectors.
#[inline(always)]
unsafe fn transform_output<S: Simd>(simd: S, products: &[f32], count: usize, cell: usize, vector: usize) -> [S::V; 4] {
    let mut rows = [[simd.zero(); 2]; 4];
    for y in 0..4 {
        let mut m = [simd.zero(); 4];
        for x in 0..4 {
            let at = (((4 * y + x) * count + cell) * VECTORS + vector) * S::LANES;
            // SAFETY: the caller's promise.
            m[x] = unsafe { simd.load(products, at) };
        }
        rows[y] = output_along(simd, m);
    }
    let left = output_along(simd, [rows[0][0], rows[1][0], rows[2][0], rows[3][0]]);
    let right = output_along(simd, [rows[0][1], rows[1][1], rows[2][1], rows[3][1]]);
    [left[0], right[0], left[1], right[1]]
}

/// `G g Gᵀ` for the 3×3 weights of every channel and output.
pub struct Weights<'a> {
    /// `[9, channel, width]`
    pub weights: &'a [f32],
    /// `[16, channel, width]`
    pub transformed: &'a mut [f32],
}

impl Kernel for Weights<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let len = self.weights.len() / 9;
        assert!(self.transformed.len() >= 16 * len && len.is_multiple_of(S::LANES));
        for at in (0..len).step_by(S::LANES) {
            let mut rows = [[simd.zero(); 4]; 3];
            for y in 0..3 {
                let mut g = [simd.zero(); 3];
                for x in 0..3 {
                    // SAFETY: asserted above.
                    g[x] = unsafe { simd.load(self.weights, (3 * y + x) * len + at) };
                }
                rows[y] = weights_along(simd, g);
            }
            for x in 0..4 {
                let column = weights_along(simd, [rows[0][x], rows[1][x], rows[2][x]]);
                for y in 0..4 {
                    // SAFETY: asserted above.
                    unsafe { simd.store(self.transformed, (4 * y + x) * len + at, column[y]) };
                }
            }
        }
    }
}
