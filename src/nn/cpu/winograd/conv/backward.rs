//! The backward pass: the gradients of the outputs transformed into those of the products, from which those of the transformed
//! weights and patches follow.

use std::ops::Range;

use super::super::super::simd::{Kernel, LANES, Simd};
use super::super::piece::Piece;
use super::super::{Ahead, Products, TILES, Transform, VECTORS, along, column, load_products, of_tile};
use super::{After, Shape, Square};

/// Adds to the gradients of the weights, the bias and, if wanted, the input.
pub struct Backward<'a> {
    pub shape: Shape<'a>,
    pub input: &'a [f32],
    pub gradient: &'a [f32],
    /// What comes between it and the convolution.
    pub after: After<'a>,
    /// `[N², width, phase, channel]`
    pub weights: &'a [f32],
    /// `[width, tap, channel]`
    pub weight_gradient: &'a mut [f32],
    pub bias_gradient: &'a mut [f32],
    pub input_gradient: Option<&'a mut [f32]>,
    /// Whether the gradient of the input is to begin with zeros, whatever is there: just before a sample's tiles add to it, so
    /// that it is in the cache.
    pub begins: bool,
    /// As long as [`Backward::scratch_len`] says.
    pub scratch: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.shape.tiles.grid().tile {
            3 => self.tiles::<S, 3, 5>(simd),
            _ => self.tiles::<S, 4, 6>(simd),
        }
    }
}

impl Backward<'_> {
    /// How long the scratch memory must be: transformed patches, gradients of the products, products, and the gradient of the
    /// transformed weights.
    pub const fn scratch_len(shape: &Shape) -> usize {
        let (width, depth) = (shape.width, shape.depth());
        shape.tiles.grid().places() * (TILES * (depth + width + VECTORS * LANES) + width * depth)
    }

    #[inline(always)]
    fn tiles<S: Simd, const M: usize, const N: usize>(mut self, simd: S) {
        let (width, depth) = (self.shape.width, self.shape.depth());
        let of_input = self.input_gradient.as_ref().map_or(self.input.len(), |gradient| gradient.len());
        self.shape.assert_fits::<S>(self.input.len().min(of_input), self.gradient.len());
        self.after.assert_fits(self.gradient, width);
        assert!(self.shape.tiles.grid().tile == M);
        let (patches, rest) = self.scratch.split_at_mut(N * N * TILES * depth);
        let (slopes, rest) = rest.split_at_mut(N * N * TILES * width);
        let (transformed, products) = rest.split_at_mut(N * N * width * depth);
        let read_after = match self.after {
            After::Norm { output, .. } | After::Rectifier { output } => output,
            After::Nothing => &[],
        };
        let (count, steps) = (self.shape.pieces().len(), N * N * Outer::steps::<S>(width, depth));
        let mut ahead = [self.input, self.gradient, read_after].map(|map| Ahead::new(map, count, steps));
        let mut first = true;
        for piece in self.shape.pieces() {
            self.shape.transform_input::<S, M, N>(simd, &piece, self.input, patches);
            let (gradient, bias) = (self.gradient, &mut *self.bias_gradient);
            self.shape.transform_gradient::<S, M, N>(simd, &piece, gradient, self.after, bias, slopes);
            let outer = Outer { side: N, piece: &piece, rows: slopes, height: width, columns: patches, width: depth };
            outer.sum(simd, first, transformed, &mut ahead);
            first = false;
            if let Some(gradient) = &mut self.input_gradient {
                if self.begins {
                    self.shape.starting(&piece).for_each(|sample| gradient[sample].fill(0.0));
                }
                let (a, b) = (&*slopes, self.weights);
                let matrices = Products { side: N, piece: &piece, a, depth: width, b, width: depth };
                input_gradient::<S, M, N>(simd, &self.shape, matrices, products, gradient);
            }
        }
        weight_gradient::<S, M, N>(simd, &self.shape, transformed, self.weight_gradient);
    }
}

