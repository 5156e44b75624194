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

use std::hint::black_box;

use super::affine::tile;
use super::pieces::{pieces, with_count};
use super::simd::{Kernel, Simd};
use piece::Piece;

/// Tiles that are transformed together, so that their patches stay in the cache.
const TILES: usize = 24;

/// Vectors of a matrix product that are computed at a time.
const VECTORS: usize = 2;

/// The transforms of F(M×M, 3×3), by Cook and Toom's interpolation through N − 1 points and infinity, in one dimension: two
/// dimensions are transformed row by row and then column by column.
///
/// The points are ±a and ±b, and 0 if N is even. What belongs to a point and to its opposite has even and odd parts in common,
/// which halves the work. M of 2 is for the sides of cut tiles: it has the points of M = 4 but ±b, and the weights of M = 4.
pub struct Transform<const M: usize, const N: usize>;

impl<const M: usize, const N: usize> Transform<M, N> {
    /// Pairs of opposite points of moderate size and distance round the least: of some fifty choices, these were the best.
    const POINTS: &[f64] = match M {
        3 => &[0.375, -0.375, 1.5, -1.5],
        2 | 4 => &[0.0, 0.625, -0.625, 1.5, -1.5],
        _ => panic!("tiles have 2 to 4 rows and columns"),
    };

    /// Where the points ±a are; before them there may be 0.
    const PAIRS: usize = 1 - N % 2;
    /// Places in a row of the products of whole tiles.
    const WHOLE: usize = if M == 2 { N + 2 } else { N };
    /// `[a, b]`, and to the powers of 2 and 3.
    const POWERS: [[f32; 2]; 4] = {
        let mut powers = [[0.0; 2]; 4];
        let mut power = 0;
        while power < 4 {
            powers[power][0] = raised(Self::POINTS[Self::PAIRS], power) as f32;
            powers[power][1] = raised(Self::POINTS[Self::PAIRS + 2], power) as f32;
            power += 1;
        }
        powers
    };
    /// `(x² − a²)(x² − b²)` without its 1·x⁴: the factors of 1 and of x².
    const FOURTH: [f32; 2] = {
        let (a, b) = (raised(Self::POINTS[Self::PAIRS], 2), raised(Self::POINTS[Self::PAIRS + 2], 2));
        [(a * b) as f32, -(a + b) as f32]
    };
    /// Of the polynomials of ±a and ±b, `(x ± a)(x² − b²)` and `(x ± b)(x² − a²)`: −b² and −a², a and b, −a·b² and −b·a².
    const CUBIC: [[f32; 2]; 3] = {
        let (a, b) = (Self::POINTS[Self::PAIRS], Self::POINTS[Self::PAIRS + 2]);
        [[-(b * b) as f32, -(a * a) as f32], [a as f32, b as f32], [-(a * b * b) as f32, -(b * a * a) as f32]]
    };

    /// Of the input in one dimension of a cut tile, whose polynomials have the factors of what is left out, ±b: of the point 0,
    /// `−b²(x² − a²)`; of ±a, `(a² − b²)x(x ± a)`; of infinity, `x(x² − a²)`. The factors of 1 and x², of x² and x, and of x.
    const CUT: [f32; 5] = {
        let (a, b) = (Self::POINTS[Self::PAIRS], Self::POINTS[Self::PAIRS + 2]);
        let (a2, b2) = (a * a, b * b);
        [(a2 * b2) as f32, -b2 as f32, (a2 - b2) as f32, (a * (a2 - b2)) as f32, -a2 as f32]
    };

    /// Of the weights, G.
    const WEIGHTS: [[f32; 3]; N] = weights(Self::POINTS);
    const WEIGHTS_TRANSPOSED: [[f32; N]; 3] = transposed(Self::WEIGHTS);

    /// The places in row `y` of the products of whole tiles that are this one's.
    #[inline(always)]
    const fn row(y: usize) -> [usize; N] {
        let mut row = [0; N];
        let mut x = 0;
        while x < N {
            row[x] = Self::WHOLE * y + Self::place(x);
            x += 1;
        }
        row
    }

    /// Which row or column of the products of whole tiles row or column `i` of this one's is.
    #[inline(always)]
    const fn place(i: usize) -> usize {
        if i == N - 1 { Self::WHOLE - 1 } else { i }
    }

