//! The parameters of a step in the layouts that the kernels want, rebuilt after every update.

use std::cmp::Reverse;

use super::buffer::Buffer;
use super::program::{Affine, ConvPool, Map, Op, Program, Step};
use super::simd::{Kernel, LANES, Level, Simd};
use super::team::Team;
use super::winograd;
use crate::nn::plan::BATCH_NORM_EPSILON;

/// What the parameters are needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The forward pass alone.
    Inference,
    /// Forward and backward.
    Training,
}

/// The parameters of one step, whatever it is; what it does not have stays empty.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    pub forward: Forward,
    pub backward: Backward,
}

/// What the forward pass needs.
#[derive(Clone, Debug, Default)]
pub struct Forward {
    /// `[depth, width]`, for Winograd's algorithm transformed to `[place, phase, channel, width]` (one phase, or four in steps
    /// of 2).
    pub matrix: Buffer,
    /// `[width]`
    pub bias: Buffer,
    pub normal: Normal,
    /// The matrix before the transform.
    plain: Buffer,
}

/// What the backward pass needs beside it.
#[derive(Clone, Debug, Default)]
pub struct Backward {
    /// `[width, depth]`; for Winograd's algorithm transformed to `[place, width, phase, channel]`, with a pool
    /// `[block of LANES channels, width, 9, LANES]`.
    pub matrix: Buffer,
    /// The matrix before the transform.
    plain: Buffer,
}

/// Batch norm as `(x − mean) · factor · scale + shift`, each `[width]`.
#[derive(Clone, Debug, Default)]
pub struct Normal {
    pub mean: Buffer,
    /// 1 / √(variance + ε)
    pub factor: Buffer,
    pub scale: Buffer,
    pub shift: Buffer,
}

impl Normal {
    /// Features, with the padding between them.
    pub fn width(&self) -> usize {
        self.mean.len()
    }

    /// That all of them are as many: what makes unchecked loads of them sound.
    pub fn assert_width(&self) {
        assert!([&self.factor, &self.scale, &self.shift].iter().all(|values| values.len() == self.width()));
    }

    /// Takes over scale, shift, mean and variance.
    fn load(&mut self, features: Features, parameters: &[&[f32]]) {
        let Self { mean, factor, scale, shift } = self;
        for (buffer, values) in [scale, shift, mean, factor].into_iter().zip(parameters) {
            buffer.reserve(features.width());
            features.spread(values, buffer);
        }
        self.factor.iter_mut().for_each(|variance| *variance = inverse_deviation(f64::from(*variance)));
    }
}

/// Takes over the `parameters` of all steps of `program`: one of `weights` for each.
pub fn load(team: &Team, level: Level, program: &Program, parameters: &[&[f32]], pass: Pass, weights: &mut [Weights]) {
    let mut halves = Vec::new();
    for (step, Weights { forward, backward }) in program.steps.iter().zip(weights) {
        halves.push((step, Half::Forward(forward)));
        if pass == Pass::Training && program.maps[step.input].trained {
            halves.push((step, Half::Backward(backward)));
        }
    }
    // The longest first, so that no thread begins with it when the others are done.
    halves
        .sort_by_key(|(step, _)| Reverse(step.op.affine().map_or(0, |affine| affine.depth() * affine.outputs_padded)));
    team.run(halves.into_iter(), |_, (step, half)| match half {
        Half::Forward(forward) => forward.load(step, program.maps[step.input], parameters, level),
        Half::Backward(backward) => backward.load(step, parameters, level),
    });
}