/// `gradient[row][tap][channel] += Gᵀ u G` for the gradient u of the transformed weights, `[N², row, phase, channel]`.
#[inline(always)]
fn weight_gradient<S: Simd, const M: usize, const N: usize>(
    simd: S,
    shape: &Shape,
    transformed: &[f32],
    gradient: &mut [f32],
) {
    let (&Shape { tiles, channels, width, .. }, depth) = (shape, shape.depth());
    let grid = tiles.grid();
    let matrix = &Transform::<M, N>::WEIGHTS_TRANSPOSED;
    let (plane, count) = (width * depth, grid.kernel[0] * grid.kernel[1]);
    assert!(transformed.len() >= N * N * plane && gradient.len() >= count * width * channels);
    let mut taps = vec![None; 9 * grid.phases()];
    for tap in 0..count {
        taps[grid.place_of_tap(tap)] = Some(tap);
    }
    for at in (0..plane).step_by(S::LANES) {
        let (row, phase, channel) = (at / depth, at % depth / channels, at % channels);
        let mut half = [[simd.zero(); 3]; N];
        for y in 0..N {
            let mut u = [simd.zero(); N];
            for x in 0..N {
                // SAFETY: asserted above.
                u[x] = unsafe { simd.load(transformed, (N * y + x) * plane + at) };
            }
            half[y] = along(simd, matrix, &u);
        }
        for x in 0..3 {
            let values = along(simd, matrix, &column(&half, x));
            for y in 0..3 {
                if let Some(tap) = taps[(3 * y + x) * grid.phases() + phase] {
                    let at = (count * row + tap) * channels + channel;
                    // SAFETY: asserted above.
                    unsafe { simd.store(gradient, at, simd.add(simd.load(gradient, at), values[y])) };
                }
            }
        }
    }
}

/// `gradient[patch] += B m Bᵀ` for the gradients m of the transformed patches of a piece, which are `matrices` multiplied.
#[inline(always)]
fn input_gradient<S: Simd, const M: usize, const N: usize>(
    simd: S,
    shape: &Shape,
    matrices: Products,
    products: &mut [f32],
    gradient: &mut [f32],
) {
    let channels = shape.channels;
    let count = matrices.piece.len();
    let mut first = 0;
    while first < shape.depth() {
        matrices.multiply(simd, first, products, None);
        let vectors = matrices.vectors::<S>(first);
        for (number, slot) in matrices.piece.tiles() {
            for vector in 0..vectors {
                let column = first + vector * S::LANES;
                let square = shape.tiles.patch(number, column / channels);
                let at = [channels, column % channels];
                // SAFETY: `Products::multiply` has asserted that the products are there, `assert_fits` the input.
                unsafe {
                    let products = of_tile::<S>(products, slot, vector);
                    with_sides!(square.add::<S, M, N>(simd, products, count, gradient, at));
                }
            }
        }
        first += vectors * S::LANES;
    }
}

impl Square {
    /// Transforms the `products` of a tile, `count` tiles apart, and adds them to the gradient of its patch.
    ///
    /// # Safety
    /// `products` must hold them, `gradient` what of the square is inside, and `whole` be as it says.
    #[inline(always)]
    unsafe fn add<S: Simd, const HM: usize, const H: usize, const WM: usize, const W: usize>(
        &self,
        simd: S,
        whole: bool,
        products: &[f32],
        count: usize,
        gradient: &mut [f32],
        [channels, channel]: [usize; 2],
    ) {
        let places = self.places(channels, channel).hidden();
        let mut rows = [[simd.zero(); W]; H];
        for y in 0..H {
            let places = Transform::<WM, W>::row(Transform::<HM, H>::place(y));
            // SAFETY: the caller's promise.
            let row = unsafe { load_products(simd, products, count, places) };
            rows[y] = Transform::<WM, W>::input_gradient(simd, &row);
        }
        for x in 0..W {
            let values = Transform::<HM, H>::input_gradient(simd, &column(&rows, x));
            for y in 0..H {
                if self.holds(y, x, whole) {
                    let at = places.at(y, x);
                    // SAFETY: the caller's promise.
                    unsafe { simd.store(gradient, at, simd.add(simd.load(gradient, at), values[y])) };
                }
            }
        }
    }
}

