//! The transforms of patches, weights, products and outputs, and their gradients, in one dimension.

use super::super::simd::{Kernel, Simd};
use super::pooled;

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
    pub const WHOLE: usize = if M == 2 { N + 2 } else { N };
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
    pub const WEIGHTS: [[f32; 3]; N] = weights(Self::POINTS);
    pub const WEIGHTS_TRANSPOSED: [[f32; N]; 3] = transposed(Self::WEIGHTS);

    /// The places in row `y` of the products of whole tiles that are this one's.
    #[inline(always)]
    pub const fn row(y: usize) -> [usize; N] {
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
    pub const fn place(i: usize) -> usize {
        if i == N - 1 { Self::WHOLE - 1 } else { i }
    }

    /// Of the input, Bᵀ: for each point the polynomial that is zero at all others, with the inputs as its powers; for infinity
    /// the one that is zero at all points.
    #[inline(always)]
    pub fn input<S: Simd>(simd: S, d: &[S::V; N]) -> [S::V; N] {
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
    pub fn input_gradient<S: Simd>(simd: S, m: &[S::V; N]) -> [S::V; N] {
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
    pub fn output<S: Simd>(simd: S, m: &[S::V; N]) -> [S::V; M] {
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
    pub fn output_gradient<S: Simd>(simd: S, g: &[S::V; M]) -> [S::V; N] {
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
pub const fn weights<const N: usize>(points: &[f64]) -> [[f32; 3]; N] {
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
pub fn along<S: Simd, const R: usize, const C: usize>(simd: S, matrix: &[[f32; C]; R], x: &[S::V; C]) -> [S::V; R] {
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
pub fn column<V: Copy, const R: usize, const C: usize>(rows: &[[V; C]; R], x: usize) -> [V; R] {
    let mut out = [rows[0][x]; R];
    for y in 1..R {
        out[y] = rows[y][x];
    }
    out
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