/// What one task of [`load`] fills.
enum Half<'a> {
    Forward(&'a mut Forward),
    Backward(&'a mut Backward),
}

impl Forward {
    fn load(&mut self, step: &Step, map: Map, parameters: &[&[f32]], level: Level) {
        if let Op::BatchNorm { parameter, flat, .. } = step.op {
            self.normal.load(Features::of(map, flat), &parameters[parameter..]);
        }
        let Self { matrix, bias, plain, .. } = self;
        if let Some(affine) = step.op.affine() {
            let (outputs, width) = (affine.outputs, affine.outputs_padded);
            bias.reserve(width);
            bias[..outputs].copy_from_slice(parameters[affine.parameter + 1]);
            let weights = parameters[affine.parameter];
            match &step.op {
                Op::Winograd { tiles, .. } => {
                    let grid = tiles.grid();
                    let depth = grid.phases() * affine.stride;
                    plain.reserve(9 * depth * width);
                    let place = |tap| grid.place_of_tap(tap);
                    level.run(Transposed { affine, weights, place, out: plain });
                    transform(plain, depth * width, grid.tile, level, matrix);
                }
                Op::ConvPool { kind: ConvPool::Winograd, .. } => {
                    plain.reserve(affine.depth() * width);
                    level.run(Transposed { affine, weights, place: |tap| tap, out: plain });
                    transform(plain, affine.stride * width, 2, level, matrix);
                }
                _ => {
                    matrix.reserve(affine.depth() * width);
                    level.run(Transposed { affine, weights, place: |tap| tap, out: matrix });
                }
            }
        }
    }
}

impl Backward {
    fn load(&mut self, step: &Step, parameters: &[&[f32]], level: Level) {
        let Some(affine) = step.op.affine() else { return };
        let weights = parameters[affine.parameter];
        match &step.op {
            Op::Winograd { tiles, .. } => {
                let grid = tiles.grid();
                let depth = grid.phases() * affine.stride;
                self.plain.reserve(9 * depth * affine.outputs_padded);
                padded_rows(affine, weights, 9 * grid.phases(), |tap| grid.place_of_tap(tap), &mut self.plain);
                transform(&self.plain, depth, grid.tile, level, &mut self.matrix);
            }
            Op::ConvPool { kind: ConvPool::Winograd, .. } => patches(affine, weights, &mut self.matrix),
            _ => {
                self.matrix.reserve(affine.depth() * affine.outputs_padded);
                padded_rows(affine, weights, affine.taps, |tap| tap, &mut self.matrix);
            }
        }
    }
}

/// `weights`, `[output, tap, channel]`, with the channels padded and each tap at its `place` of so many `places`.
fn padded_rows(affine: &Affine, weights: &[f32], places: usize, place: impl Fn(usize) -> usize, out: &mut [f32]) {
    let &Affine { channels, stride, taps, .. } = affine;
    for (from, to) in weights.chunks_exact(taps * channels).zip(out.chunks_exact_mut(places * stride)) {
        for (tap, from) in from.chunks_exact(channels).enumerate() {
            to[place(tap) * stride..][..channels].copy_from_slice(from);
        }
    }
}

/// The same in blocks of LANES channels.
fn patches(affine: &Affine, weights: &[f32], out: &mut Buffer) {
    let &Affine { outputs, outputs_padded: width, channels, .. } = affine;
    out.reserve(9 * affine.stride * width);
    for first in (0..channels).step_by(LANES) {
        let count = LANES.min(channels - first);
        let block = &mut out[first * 9 * width..][..9 * width * LANES];
        let rows = weights.chunks_exact(channels).take(9 * outputs);
        for (to, from) in block.chunks_exact_mut(LANES).zip(rows) {
            // Whole lanes are moved without a call.
            match (to.first_chunk_mut::<LANES>(), from[first..].first_chunk::<LANES>()) {
                (Some(to), Some(from)) => *to = *from,
                _ => to[..count].copy_from_slice(&from[first..first + count]),
            }
        }
    }
}

/// The weights `[output, tap, channel]` as `[tap, channel, output]`, each tap at its place.
struct Transposed<'a, F> {
    affine: &'a Affine,
    weights: &'a [f32],
    place: F,
    /// `[depth, width]`
    out: &'a mut [f32],
}

impl<F: Fn(usize) -> usize> Kernel for Transposed<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { affine, weights, place, out } = self;
        let &Affine { outputs, outputs_padded: width, mut taps, mut channels, mut stride, .. } = affine;
        let len = taps * channels;
        if channels == stride && (0..taps).all(|tap| place(tap) == tap) {
            // In their order and without padding they are one long run: the taps of an image have but one channel each.
            (taps, channels, stride) = (1, len, len);
        }
        // By blocks: a transposition that goes row by row misses the cache at every value.
        for output in (0..outputs).step_by(S::LANES) {
            for tap in 0..taps {
                for channel in (0..channels).step_by(S::LANES) {
                    let (from, to) =
                        (output * len + tap * channels + channel, (place(tap) * stride + channel) * width + output);
                    let (from, to) = (&weights[from..], &mut out[to..]);
                    let (rows, columns) = (S::LANES.min(outputs - output), S::LANES.min(channels - channel));
                    if rows == S::LANES && columns == S::LANES {
                        assert!(from.len() >= (rows - 1) * len + columns && to.len() >= (columns - 1) * width + rows);
                        // SAFETY: just asserted.
                        unsafe { simd.transpose(from, len, to, width) };
                        continue;
                    }
                    for column in 0..columns {
                        for row in 0..rows {
                            to[column * width + row] = from[row * len + column];
                        }
                    }
                }
            }
        }
    }
}

/// Winograd's transform of `weights`, `[row, 9, len]`, for tiles of `tile` rows and columns: `[place, row, len]`.
fn transform(weights: &[f32], len: usize, tile: usize, level: Level, transformed: &mut Buffer) {
    let places = (tile + 2) * (tile + 2);
    transformed.reserve(places * weights.len() / 9);
    level.run(winograd::Weights { tile, weights, len, transformed });
}

/// 1 / √(variance + ε)
pub fn inverse_deviation(variance: f64) -> f32 {
    (1.0 / (variance + BATCH_NORM_EPSILON).sqrt()) as f32
}

/// How the features of batch norm lie in a map: one for each channel, or one for each value of a vector.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    channels: usize,
    stride: usize,
    /// Runs of `channels` features, `stride` apart.
    runs: usize,
}

impl Features {
    pub const fn of(map: Map, flat: bool) -> Self {
        Self { channels: map.channels, stride: map.stride, runs: if flat { map.positions() } else { 1 } }
    }

    /// Features with the padding between them; a sample is a whole number of rows of this length.
    pub const fn width(self) -> usize {
        self.runs * self.stride
    }

    /// Features to their places in a row.
    pub fn spread(self, features: &[f32], row: &mut [f32]) {
        for (from, to) in features.chunks_exact(self.channels).zip(row.chunks_exact_mut(self.stride)) {
            to[..self.channels].copy_from_slice(from);
        }
    }

    /// Features from their places in a row.
    pub fn collect(self, row: &[f32]) -> Vec<f32> {
        row.chunks_exact(self.stride).flat_map(|run| &run[..self.channels]).copied().collect()
    }
}