/// At each place the sum over tiles of the outer products of two vectors.
#[derive(Clone, Copy)]
struct Outer<'a> {
    /// Rows and columns of places.
    side: usize,
    piece: &'a Piece,
    /// `[place, tile, height]`
    rows: &'a [f32],
    height: usize,
    /// `[place, tile, width]`
    columns: &'a [f32],
    width: usize,
}

impl Outer<'_> {
    /// Rows of sums that are computed at a time.
    const fn rows<S: Simd>() -> usize {
        if S::ROWS >= 8 { 8 } else { 4 }
    }

    /// How many times the maps ahead are gone on with at each place.
    const fn steps<S: Simd>(height: usize, width: usize) -> usize {
        height / Self::rows::<S>() * width.div_ceil(2 * S::LANES)
    }

    /// Writes them to `out`, `[place, height, width]`, or adds them to it if they are not the `first`.
    #[inline(always)]
    fn sum<S: Simd>(self, simd: S, first: bool, out: &mut [f32], ahead: &mut [Ahead; 3]) {
        let Self { side, piece, rows, height, columns, width } = self;
        let (places, count) = (side * side, piece.len());
        assert!(rows.len() >= places * count * height && columns.len() >= places * count * width);
        assert!(out.len() >= places * height * width && height.is_multiple_of(LANES));
        for place in 0..places {
            let of_place =
                Self { rows: &rows[place * count * height..], columns: &columns[place * count * width..], ..self };
            let tiles = piece.with(place / side, place % side);
            let out = &mut out[place * height * width..];
            let mut column = 0;
            while column < width {
                let vectors = if width - column >= 2 * S::LANES { 2 } else { 1 };
                // SAFETY: asserted above; the tiles' rows divide the lanes.
                unsafe {
                    match (vectors, Self::rows::<S>()) {
                        (2, 8) => of_place.columns::<S, 8, 2>(simd, tiles.clone(), column, first, out, ahead),
                        (2, _) => of_place.columns::<S, 4, 2>(simd, tiles.clone(), column, first, out, ahead),
                        (_, 8) => of_place.columns::<S, 8, 1>(simd, tiles.clone(), column, first, out, ahead),
                        (_, _) => of_place.columns::<S, 4, 1>(simd, tiles.clone(), column, first, out, ahead),
                    }
                }
                column += vectors * S::LANES;
            }
        }
    }

    /// All rows of Q vectors from `column` on, P at a time, over those of the `tiles` that have the place.
    ///
    /// # Safety
    /// P must divide `height`, and the slices must hold all tiles and outputs of a place.
    #[inline(always)]
    unsafe fn columns<S: Simd, const P: usize, const Q: usize>(
        self,
        simd: S,
        tiles: Range<usize>,
        column: usize,
        first: bool,
        out: &mut [f32],
        ahead: &mut [Ahead; 3],
    ) {
        let Self { rows, height, columns, width, .. } = self;
        for row in (0..height).step_by(P) {
            for ahead in &mut *ahead {
                ahead.go_on(simd);
            }
            // SAFETY: the caller's promise.
            unsafe {
                let mut sums = [[simd.zero(); Q]; P];
                for p in 0..P {
                    for q in 0..Q {
                        let at = (row + p) * width + column + q * S::LANES;
                        if !first {
                            sums[p][q] = simd.load(out, at);
                        }
                        // The same of the next place.
                        simd.prefetch(out.as_ptr().wrapping_add(height * width + at));
                    }
                }
                for tile in tiles.clone() {
                    let mut x = [simd.zero(); Q];
                    for q in 0..Q {
                        x[q] = simd.load(columns, tile * width + column + q * S::LANES);
                    }
                    for p in 0..P {
                        let g = simd.broadcast(rows, tile * height + row + p);
                        for q in 0..Q {
                            sums[p][q] = simd.fma(g, x[q], sums[p][q]);
                        }
                    }
                }
                for p in 0..P {
                    for q in 0..Q {
                        simd.store(out, (row + p) * width + column + q * S::LANES, sums[p][q]);
                    }
                }
            }
        }
    }
}
