//! Steps that move little data: rectifier, sums, zeros around a map, dropout.

use super::program::Map;
use super::simd::{Kernel, Simd};
use crate::nn::plan::DropoutMask;

/// Rows whose sum is added to the total in one go: long sums in f32 lose less when they are sums of short ones.
pub const ROWS_IN_A_SUM: usize = 128;

/// Zeroes `gradient`, `[row, width]`, where the rectified `output` is 0 (if given), and adds its column sums to `bias`.
pub struct BiasGradient<'a> {
    pub output: Option<&'a [f32]>,
    pub gradient: &'a mut [f32],
    /// `[width]`
    pub bias: &'a mut [f32],
}

impl Kernel for BiasGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { output, gradient, bias } = self;
        let (width, len) = (bias.len(), gradient.len());
        assert!(width.is_multiple_of(S::LANES) && len.is_multiple_of(width));
        assert!(output.is_none_or(|output| output.len() >= len));
        for column in (0..width).step_by(S::LANES) {
            for block in (0..len).step_by(ROWS_IN_A_SUM * width) {
                let end = len.min(block + ROWS_IN_A_SUM * width);
                // SAFETY: asserted above: whole vectors in whole rows.
                unsafe {
                    let mut sum = simd.zero();
                    for at in (block + column..end).step_by(width) {
                        let mut value = simd.load(gradient, at);
                        if let Some(output) = output {
                            value = simd.select_gt(simd.load(output, at), simd.zero(), value, simd.zero());
                            simd.store(gradient, at, value);
                        }
                        sum = simd.add(sum, value);
                    }
                    simd.store(bias, column, simd.add(simd.load(bias, column), sum));
                }
            }
        }
    }
}

/// Makes each value of `to` what `with` makes of it and of the value in its place of `from`.
struct EachValue<'a, F> {
    to: &'a mut [f32],
    from: &'a [f32],
    with: F,
}

impl<F: Fn(f32, f32) -> f32> Kernel for EachValue<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { to, from, with } = self;
        for (to, &from) in to.iter_mut().zip(from) {
            *to = with(*to, from);
        }
    }
}

/// `max(x, 0)`
pub fn relu<'a>(input: &'a [f32], out: &'a mut [f32]) -> impl Kernel<Output = ()> {
    EachValue { to: out, from: input, with: |_, x: f32| x.max(0.0) }
}

/// Zeroes `gradient` where the rectified `output` is 0.
pub fn mask_rectified<'a>(output: &'a [f32], gradient: &'a mut [f32]) -> impl Kernel<Output = ()> {
    EachValue { to: gradient, from: output, with: |gradient, output| if output > 0.0 { gradient } else { 0.0 } }
}

/// `to += from`
pub fn sum<'a>(from: &'a [f32], to: &'a mut [f32]) -> impl Kernel<Output = ()> {
    EachValue { to, from, with: |sum, x| sum + x }
}

/// `out = a + b`, then perhaps the rectifier.
pub struct Add<'a> {
    pub a: &'a [f32],
    pub b: &'a [f32],
    pub relu: bool,
    pub out: &'a mut [f32],
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { a, b, relu, out } = self;
        for (out, (&a, &b)) in out.iter_mut().zip(a.iter().zip(b)) {
            *out = if relu { (a + b).max(0.0) } else { a + b };
        }
    }
}

/// `to += from`, as a part of what a kernel does.
#[inline(always)]
pub fn accumulate(from: &[f32], to: &mut [f32]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to += from;
    }
}

/// The rows of one sample of `map` inside the same map with `by` zeros around: pairs of ranges without and with.
fn inner_rows(map: Map, by: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let run = map.width * map.stride;
    let wide = (map.width + 2 * by) * map.stride;
    (0..map.height).map(move |y| (y * run, (y + by) * wide + by * map.stride, run))
}

/// Copies one sample of `map` into the middle of `out`, whose border is zero and stays so.
pub fn pad(input: &[f32], map: Map, by: usize, out: &mut [f32]) {
    for (from, to, run) in inner_rows(map, by) {
        out[to..to + run].copy_from_slice(&input[from..from + run]);
    }
}

/// `input_gradient +=` the middle of `gradient`.
pub fn pad_gradient(gradient: &[f32], map: Map, by: usize, input_gradient: &mut [f32]) {
    for (to, from, run) in inner_rows(map, by) {
        accumulate(&gradient[from..from + run], &mut input_gradient[to..to + run]);
    }
}

/// Calls `f` with the places in two layouts of one sample's every value, in the order height, width, channel.
pub fn repack(from: Map, to: Map, mut f: impl FnMut(usize, usize)) {
    let places = |map: Map| {
        (0..map.positions()).flat_map(move |position| (0..map.channels).map(move |c| position * map.stride + c))
    };
    for (from, to) in places(from).zip(places(to)) {
        f(from, to);
    }
}

/// The mean of each channel over the positions of one sample.
pub fn average(input: &[f32], out: &mut [f32]) {
    let stride = out.len();
    out.fill(0.0);
    for position in input.chunks_exact(stride) {
        accumulate(position, out);
    }
    let share = stride as f32 / input.len() as f32;
    for sum in out {
        *sum *= share;
    }
}

/// Gives each position its share of the gradient.
pub fn average_gradient(gradient: &[f32], input_gradient: &mut [f32]) {
    let stride = gradient.len();
    let share = stride as f32 / input_gradient.len() as f32;
    for position in input_gradient.chunks_exact_mut(stride) {
        for (to, &from) in position.iter_mut().zip(gradient) {
            *to += from * share;
        }
    }
}

/// Multiplies the values of samples of the batch, which lie as `map` says, by their factors.
pub struct Dropout<'a> {
    pub mask: &'a DropoutMask,
    /// The number of the first sample in the batch.
    pub first: usize,
    pub map: Map,
    pub values: &'a mut [f32],
}

impl Kernel for Dropout<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { mask, first, map, values } = self;
        for (sample, values) in (first..).zip(values.chunks_exact_mut(map.len())) {
            for (position, values) in values.chunks_exact_mut(map.stride).enumerate() {
                for (channel, value) in values[..map.channels].iter_mut().enumerate() {
                    *value *= mask.factor(sample, position * map.channels + channel);
                }
            }
        }
    }
}