    /// Of the input, Bᵀ: for each point the polynomial that is zero at all others, with the inputs as its powers; for infinity
    /// the one that is zero at all points.
    #[inline(always)]
    fn input<S: Simd>(simd: S, d: &[S::V; N]) -> [S::V; N] {
        let p = Self::PAIRS;
        let mut out = [simd.zero(); N];
        if M == 2 {
            let [zeroth, second, even, odd, first] = Self::CUT.map(|factor| simd.splat(factor));
            let (even, odd) = (simd.mul(even, d[2]), simd.mul(odd, d[1]));
            out[0] = simd.fma(zeroth, d[0], simd.mul(second, d[2]));
            out[1] = simd.add(even, odd);
            out[2] = simd.sub(even, odd);
            out[3] = simd.fma(first, d[1], d[3]);
            return out;
        }
        let fourth = |from: usize| {
            let sum = simd.fma(simd.splat(Self::FOURTH[1]), d[from + 2], d[from + 4]);
            simd.fma(simd.splat(Self::FOURTH[0]), d[from], sum)
        };
        if p == 1 {
            out[0] = fourth(0);
        }
        for i in 0..2 {
            let [square, point, product] = [0, 1, 2].map(|power: usize| simd.splat(Self::CUBIC[power][i]));
            let even = simd.fma(square, d[p + 1], d[p + 3]);
            let odd = simd.fma(point, d[p + 2], simd.mul(product, d[p]));
            out[p + 2 * i] = simd.add(even, odd);
            out[p + 2 * i + 1] = simd.sub(even, odd);
        }
        out[N - 1] = fourth(p);
        out
    }

    /// B: the gradient of the input from that of what [`Self::input`] made of it.
    #[inline(always)]
    fn input_gradient<S: Simd>(simd: S, m: &[S::V; N]) -> [S::V; N] {
        let p = Self::PAIRS;
        let mut out = [simd.zero(); N];
        if M == 2 {
            let [zeroth, second, even, odd, first] = Self::CUT.map(|factor| simd.splat(factor));
            out[0] = simd.mul(zeroth, m[0]);
            out[1] = simd.fma(odd, simd.sub(m[1], m[2]), simd.mul(first, m[3]));
            out[2] = simd.fma(even, simd.add(m[1], m[2]), simd.mul(second, m[0]));
            out[3] = m[3];
            return out;
        }
        let [sum, difference] = Self::sums(simd, m);
        let [zeroth, second] = Self::FOURTH.map(|factor| simd.splat(factor));
        let at_infinity = m[N - 1];
        let both = |factors: [f32; 2], x: [S::V; 2]| {
            simd.fma(simd.splat(factors[0]), x[0], simd.mul(simd.splat(factors[1]), x[1]))
        };
        out[p] = simd.fma(zeroth, at_infinity, both(Self::CUBIC[2], difference));
        out[p + 1] = both(Self::CUBIC[0], sum);
        out[p + 2] = simd.fma(second, at_infinity, both(Self::CUBIC[1], difference));
        out[p + 3] = simd.add(sum[0], sum[1]);
        out[N - 1] = at_infinity;
        if p == 1 {
            out[0] = simd.mul(zeroth, m[0]);
            out[2] = simd.fma(second, m[0], out[2]);
            out[4] = simd.add(out[4], m[0]);
        }
        out
    }

    /// From products to outputs, Aᵀ: each output takes a power of the points.
    #[inline(always)]
    fn output<S: Simd>(simd: S, m: &[S::V; N]) -> [S::V; M] {
        if M == 2 {
            let mut out = [simd.add(m[0], simd.add(m[1], m[2])); M];
            out[1] = simd.fma(simd.splat(Self::POWERS[1][0]), simd.sub(m[1], m[2]), m[3]);
            return out;
        }
        let [sum, difference] = Self::sums(simd, m);
        let mut out = [simd.add(sum[0], sum[1]); M];
        if Self::PAIRS == 1 {
            out[0] = simd.add(out[0], m[0]);
        }
        for power in 1..M {
            let x = if power % 2 == 0 { sum } else { difference };
            let [a, b] = Self::POWERS[power].map(|factor| simd.splat(factor));
            out[power] = simd.fma(a, x[0], simd.mul(b, x[1]));
        }
        out[M - 1] = simd.add(out[M - 1], m[N - 1]);
        out
    }

    /// A: the gradient of the products from that of the outputs.
    #[inline(always)]
    fn output_gradient<S: Simd>(simd: S, g: &[S::V; M]) -> [S::V; N] {
        let p = Self::PAIRS;
        let mut out = [g[0]; N];
        out[N - 1] = g[M - 1];
        if M == 2 {
            let odd = simd.mul(simd.splat(Self::POWERS[1][0]), g[1]);
            out[1] = simd.add(g[0], odd);
            out[2] = simd.sub(g[0], odd);
            return out;
        }
        for i in 0..2 {
            let [_, first, second, third] = Self::POWERS.map(|powers| simd.splat(powers[i]));
            let even = simd.fma(second, g[2], g[0]);
            let odd = simd.mul(first, g[1]);
            let odd = if M > 3 { simd.fma(third, g[M - 1], odd) } else { odd };
            out[p + 2 * i] = simd.add(even, odd);
            out[p + 2 * i + 1] = simd.sub(even, odd);
        }
        out
    }

