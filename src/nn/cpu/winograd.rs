//! 3×3 convolution by Winograd's minimal filtering F(M×M, 3×3) (Lavin and Gray 2016): M×M outputs from a patch of N×N inputs,
//! N = M + 2, with N² multiplications instead of 9·M².
//!
//! Patch and weights are transformed by small matrices, multiplied place by place (for each place a matrix product over
//! channels and outputs), and the products transformed into outputs. [`pooled`] has M = 2, whose outputs are just one window
//! of a 2×2 pool; [`conv`] has M = 3 or 4 for convolutions without a pool, and their backward pass.

pub mod conv;
pub mod pooled;

use super::affine::tile;
use super::pieces::{pieces, with_count};
use super::simd::{Kernel, Simd};

/// Tiles that are transformed together, so that their patches stay in the cache.
const TILES: usize = 24;

/// Vectors of a matrix product that are computed at a time.
const VECTORS: usize = 2;

/// The matrices of F(M×M, 3×3), by Cook and Toom's interpolation through N − 1 points and infinity.
pub struct Transform<const M: usize, const N: usize>;

impl<const M: usize, const N: usize> Transform<M, N> {
    /// Pairs of opposite points of moderate size and distance round the least: of some fifty choices, these were the best.
    const POINTS: &[f64] = match M {
        2 => &[0.0, 1.0, -1.0],
        3 => &[0.375, -0.375, 1.5, -1.5],
        4 => &[0.0, 0.625, -0.625, 1.5, -1.5],
        _ => panic!("tiles have 2 to 4 rows and columns"),
    };

    /// From products to outputs, Aᵀ: each row the powers of the points.
    const OUTPUT: [[f32; N]; M] = {
        let mut matrix = [[0.0; N]; M];
        let mut power = 0;
        while power < M {
            let mut point = 0;
            while point < N - 1 {
                matrix[power][point] = raised(Self::POINTS[point], power) as f32;
                point += 1;
            }
            power += 1;
        }
        matrix[M - 1][N - 1] = 1.0;
        matrix
    };

    /// Of the weights, G: the powers of the points, divided by their distances from all others.
    const WEIGHTS: [[f32; 3]; N] = {
        let mut matrix = [[0.0; 3]; N];
        let mut point = 0;
        while point < N - 1 {
            let mut distances = 1.0;
            let mut other = 0;
            while other < N - 1 {
                if other != point {
                    distances *= Self::POINTS[point] - Self::POINTS[other];
                }
                other += 1;
            }
            let mut power = 0;
            while power < 3 {
                matrix[point][power] = (raised(Self::POINTS[point], power) / distances) as f32;
                power += 1;
            }
            point += 1;
        }
        matrix[N - 1][2] = 1.0;
        matrix
    };

    /// Of the input, Bᵀ: the coefficients of the polynomials that are zero at all other points.
    const INPUT: [[f32; N]; N] = {
        let mut matrix = [[0.0; N]; N];
        let mut point = 0;
        while point < N {
            let mut polynomial = [0.0; N];
            polynomial[0] = 1.0;
            let mut other = 0;
            while other < N - 1 {
                if other != point {
                    // Times x − other.
                    let mut power = N;
                    while power > 0 {
                        power -= 1;
                        let below = if power > 0 { polynomial[power - 1] } else { 0.0 };
                        polynomial[power] = below - Self::POINTS[other] * polynomial[power];
                    }
                }
                other += 1;
            }
            let mut power = 0;
            while power < N {
                matrix[point][power] = polynomial[power] as f32;
                power += 1;
            }
            point += 1;
        }
        matrix
    };

    const OUTPUT_TRANSPOSED: [[f32; M]; N] = transposed(Self::OUTPUT);
    const WEIGHTS_TRANSPOSED: [[f32; N]; 3] = transposed(Self::WEIGHTS);
    const INPUT_TRANSPOSED: [[f32; N]; N] = transposed(Self::INPUT);
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

/// `matrix · x`, where the compiler knows the matrix and leaves out its zeros. Two dimensions are transformed row by row and
/// then column by column.
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
    places: usize,
    /// Rows of `a`.
    tiles: usize,
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
        let Self { places, tiles, a, depth, b, width } = self;
        assert!(a.len() >= places * tiles * depth && b.len() >= places * depth * width);
        assert!(out.len() >= places * tiles * VECTORS * S::LANES);
        let vectors = self.vectors::<S>(column);
        let mut ahead = ahead;
        for place in 0..places {
            if let Some(ahead) = &mut ahead {
                ahead.go_on(simd);
            }
            let a = &a[place * tiles * depth..];
            let b = &b[place * depth * width..];
            let out = &mut out[place * tiles * VECTORS * S::LANES..];
            for rows in pieces(tiles, S::ROWS) {
                // SAFETY: asserted above.
                unsafe {
                    with_count!(rows.len(), P => match vectors {
                        VECTORS => multiply::<S, P, VECTORS>(simd, a, depth, b, width, column, out, rows.start),
                        _ => multiply::<S, P, 1>(simd, a, depth, b, width, column, out, rows.start),
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

/// Row `y` of the N×N products of a tile.
///
/// # Safety
/// `products` must hold `[N², count, VECTORS]` vectors.
#[inline(always)]
unsafe fn load_products<S: Simd, const N: usize>(
    simd: S,
    products: &[f32],
    count: usize,
    tile: usize,
    vector: usize,
    y: usize,
) -> [S::V; N] {
    let mut row = [simd.zero(); N];
    for x in 0..N {
        let at = (((N * y + x) * count + tile) * VECTORS + vector) * S::LANES;
        // SAFETY: the caller's promise.
        row[x] = unsafe { simd.load(products, at) };
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
            2 => self.transform::<S, 2, 4>(simd),
            3 => self.transform::<S, 3, 5>(simd),
            _ => self.transform::<S, 4, 6>(simd),
        }
    }
}

impl Weights<'_> {
    #[inline(always)]
    fn transform<S: Simd, const M: usize, const N: usize>(self, simd: S) {
        let Self { weights, len, transformed, .. } = self;
        let plane = weights.len() / 9;
        assert!(len.is_multiple_of(S::LANES) && weights.len().is_multiple_of(9 * len));
        assert!(transformed.len() >= N * N * plane);
        let matrix = &Transform::<M, N>::WEIGHTS;
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
