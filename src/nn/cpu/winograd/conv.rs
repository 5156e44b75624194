//! Convolution without a pool: forward, and the gradients of weights and input.
//!
//! All three go over the same tiles. The backward pass is that of each of the three parts: the outputs' gradients are
//! transformed into those of the products, whose factors are the transformed patches and weights.

use std::ops::Range;

use super::super::affine::pieces;
use super::super::program::Affine;
use super::super::simd::{Kernel, LANES, Simd};
use super::{Ahead, Products, TILES, Transform, VECTORS, along, column};

/// How the tiles lie in the maps of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Rows and columns of the input, without the zeros around it.
    pub input: [usize; 2],
    pub output: [usize; 2],
    /// Rows and columns of zeros on each side of the input.
    pub padding: usize,
    /// Rows and columns of outputs of a tile, M.
    pub tile: usize,
}

impl Grid {
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
        let [rows, columns] = self.tiles();
        rows * columns * self.places()
    }

    const fn in_sample(&self) -> usize {
        let [rows, columns] = self.tiles();
        rows * columns
    }

    /// The sample of tile `number`, counted through all samples, and its first row and column of outputs.
    fn origin(&self, number: usize) -> [usize; 3] {
        let columns = self.tiles()[1];
        let within = number % self.in_sample();
        [number / self.in_sample(), within / columns * self.tile, within % columns * self.tile]
    }

    /// Where input position `y`, `x` of the padded map lies in the real one, `[sample, row, column]`, unless it is padding or
    /// beyond.
    #[inline(always)]
    fn input_position(&self, sample: usize, y: usize, x: usize) -> Option<usize> {
        let [height, width] = self.input;
        let (y, x) = (y.wrapping_sub(self.padding), x.wrapping_sub(self.padding));
        (y < height && x < width).then(|| (sample * height + y) * width + x)
    }

    /// Where output `y`, `x` lies, unless it is beyond the map.
    #[inline(always)]
    fn output_position(&self, sample: usize, y: usize, x: usize) -> Option<usize> {
        let [height, width] = self.output;
        (y < height && x < width).then(|| (sample * height + y) * width + x)
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
    /// For `samples` samples that `affine` reads and writes.
    pub const fn of(affine: &Affine, grid: Grid, samples: usize) -> Self {
        Self { grid, samples, channels: affine.stride, width: affine.outputs_padded }
    }

    /// How long the scratch memory must be: transformed patches, gradients of the products, products, and the gradient of the
    /// transformed weights.
    pub const fn scratch_len(&self) -> usize {
        let pieces = TILES * (self.channels + self.width + VECTORS * LANES);
        self.grid.places() * (pieces + self.width * self.channels)
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

    /// `patches[place][tile] = (Bᵀ d B)[place]` for the patches d of `tiles`, `[place, tile, channel]`.
    #[inline(always)]
    fn transform_input<S: Simd, const M: usize, const N: usize>(
        &self,
        simd: S,
        tiles: Range<usize>,
        input: &[f32],
        patches: &mut [f32],
    ) {
        let Self { grid, channels, .. } = *self;
        let matrix = &Transform::<M, N>::INPUT;
        let count = tiles.len();
        assert!(patches.len() >= N * N * count * channels);
        for (tile, number) in tiles.enumerate() {
            let [sample, top, left] = grid.origin(number);
            for channel in (0..channels).step_by(S::LANES) {
                let mut rows = [[simd.zero(); N]; N];
                for y in 0..N {
                    let mut d = [simd.zero(); N];
                    for x in 0..N {
                        if let Some(position) = grid.input_position(sample, top + y, left + x) {
                            // SAFETY: `assert_fits` was called for this input.
                            d[x] = unsafe { simd.load(input, position * channels + channel) };
                        }
                    }
                    rows[y] = along(simd, matrix, &d);
                }
                for x in 0..N {
                    let values = along(simd, matrix, &column(&rows, x));
                    for y in 0..N {
                        // SAFETY: asserted above.
                        unsafe { simd.store(patches, ((N * y + x) * count + tile) * channels + channel, values[y]) };
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
        let matrix = &Transform::<M, N>::OUTPUT_TRANSPOSED;
        let count = tiles.len();
        assert!(out.len() >= N * N * count * width && bias.len() >= width);
        for (tile, number) in tiles.enumerate() {
            let [sample, top, left] = grid.origin(number);
            for channel in (0..width).step_by(S::LANES) {
                let mut sum = simd.zero();
                let mut rows = [[simd.zero(); N]; M];
                for y in 0..M {
                    let mut g = [simd.zero(); M];
                    for x in 0..M {
                        if let Some(position) = grid.output_position(sample, top + y, left + x) {
                            let at = position * width + channel;
                            // SAFETY: `assert_fits` was called for gradient and output.
                            unsafe {
                                g[x] = simd.load(gradient, at);
                                if let Some(output) = output {
                                    g[x] = simd.select_gt(simd.load(output, at), simd.zero(), g[x], simd.zero());
                                }
                            }
                            sum = simd.add(sum, g[x]);
                        }
                    }
                    rows[y] = along(simd, matrix, &g);
                }
                // SAFETY: asserted above.
                unsafe { simd.store(bias, channel, simd.add(simd.load(bias, channel), sum)) };
                for x in 0..N {
                    let values = along(simd, matrix, &column(&rows, x));
                    for y in 0..N {
                        // SAFETY: asserted above.
                        unsafe { simd.store(out, ((N * y + x) * count + tile) * width + channel, values[y]) };
                    }
                }
            }
        }
    }
}

/// The forward pass, with the rectifier if `relu`.
pub struct Forward<'a> {
    pub shape: Shape,
    pub input: &'a [f32],
    /// `[N², channel, width]`, from [`Weights`](super::Weights).
    pub weights: &'a [f32],
    pub bias: &'a [f32],
    pub relu: bool,
    pub out: &'a mut [f32],
    /// As long as [`Shape::scratch_len`] says.
    pub scratch: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.shape.grid.tile {
            3 => self.tiles::<S, 3, 5>(simd),
            _ => self.tiles::<S, 4, 6>(simd),
        }
    }
}

impl Forward<'_> {
    #[inline(always)]
    fn tiles<S: Simd, const M: usize, const N: usize>(self, simd: S) {
        let Self { shape, input, weights, bias, relu, out, scratch } = self;
        let Shape { grid, channels, width, .. } = shape;
        shape.assert_fits::<S>(input.len(), out.len());
        assert!(bias.len() >= width && grid.tile == M);
        let matrix = &Transform::<M, N>::OUTPUT;
        let (patches, products) = scratch.split_at_mut(N * N * TILES * channels);
        let steps = width.div_ceil(VECTORS * S::LANES) * N * N;
        let mut ahead = Ahead::new(out, shape.pieces().count(), steps);
        for tiles in shape.pieces() {
            let count = tiles.len();
            shape.transform_input::<S, M, N>(simd, tiles.clone(), input, patches);
            let matrices = Products { places: N * N, tiles: count, a: patches, depth: channels, b: weights, width };
            let mut first = 0;
            while first < width {
                matrices.multiply(simd, first, products, Some(&mut ahead));
                let vectors = matrices.vectors::<S>(first);
                for (tile, number) in tiles.clone().enumerate() {
                    let [sample, top, left] = grid.origin(number);
                    for vector in 0..vectors {
                        let channel = first + vector * S::LANES;
                        // SAFETY: `Products::multiply` has asserted that the products are there, `assert_fits` the outputs.
                        unsafe {
                            let mut rows = [[simd.zero(); M]; N];
                            for y in 0..N {
                                rows[y] = along(simd, matrix, &load_products(simd, products, count, tile, vector, y));
                            }
                            let bias = simd.load(bias, channel);
                            for x in 0..M {
                                let values = along(simd, matrix, &column(&rows, x));
                                for y in 0..M {
                                    let value = simd.add(values[y], bias);
                                    let value = if relu { simd.max(value, simd.zero()) } else { value };
                                    if let Some(position) = grid.output_position(sample, top + y, left + x) {
                                        simd.store(out, position * width + channel, value);
                                    }
                                }
                            }
                        }
                    }
                }
                first += vectors * S::LANES;
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

/// Adds to the gradients of the weights, the bias and, if wanted, the input.
pub struct Backward<'a> {
    pub shape: Shape,
    pub input: &'a [f32],
    pub gradient: &'a [f32],
    /// The rectified output, if there is a rectifier.
    pub output: Option<&'a [f32]>,
    /// `[N², width, channel]`
    pub weights: &'a [f32],
    /// `[width, 9, channel]`
    pub weight_gradient: &'a mut [f32],
    pub bias_gradient: &'a mut [f32],
    pub input_gradient: Option<&'a mut [f32]>,
    /// As long as [`Shape::scratch_len`] says.
    pub scratch: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.shape.grid.tile {
            3 => self.tiles::<S, 3, 5>(simd),
            _ => self.tiles::<S, 4, 6>(simd),
        }
    }
}

impl Backward<'_> {
    #[inline(always)]
    fn tiles<S: Simd, const M: usize, const N: usize>(mut self, simd: S) {
        let Shape { grid, channels, width, .. } = self.shape;
        let of_input = self.input_gradient.as_ref().map_or(self.input.len(), |gradient| gradient.len());
        let of_output = self.output.map_or(self.gradient.len(), <[f32]>::len);
        self.shape.assert_fits::<S>(self.input.len().min(of_input), self.gradient.len().min(of_output));
        assert!(self.weight_gradient.len() >= 9 * width * channels && grid.tile == M);
        let (patches, rest) = self.scratch.split_at_mut(N * N * TILES * channels);
        let (slopes, rest) = rest.split_at_mut(N * N * TILES * width);
        let (transformed, products) = rest.split_at_mut(N * N * width * channels);
        let mut first = true;
        let mut ahead = Ahead::new(self.input, self.shape.pieces().count(), N * N);
        for tiles in self.shape.pieces() {
            let count = tiles.len();
            self.shape.transform_input::<S, M, N>(simd, tiles.clone(), self.input, patches);
            let (output, bias) = (self.output, &mut *self.bias_gradient);
            self.shape.transform_gradient::<S, M, N>(simd, tiles.clone(), self.gradient, output, bias, slopes);
            let outer = Outer { tiles: count, rows: slopes, height: width, columns: patches, width: channels };
            outer.sum(simd, N * N, first, transformed, &mut ahead);
            first = false;
            if let Some(gradient) = &mut self.input_gradient {
                let (a, b) = (&*slopes, self.weights);
                let matrices = Products { places: N * N, tiles: count, a, depth: width, b, width: channels };
                input_gradient::<S, M, N>(simd, &self.shape, tiles, matrices, products, gradient);
            }
        }
        weight_gradient::<S, M, N>(simd, transformed, width, channels, self.weight_gradient);
    }
}

/// `gradient[row][channel] += Gᵀ u G` for the gradient u of the transformed weights, `[N², row, channel]`.
#[inline(always)]
fn weight_gradient<S: Simd, const M: usize, const N: usize>(
    simd: S,
    transformed: &[f32],
    rows: usize,
    channels: usize,
    gradient: &mut [f32],
) {
    let matrix = &Transform::<M, N>::WEIGHTS_TRANSPOSED;
    let plane = rows * channels;
    assert!(transformed.len() >= N * N * plane && gradient.len() >= 9 * plane && channels.is_multiple_of(S::LANES));
    for at in (0..plane).step_by(S::LANES) {
        let (row, channel) = (at / channels, at % channels);
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
                let tap = (9 * row + 3 * y + x) * channels + channel;
                // SAFETY: asserted above.
                unsafe { simd.store(gradient, tap, simd.add(simd.load(gradient, tap), values[y])) };
            }
        }
    }
}

/// `gradient[patch] += B m Bᵀ` for the gradients m of the transformed patches of `tiles`, which are `matrices` multiplied.
#[inline(always)]
fn input_gradient<S: Simd, const M: usize, const N: usize>(
    simd: S,
    shape: &Shape,
    tiles: Range<usize>,
    matrices: Products,
    products: &mut [f32],
    gradient: &mut [f32],
) {
    let Shape { grid, channels, .. } = *shape;
    let matrix = &Transform::<M, N>::INPUT_TRANSPOSED;
    let count = tiles.len();
    let mut first = 0;
    while first < channels {
        matrices.multiply(simd, first, products, None);
        let vectors = matrices.vectors::<S>(first);
        for (tile, number) in tiles.clone().enumerate() {
            let [sample, top, left] = grid.origin(number);
            for vector in 0..vectors {
                let channel = first + vector * S::LANES;
                // SAFETY: `Products::multiply` has asserted that the products are there, `assert_fits` the input.
                unsafe {
                    let mut rows = [[simd.zero(); N]; N];
                    for y in 0..N {
                        rows[y] = along(simd, matrix, &load_products(simd, products, count, tile, vector, y));
                    }
                    for x in 0..N {
                        let values = along(simd, matrix, &column(&rows, x));
                        for y in 0..N {
                            if let Some(position) = grid.input_position(sample, top + y, left + x) {
                                let at = position * channels + channel;
                                simd.store(gradient, at, simd.add(simd.load(gradient, at), values[y]));
                            }
                        }
                    }
                }
            }
        }
        first += vectors * S::LANES;
    }
}

/// At each place the sum over tiles of the outer products of two vectors.
#[derive(Clone, Copy)]
struct Outer<'a> {
    tiles: usize,
    /// `[place, tile, height]`
    rows: &'a [f32],
    height: usize,
    /// `[place, tile, width]`
    columns: &'a [f32],
    width: usize,
}