    /// Sums and differences of what belongs to ±a and to ±b.
    #[inline(always)]
    fn sums<S: Simd>(simd: S, m: &[S::V; N]) -> [[S::V; 2]; 2] {
        let p = Self::PAIRS;
        [
            [simd.add(m[p], m[p + 1]), simd.add(m[p + 2], m[p + 3])],
            [simd.sub(m[p], m[p + 1]), simd.sub(m[p + 2], m[p + 3])],
        ]
    }
}

/// G of the first N − 1 of `points` and infinity: the powers of each, divided by its distances from all others.
const fn weights<const N: usize>(points: &[f64]) -> [[f32; 3]; N] {
    let mut matrix = [[0.0; 3]; N];
    let mut point = 0;
    while point < N - 1 {
        let mut distances = 1.0;
        let mut other = 0;
        while other < N - 1 {
            if other != point {
                distances *= points[point] - points[other];
            }
            other += 1;
        }
        let mut power = 0;
        while power < 3 {
            matrix[point][power] = (raised(points[point], power) / distances) as f32;
            power += 1;
        }
        point += 1;
    }
    matrix[N - 1][2] = 1.0;
    matrix
}

/// `point` to the `power`, where 0 to the 0 is 1.
const fn raised(point: f64, power: usize) -> f64 {
    let (mut value, mut i) = (1.0, 0);
    while i < power {
        value *= point;
        i += 1;
    }
    value
}

const fn transposed<const R: usize, const C: usize>(matrix: [[f32; C]; R]) -> [[f32; R]; C] {
    let mut out = [[0.0; R]; C];
    let mut row = 0;
    while row < R {
        let mut column = 0;
        while column < C {
            out[column][row] = matrix[row][column];
            column += 1;
        }
        row += 1;
    }
    out
}

/// `matrix · x`, where the compiler knows the matrix and leaves out its zeros.
#[inline(always)]
fn along<S: Simd, const R: usize, const C: usize>(simd: S, matrix: &[[f32; C]; R], x: &[S::V; C]) -> [S::V; R] {
    let mut out = [simd.zero(); R];
    for r in 0..R {
        for c in 0..C {
            if matrix[r][c] != 0.0 {
                out[r] = simd.fma(simd.splat(matrix[r][c]), x[c], out[r]);
            }
        }
    }
    out
}

/// Column `x` of `rows`.
#[inline(always)]
fn column<V: Copy, const R: usize, const C: usize>(rows: &[[V; C]; R], x: usize) -> [V; R] {
    let mut out = [rows[0][x]; R];
    for y in 1..R {
        out[y] = rows[y][x];
    }
    out
}

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

/// The weights' transform, `G g Gᵀ` for 3×3 weights g.
pub struct Weights<'a> {
    /// M, 2 to 4.
    pub tile: usize,
    /// `[row, 9, len]`
    pub weights: &'a [f32],
    pub len: usize,
    /// `[N², row, len]`
    pub transformed: &'a mut [f32],
}

impl Kernel for Weights<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.tile {
            2 => self.transform(simd, &pooled::WEIGHTS),
            3 => self.transform(simd, &Transform::<3, 5>::WEIGHTS),
            _ => self.transform(simd, &Transform::<4, 6>::WEIGHTS),
        }
    }
}

impl Weights<'_> {
    #[inline(always)]
    fn transform<S: Simd, const N: usize>(self, simd: S, matrix: &[[f32; 3]; N]) {
        let Self { weights, len, transformed, .. } = self;
        let plane = weights.len() / 9;
        assert!(len.is_multiple_of(S::LANES) && weights.len().is_multiple_of(9 * len));
        assert!(transformed.len() >= N * N * plane);
        for at in (0..plane).step_by(S::LANES) {
            let (row, within) = (at / len, at % len);
            let mut rows = [[simd.zero(); N]; 3];
            for y in 0..3 {
                let mut g = [simd.zero(); 3];
                for x in 0..3 {
                    // SAFETY: asserted above.
                    g[x] = unsafe { simd.load(weights, (9 * row + 3 * y + x) * len + within) };
                }
                rows[y] = along(simd, matrix, &g);
            }
            for x in 0..N {
                let values = along(simd, matrix, &column(&rows, x));
                for y in 0..N {
                    // SAFETY: asserted above.
                    unsafe { simd.store(transformed, (N * y + x) * plane + at, values[y]) };
                }
            }
        }
    }
}
