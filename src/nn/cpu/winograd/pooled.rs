//! Convolution, bias, rectifier and 2×2 max pooling in one go.

use super::super::conv_pool::store_pooled;
use super::super::pieces::pieces;
use super::super::simd::{Kernel, LANES, Simd};
use super::piece::Piece;
use super::{Products, TILES, VECTORS, column, load_products, of_tile, weights};

/// Of the weights, G for the points 0, 1 and −1.
pub const WEIGHTS: [[f32; 3]; 4] = weights(&[0.0, 1.0, -1.0]);

/// Scratch memory for `channels` of input and any number of cells and outputs.
pub const fn scratch_len(channels: usize) -> usize {
    16 * TILES * (channels + VECTORS * LANES)
}

/// The forward pass.
pub struct Forward<'a> {
    /// Where each row of the convolution's windows starts; every fourth is the corner of a cell's 4×4 patch.
    pub starts: &'a [u32],
    /// Values from one row of the map to the next, and from one position to the next.
    pub row: usize,
    pub channels: usize,
    pub input: &'a [f32],
    /// `[16, channel, width]`, from [`Weights`](super::Weights).
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

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { starts, row, channels, input, weights, bias, width, out, codes, scratch } = self;
        let cells = starts.len() / 4;
        let last = starts.iter().max().map_or(0, |&start| start as usize);
        // The largest start is that of a cell's lower right window, one row and position after its patch's corner.
        assert!(last + 2 * row + 3 * channels <= input.len() && channels.is_multiple_of(S::LANES));
        assert!(width.is_multiple_of(LANES) && bias.len() >= width);
        assert!(out.len() >= cells * width && codes.len() >= cells * width);
        assert!(scratch.len() >= scratch_len(channels));
        let (patches, products) = scratch.split_at_mut(16 * TILES * channels);
        for cells in pieces(cells, TILES) {
            let count = cells.len();
            // SAFETY: asserted above: patches lie inside the input, and the scratch memory holds TILES of them.
            unsafe { transform_input(simd, &starts[4 * cells.start..4 * cells.end], row, channels, input, patches) };
            let piece = &Piece::new(0..count, |_| [false; 2]);
            let matrices = Products { side: 4, piece, a: patches, depth: channels, b: weights, width };
            let mut column = 0;
            while column < width {
                matrices.multiply(simd, column, products, None);
                let vectors = matrices.vectors::<S>(column);
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

/// Bᵀ over four values, with the points 0, 1 and −1 one operation each.
#[inline(always)]
fn input_along<S: Simd>(simd: S, d: [S::V; 4]) -> [S::V; 4] {
    [simd.sub(d[2], d[0]), simd.add(d[1], d[2]), simd.sub(d[2], d[1]), simd.sub(d[3], d[1])]
}

/// Aᵀ over four values.
#[inline(always)]
fn output_along<S: Simd>(simd: S, m: [S::V; 4]) -> [S::V; 2] {
    let (sum, difference) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
    [simd.add(m[0], sum), simd.add(difference, m[3])]
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
                let values = input_along(simd, column(&rows, x));
                for y in 0..4 {
                    // SAFETY: the caller's promise.
                    unsafe { simd.store(patches, ((4 * y + x) * count + cell) * channels + channel, values[y]) };
                }
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
    let products = of_tile::<S>(products, cell, vector);
    let mut rows = [[simd.zero(); 2]; 4];
    for y in 0..4 {
        // SAFETY: the caller's promise.
        rows[y] = output_along(simd, unsafe { load_products(simd, products, count, [0, 1, 2, 3].map(|x| 4 * y + x)) });
    }
    let left = output_along(simd, column(&rows, 0));
    let right = output_along(simd, column(&rows, 1));
    [left[0], right[0], left[1], right[1]]
}
