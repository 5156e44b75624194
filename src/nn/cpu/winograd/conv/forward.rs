//! The forward pass: patches transformed, multiplied by the transformed weights, and transformed into outputs.

use super::super::super::simd::{Kernel, LANES, Simd};
use super::super::{Ahead, Products, TILES, Transform, VECTORS, column, load_products, of_tile};
use super::{Shape, Square};

/// The forward pass, with the rectifier if `relu`.
pub struct Forward<'a> {
    pub shape: Shape<'a>,
    pub input: &'a [f32],
    /// `[N², phase, channel, width]`, from [`Weights`](super::super::Weights).
    pub weights: &'a [f32],
    pub bias: &'a [f32],
    pub relu: bool,
    pub out: &'a mut [f32],
    /// As long as [`Forward::scratch_len`] says.
    pub scratch: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.shape.tiles.grid().tile {
            3 => self.tiles::<S, 3, 5>(simd),
            _ => self.tiles::<S, 4, 6>(simd),
        }
    }
}

impl Forward<'_> {
    /// How long the scratch memory must be: transformed patches, and products.
    pub const fn scratch_len(shape: &Shape) -> usize {
        shape.tiles.grid().places() * TILES * (shape.depth() + VECTORS * LANES)
    }

    #[inline(always)]
    fn tiles<S: Simd, const M: usize, const N: usize>(self, simd: S) {
        let Self { shape, input, weights, bias, relu, out, scratch } = self;
        let (width, depth) = (shape.width, shape.depth());
        shape.assert_fits::<S>(input.len(), out.len());
        assert!(bias.len() >= width && shape.tiles.grid().tile == M);
        let (patches, products) = scratch.split_at_mut(N * N * TILES * depth);
        let steps = width.div_ceil(VECTORS * S::LANES) * N * N;
        let mut ahead = Ahead::new(out, shape.pieces().len(), steps);
        for piece in shape.pieces() {
            let count = piece.len();
            shape.transform_input::<S, M, N>(simd, &piece, input, patches);
            let matrices = Products { side: N, piece: &piece, a: patches, depth, b: weights, width };
            let mut first = 0;
            while first < width {
                matrices.multiply(simd, first, products, Some(&mut ahead));
                let vectors = matrices.vectors::<S>(first);
                for (number, slot) in piece.tiles() {
                    let square = shape.tiles.outputs(number);
                    for vector in 0..vectors {
                        let channel = first + vector * S::LANES;
                        let at = [width, channel];
                        // SAFETY: `Products::multiply` has asserted that the products are there, `assert_fits` the outputs.
                        unsafe {
                            let products = of_tile::<S>(products, slot, vector);
                            let bias = simd.load(bias, channel);
                            with_sides!(square.outputs::<S, M, N>(simd, products, count, bias, relu, out, at));
                        }
                    }
                }
                first += vectors * S::LANES;
            }
        }
    }
}

impl Square {
    /// Transforms the `products` of a tile, `count` tiles apart, into outputs.
    ///
    /// # Safety
    /// `products` must hold them, `out` what of the square is inside, and `whole` be as it says.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "what the operation consists of")]
    unsafe fn outputs<S: Simd, const HM: usize, const H: usize, const WM: usize, const W: usize>(
        &self,
        simd: S,
        whole: bool,
        products: &[f32],
        count: usize,
        bias: S::V,
        relu: bool,
        out: &mut [f32],
        [width, channel]: [usize; 2],
    ) {
        let places = self.places(width, channel).hidden();
        let mut rows = [[simd.zero(); WM]; H];
        for y in 0..H {
            let places = Transform::<WM, W>::row(Transform::<HM, H>::place(y));
            // SAFETY: the caller's promise.
            rows[y] = Transform::<WM, W>::output(simd, &unsafe { load_products(simd, products, count, places) });
        }
        for x in 0..WM {
            let values = Transform::<HM, H>::output(simd, &column(&rows, x));
            for y in 0..HM {
                let value = simd.add(values[y], bias);
                let value = if relu { simd.max(value, simd.zero()) } else { value };
                if self.holds(y, x, whole) {
                    // SAFETY: the caller's promise.
                    unsafe { simd.store(out, places.at(y, x), value) };
                }
            }
        }
    }
}