impl Outer<'_> {
    /// Writes them to `out`, `[place, height, width]`, or adds them to it if they are not the `first`.
    #[inline(always)]
    fn sum<S: Simd>(self, simd: S, places: usize, first: bool, out: &mut [f32], ahead: &mut Ahead) {
        let Self { tiles, rows, height, columns, width } = self;
        assert!(rows.len() >= places * tiles * height && columns.len() >= places * tiles * width);
        assert!(out.len() >= places * height * width && height.is_multiple_of(LANES));
        for place in 0..places {
            ahead.go_on(simd);
            let this =
                Self { rows: &rows[place * tiles * height..], columns: &columns[place * tiles * width..], ..self };
            let out = &mut out[place * height * width..];
            let mut column = 0;
            while column < width {
                let vectors = if width - column >= 2 * S::LANES { 2 } else { 1 };
                // SAFETY: asserted above; the tiles' rows divide the lanes.
                unsafe {
                    match (vectors, S::ROWS >= 8) {
                        (2, true) => this.columns::<S, 8, 2>(simd, column, first, out),
                        (2, false) => this.columns::<S, 4, 2>(simd, column, first, out),
                        (_, true) => this.columns::<S, 8, 1>(simd, column, first, out),
                        (_, false) => this.columns::<S, 4, 1>(simd, column, first, out),
                    }
                }
                column += vectors * S::LANES;
            }
        }
    }

    /// All rows of Q vectors from `column` on, P at a time.
    ///
    /// # Safety
    /// P must divide `height`, and the slices must hold all tiles and outputs of a place.
    #[inline(always)]
    unsafe fn columns<S: Simd, const P: usize, const Q: usize>(
        self,
        simd: S,
        column: usize,
        first: bool,
        out: &mut [f32],
    ) {
        let Self { tiles, rows, height, columns, width } = self;
        for row in (0..height).step_by(P) {
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
                for tile in 0..tiles {
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
