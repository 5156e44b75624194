//! 3×3 convolution by Winograd's minimal filtering F(M×M, 3×3) (Lavin and Gray 2016): M×M outputs from a patch of N×N inputs,
//! N = M + 2, with N² multiplications instead of 9·M².
//!
//! Patch and weights are transformed by small matrices, multiplied place by place (for each place a matrix product over
//! channels and outputs), and the products transformed into outputs. [`pooled`] has M = 2, whose outputs are just one window
//! of a 2×2 pool; [`conv`] has M = 3 or 4 for convolutions without a pool, also in steps of 2, and their backward pass.
//!
//! Where a map ends with one or two rows or columns that fill no tile of 4, the last tiles are *cut* to 2. Of F(2×2) every
//! point is one of F(4×4), so that the weights transformed for whole tiles serve cut ones too, which leave out some places.

pub mod conv;
mod piece;
pub mod pooled;
mod transform;

use std::hint::black_box;

use super::affine::tile;
use super::pieces::{pieces, with_count};
use super::simd::Simd;
use piece::Piece;
pub use transform::Weights;
use transform::{Transform, along, column, weights};

/// Tiles that are transformed together, so that their patches stay in the cache.
const TILES: usize = 24;

/// Vectors of a matrix product that are computed at a time.
const VECTORS: usize = 2;

/// Fetches a map into the cache a piece ahead of the tiles that are worked on: they go through it row by row of tiles, which
/// the processor does not foresee.
#[derive(Clone, Copy)]
struct Ahead {
    next: *const f32,
    lines: usize,
}

impl Ahead {
    const LINE: usize = 16;

    /// Through `map` in `pieces` pieces of `steps` calls of [`Ahead::go_on`].
    fn new(map: &[f32], pieces: usize, steps: usize) -> Self {
        let lines = map.len().div_ceil(Self::LINE).div_ceil(pieces * steps);
        Self { next: map.as_ptr().wrapping_add(lines * steps * Self::LINE), lines }
    }

    #[inline(always)]
    fn go_on<S: Simd>(&mut self, simd: S) {
        for _ in 0..self.lines {
            simd.prefetch(self.next);
            self.next = self.next.wrapping_add(Self::LINE);
        }
    }
}

/// At each place a product of two matrices.
#[derive(Clone, Copy)]
struct Products<'a> {
    /// Rows and columns of places.
    side: usize,
    /// The rows of `a`.
    piece: &'a Piece,
    /// `[place, tile, depth]`
    a: &'a [f32],
    depth: usize,
    /// `[place, depth, width]`
    b: &'a [f32],
    width: usize,
}

impl Products<'_> {
    /// How many vectors of `b` are multiplied at a time from `column` on.
    #[inline(always)]
    const fn vectors<S: Simd>(&self, column: usize) -> usize {
        if self.width - column >= VECTORS * S::LANES { VECTORS } else { 1 }
    }

    /// Columns of the products from `column` on, as `[place, tile, VECTORS]` vectors.
    #[inline(always)]
    fn multiply<S: Simd>(self, simd: S, column: usize, out: &mut [f32], ahead: Option<&mut Ahead>) {
        let Self { side, piece, a, depth, b, width } = self;
        let (places, count) = (side * side, piece.len());
        assert!(a.len() >= places * count * depth && b.len() >= places * depth * width);
        assert!(out.len() >= places * count * VECTORS * S::LANES);
        let vectors = self.vectors::<S>(column);
        let mut ahead = ahead;
        for place in 0..places {
            if let Some(ahead) = &mut ahead {
                ahead.go_on(simd);
            }
            let tiles = piece.with(place / side, place % side);
            let a = &a[place * count * depth..];
            let b = &b[place * depth * width..];
            let out = &mut out[place * count * VECTORS * S::LANES..];
            for rows in pieces(tiles.len(), S::ROWS) {
                let first = tiles.start + rows.start;
                // SAFETY: asserted above.
                unsafe {
                    with_count!(rows.len(), P of 0 1 2 3 4 5 6 7 8 9 10 11 12 => match vectors {
                        VECTORS => multiply::<S, P, VECTORS>(simd, a, depth, b, width, column, out, first),
                        _ => multiply::<S, P, 1>(simd, a, depth, b, width, column, out, first),
                    });
                }
            }
        }
    }
}

/// `out[tile][q] = Σ_k a[tile][k] · b[k][column + q]` for P tiles from `first` on and Q vectors; rows of `a` are `depth` long,
/// those of `b` `width`.
///
/// # Safety
/// The slices must hold these rows.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "two matrices and where to look in them")]
unsafe fn multiply<S: Simd, const P: usize, const Q: usize>(
    simd: S,
    a: &[f32],
    depth: usize,
    b: &[f32],
    width: usize,
    column: usize,
    out: &mut [f32],
    first: usize,
) {
    let mut rows = [a; P];
    for p in 0..P {
        rows[p] = &a[(first + p) * depth..];
    }
    // SAFETY: the caller's promise.
    unsafe {
        let sums = tile::<S, P, Q>(simd, rows, [1, depth, 0], b, width, column);
        for p in 0..P {
            for q in 0..Q {
                simd.store(out, ((first + p) * VECTORS + q) * S::LANES, sums[p][q]);
            }
        }
    }
}

/// The products from those of one vector of `tile` at the first place on.
#[inline(always)]
fn of_tile<S: Simd>(products: &[f32], tile: usize, vector: usize) -> &[f32] {
    &products[(tile * VECTORS + vector) * S::LANES..]
}

/// The products of a tile at N places, one vector, of the products of `count` tiles; they begin at [`of_tile`].
///
/// # Safety
/// `products` must hold `[place, count, VECTORS]` vectors, counted from the first tile's.
#[inline(always)]
unsafe fn load_products<S: Simd, const N: usize>(
    simd: S,
    products: &[f32],
    count: usize,
    places: [usize; N],
) -> [S::V; N] {
    let mut row = [simd.zero(); N];
    // Hidden for the reason that `Places::hidden` in `conv` gives.
    let apart = black_box(count * VECTORS * S::LANES);
    for x in 0..N {
        // SAFETY: the caller's promise.
        row[x] = unsafe { simd.load(products, places[x] * apart) };
    }
    row
}
