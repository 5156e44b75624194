//! The forward pass of a chunk, step by step.

use std::ops::Range;

use super::super::affine::{self, Windows};
use super::super::batch_norm;
use super::super::conv_pool::Direct;
use super::super::max_pool::{self, MaxPool};
use super::super::pointwise;
use super::super::program::{Affine, ConvPool, Op, Step};
use super::super::weights::{Features, Weights};
use super::super::winograd::{conv, pooled};
use super::{Chunk, Context, pair};

impl Chunk {
    /// Runs `steps`.
    pub fn forward(&mut self, context: &Context, steps: Range<usize>) {
        for index in steps {
            self.forward_step(context, &context.program.steps[index], &context.weights[index]);
        }
    }

    /// Runs the repeated ones among `steps` again.
    pub fn repeat(&mut self, context: &Context, steps: Range<usize>) {
        for &index in context.program.repeated.iter().filter(|index| steps.contains(index)) {
            self.forward(context, index..index + 1);
        }
    }

    fn forward_step(&mut self, context: &Context, step: &Step, weights: &Weights) {
        let (from, to) = (context.program.maps[step.input], context.program.maps[step.output]);
        let count = self.samples.len();
        if let Op::ConvPool { affine, kind } = &step.op {
            return self.conv_pool(context, step, affine, *kind, weights);
        }
        if let Op::Winograd { affine, tiles, relu } = &step.op {
            return self.winograd(context, step, affine, tiles, *relu, weights);
        }
        let (before, after) = self.maps.split_at_mut(step.output);
        let before = |map: usize| &before[map][..count * context.program.maps[map].len()];
        let (input, out) = (before(step.input), &mut after[0][..count * to.len()]);
        let samples = || input.chunks_exact(from.len()).zip(0..);
        match &step.op {
            Op::Affine { affine, relu } => context.level.run(affine::Forward {
                windows: Windows::of(affine, count),
                input,
                weights: &weights.forward.matrix,
                bias: &weights.forward.bias,
                width: affine.outputs_padded,
                relu: *relu,
                out,
            }),
            Op::BatchNorm { other, relu, .. } => context.level.run(batch_norm::Forward {
                normal: &weights.forward.normal,
                other: other.map(before),
                relu: *relu,
                input,
                out,
            }),
            Op::Add { other, relu } => {
                context.level.run(pointwise::Add { a: input, b: before(*other), relu: *relu, out });
            }
            Op::Relu => context.level.run(pointwise::relu(input, out)),
            Op::Dropout { rate, layer } => {
                out.copy_from_slice(input);
                if let Some(mask) = context.mask(*rate, *layer, to.positions() * to.channels) {
                    let (mask, first) = (&mask, self.samples.start);
                    context.level.run(pointwise::Dropout { mask, first, map: to, values: out });
                }
            }
            Op::Pad { by } => {
                samples()
                    .zip(out.chunks_exact_mut(to.len()))
                    .for_each(|((x, _), out)| pointwise::pad(x, from, *by, out));
            }
            Op::Repack => {
                for ((x, _), out) in samples().zip(out.chunks_exact_mut(to.len())) {
                    pointwise::repack(from, to, |from, to| out[to] = x[from]);
                }
            }
            Op::MaxPool { size, stride } => {
                let pool = MaxPool { size: *size, stride: *stride, input: from, output: to };
                context.level.run(max_pool::Forward { pool, input, out });
            }
            Op::Average => {
                samples().zip(out.chunks_exact_mut(to.len())).for_each(|((x, _), out)| pointwise::average(x, out));
            }
            Op::ConvPool { .. } | Op::Winograd { .. } => unreachable!("handled above"),
        }
    }

    fn conv_pool(&mut self, context: &Context, step: &Step, affine: &Affine, kind: ConvPool, weights: &Weights) {
        let windows = Windows::of(affine, self.samples.len());
        let (input, out) = pair(&mut self.maps, step.input, step.output);
        let codes = &mut self.codes[step.output];
        let (width, bias) = (affine.outputs_padded, &weights.forward.bias);
        match kind {
            ConvPool::Direct => {
                let (image_patch, weights) = (affine.fits_patch() && affine.stride == 1, &weights.forward.matrix);
                context.level.run(Direct { windows, image_patch, input, weights, bias, width, out, codes });
            }
            ConvPool::Winograd => {
                self.tools.scratch.reserve(pooled::scratch_len(affine.stride));
                context.level.run(pooled::Forward {
                    starts: windows.starts,
                    row: affine.step,
                    channels: affine.stride,
                    input,
                    weights: &weights.forward.matrix,
                    bias,
                    width,
                    out,
                    codes,
                    scratch: &mut self.tools.scratch,
                });
            }
        }
    }

    fn winograd(
        &mut self,
        context: &Context,
        step: &Step,
        affine: &Affine,
        tiles: &conv::Tiles,
        relu: bool,
        weights: &Weights,
    ) {
        let shape = conv::Shape::of(affine, tiles, self.samples.len());
        let (input, out) = pair(&mut self.maps, step.input, step.output);
        let (weights, bias) = (&*weights.forward.matrix, &*weights.forward.bias);
        self.tools.scratch.reserve(conv::Forward::scratch_len(&shape));
        let scratch = &mut *self.tools.scratch;
        context.level.run(conv::Forward { shape, input, weights, bias, relu, out, scratch });
    }

    /// Sums up the map that `step`, a batch norm, reads.
    pub fn statistics(&mut self, context: &Context, step: &Step) {
        let Op::BatchNorm { flat, .. } = step.op else { return };
        let map = context.program.maps[step.input];
        self.sums.clear();
        self.sums.resize(2 * Features::of(map, flat).width(), 0.0);
        let input = &self.maps[step.input][..self.samples.len() * map.len()];
        context.level.run(batch_norm::Statistics { input, sums: &mut self.sums });
    }
}
