//! The backward pass of a chunk. Each step adds to the gradient of the map that it read, because others may have read it too
//! (the first to do so begins anew), or makes of the gradient of what it wrote that of what it read, where they share a
//! buffer.

use std::ops::Range;

use super::super::affine::{self, Windows};
use super::super::batch_norm::{self, Slopes};
use super::super::buffer::Buffer;
use super::super::max_pool::{self, MaxPool};
use super::super::pointwise::{self, BiasGradient};
use super::super::program::{Affine, ConvPool, Op, Step};
use super::super::sparse::{ImageWeightGradient, InputGradient, PatchGradient, WeightGradient, unpool};
use super::super::weights::Weights;
use super::super::winograd::conv::{self, After};
use super::{Chunk, Context, pair};

impl Chunk {
    /// Runs `steps` backward and adds to the gradients of the `parameters`. A batch norm only gets as far as those: see
    /// [`Chunk::backward_through_norm`].
    pub fn backward(&mut self, context: &Context, steps: Range<usize>, parameters: &mut [Buffer]) {
        for index in steps.rev() {
            self.backward_step(context, index, None, parameters);
        }
    }

    /// Brings the gradient from behind step `norm`, a batch norm, back to the start of the `stage` before it, once `slopes`
    /// are those of the whole batch.
    pub fn backward_through_norm(
        &mut self,
        context: &Context,
        norm: &Step,
        slopes: &Slopes,
        stage: Range<usize>,
        parameters: &mut [Buffer],
    ) {
        let before = context.program.takes_over(norm);
        if before.is_none() {
            self.norm_input_gradient(context, norm, slopes);
        }
        self.repeat(context, stage.clone());
        for index in stage.rev() {
            let slopes = (before == Some(index)).then_some(slopes);
            self.backward_step(context, index, slopes, parameters);
        }
    }

    /// Runs step `index` backward as if the chunk were the whole batch: a batch norm needs nobody else's sums then.
    pub fn backward_alone(&mut self, context: &Context, index: usize, parameters: &mut [Buffer]) {
        self.backward(context, index..index + 1, parameters);
        let step = &context.program.steps[index];
        if let Op::BatchNorm { parameter, .. } = step.op {
            let [scale, shift] = [parameter, parameter + 1].map(|parameter| &*parameters[parameter]);
            self.norm_input_gradient(context, step, &context.slopes(index, scale, shift));
        }
    }

    /// Runs step `index` backward, after the batch norm with these `slopes` if it takes that over.
    fn backward_step(&mut self, context: &Context, index: usize, slopes: Option<&Slopes>, parameters: &mut [Buffer]) {
        let Context { program, weights, .. } = *context;
        let (step, weights) = (&program.steps[index], &weights[index]);
        if !program.maps[step.output].trained {
            return;
        }
        // By-value steps and Winograd's see to it themselves.
        if !step.is_by_value() && !matches!(step.op, Op::Winograd { .. }) {
            let map = program.maps[step.input];
            if map.trained && program.begins(step, step.input) {
                self.gradients[step.input][..self.samples.len() * map.len()].fill(0.0);
            }
        }
        match &step.op {
            Op::Affine { affine, relu } => self.affine_gradient(context, step, affine, *relu, weights, parameters),
            Op::Winograd { affine, tiles, .. } => {
                self.winograd_gradient(context, step, affine, tiles, slopes, weights, parameters);
            }
            Op::ConvPool { affine, kind } => self.conv_pool_gradient(context, step, affine, *kind, weights, parameters),
            Op::BatchNorm { parameter, other, relu, .. } => {
                if let &Some(other) = other {
                    if *relu {
                        self.rectifier_gradient(context, step);
                    }
                    self.hand_over(context, step, other, true);
                }
                let len = self.samples.len() * program.maps[step.output].len();
                let [scale, shift] = parameters.get_disjoint_mut([*parameter, *parameter + 1]).expect("two parameters");
                context.level.run(batch_norm::ParameterGradient {
                    normal: &weights.forward.normal,
                    relu: *relu && other.is_none(),
                    input: &self.maps[step.input][..len],
                    gradient: &mut self.gradients[program.slot(step.output)][..len],
                    scale,
                    shift,
                });
            }
            Op::Relu | Op::Dropout { .. } | Op::Add { .. } => self.gradient_by_value(context, step),
            Op::Pad { .. } | Op::Repack | Op::MaxPool { .. } | Op::Average => self.gradient_of_moves(context, step),
        }
    }

    /// Steps whose gradient goes back value by value.
    fn gradient_by_value(&mut self, context: &Context, step: &Step) {
        match step.op {
            Op::Relu | Op::Add { relu: true, .. } => self.rectifier_gradient(context, step),
            Op::Dropout { rate, layer } => {
                let map = context.program.maps[step.output];
                let gradient = &mut self.gradients[context.program.slot(step.output)][..self.samples.len() * map.len()];
                if let Some(mask) = context.mask(rate, layer, map.positions() * map.channels) {
                    let (mask, first) = (&mask, self.samples.start);
                    context.level.run(pointwise::Dropout { mask, first, map, values: gradient });
                }
            }
            _ => {}
        }
        for (number, input) in step.inputs().enumerate() {
            // A map can be added to itself.
            let is_first = step.inputs().position(|other| other == input) == Some(number);
            self.hand_over(context, step, input, is_first);
        }
    }

    /// Zeroes the gradient of the output where that is rectified.
    fn rectifier_gradient(&mut self, context: &Context, step: &Step) {
        let len = self.samples.len() * context.program.maps[step.output].len();
        let gradient = &mut self.gradients[context.program.slot(step.output)][..len];
        context.level.run(pointwise::mask_rectified(&self.maps[step.output], gradient));
    }

    /// Makes the gradient of the output that of `input`, or adds it to that, unless they are the same buffer; whether the step
    /// comes to this input for the first time.
    fn hand_over(&mut self, context: &Context, step: &Step, input: usize, is_first: bool) {
        let program = context.program;
        let len = self.samples.len() * program.maps[step.output].len();
        if program.maps[input].trained && !program.in_place(step, input) {
            let (to, from) = pair(&mut self.gradients, input, program.slot(step.output));
            if is_first && program.begins(step, input) {
                to[..len].copy_from_slice(&from[..len]);
            } else {
                context.level.run(pointwise::sum(&from[..len], &mut to[..len]));
            }
        }
    }

    /// Steps that bring values elsewhere.
    fn gradient_of_moves(&mut self, context: &Context, step: &Step) {
        let (from, to) = (context.program.maps[step.input], context.program.maps[step.output]);
        if !from.trained {
            return;
        }
        let count = self.samples.len();
        let (input_gradient, gradient) = pair(&mut self.gradients, step.input, context.program.slot(step.output));
        let (input_gradient, gradient) = (&mut input_gradient[..count * from.len()], &gradient[..count * to.len()]);
        if let Op::MaxPool { size, stride } = step.op {
            return context.level.run(max_pool::Backward {
                pool: MaxPool { size, stride, input: from, output: to },
                input: &self.maps[step.input][..count * from.len()],
                output: &self.maps[step.output][..count * to.len()],
                gradient,
                input_gradient,
            });
        }
        let samples = gradient.chunks_exact(to.len()).zip(input_gradient.chunks_exact_mut(from.len()));
        for (gradient, input_gradient) in samples {
            match step.op {
                Op::Pad { by } => pointwise::pad_gradient(gradient, from, by, input_gradient),
                Op::Average => pointwise::average_gradient(gradient, input_gradient),
                _ => pointwise::repack(from, to, |from, to| input_gradient[from] += gradient[to]),
            }
        }
    }

    fn affine_gradient(
        &mut self,
        context: &Context,
        step: &Step,
        affine: &Affine,
        relu: bool,
        weights: &Weights,
        parameters: &mut [Buffer],
    ) {
        let count = self.samples.len();
        let windows = Windows::of(affine, count);
        let width = affine.outputs_padded;
        let len = count * affine.rows * width;
        let (input_gradient, gradient) = pair(&mut self.gradients, step.input, context.program.slot(step.output));
        let output = relu.then_some(&self.maps[step.output][..len]);
        let gradient = &mut gradient[..len];
        context.level.run(BiasGradient { output, gradient, bias: &mut parameters[affine.parameter + 1] });
        context.level.run(affine::WeightGradient {
            windows,
            input: &self.maps[step.input],
            gradient,
            width,
            weight_gradient: &mut parameters[affine.parameter],
        });
        if context.program.maps[step.input].trained {
            context.level.run(affine::InputGradient {
                windows,
                gradient,
                width,
                outputs: affine.outputs,
                weights: &weights.backward.matrix,
                input_gradient,
            });
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what the operation consists of")]
    fn winograd_gradient(
        &mut self,
        context: &Context,
        step: &Step,
        affine: &Affine,
        tiles: &conv::Tiles,
        slopes: Option<&Slopes>,
        weights: &Weights,
        parameters: &mut [Buffer],
    ) {
        let shape = conv::Shape::of(affine, tiles, self.samples.len());
        let len = self.samples.len() * context.program.maps[step.output].len();
        let (input_gradient, gradient) = pair(&mut self.gradients, step.input, context.program.slot(step.output));
        let output = &self.maps[step.output][..len];
        let after = match (slopes, &step.op) {
            (Some(slopes), _) => After::Norm { output, slopes },
            (None, Op::Winograd { relu: true, .. }) => After::Rectifier { output },
            _ => After::Nothing,
        };
        let gradient = &gradient[..len];
        let input_gradient = context.program.maps[step.input].trained.then_some(&mut **input_gradient);
        let (input, weights) = (&*self.maps[step.input], &*weights.backward.matrix);
        let [weight_gradient, bias_gradient] =
            parameters.get_disjoint_mut([affine.parameter, affine.parameter + 1]).expect("two parameters");
        self.tools.scratch.reserve(conv::Backward::scratch_len(&shape));
        let scratch = &mut *self.tools.scratch;
        context.level.run(conv::Backward {
            shape,
            input,
            gradient,
            after,
            weights,
            weight_gradient,
            bias_gradient,
            input_gradient,
            begins: context.program.begins(step, step.input),
            scratch,
        });
    }

    fn conv_pool_gradient(
        &mut self,
        context: &Context,
        step: &Step,
        affine: &Affine,
        kind: ConvPool,
        weights: &Weights,
        parameters: &mut [Buffer],
    ) {
        let len = self.samples.len() * context.program.maps[step.output].len();
        context.level.run(BiasGradient {
            output: Some(&self.maps[step.output][..len]),
            gradient: &mut self.gradients[context.program.slot(step.output)][..len],
            bias: &mut parameters[affine.parameter + 1],
        });
        let weight_gradient = &mut parameters[affine.parameter];
        if affine.vectorised() {
            self.sparse_gradient(context, step, affine, kind, weights, weight_gradient);
        } else {
            self.image_gradient(context, step, affine, weight_gradient);
        }
    }

    /// A fused convolution and pooling after other layers: sample by sample, over what came through.
    fn sparse_gradient(
        &mut self,
        context: &Context,
        step: &Step,
        affine: &Affine,
        kind: ConvPool,
        weights: &Weights,
        weight_gradient: &mut [f32],
    ) {
        let (from, to) = (context.program.maps[step.input], context.program.maps[step.output]);
        let (width, outputs) = (affine.outputs_padded, affine.outputs);
        let windows = Windows::of(affine, 1);
        let (input_gradient, gradient) = pair(&mut self.gradients, step.input, context.program.slot(step.output));
        for sample in 0..self.samples.len() {
            let gradient = &gradient[sample * to.len()..][..to.len()];
            let codes = &self.codes[step.output][sample * to.len()..][..to.len()];
            let input = &self.maps[step.input][sample * from.len()..][..from.len()];
            let hits = &mut self.tools.hits;
            hits.collect(gradient, codes, windows.starts, width);
            context.level.run(WeightGradient { windows, input, hits, outputs, weight_gradient });
            if !from.trained {
                continue;
            }
            let input_gradient = &mut input_gradient[sample * from.len()..][..from.len()];
            match kind {
                ConvPool::Winograd => context.level.run(PatchGradient {
                    starts: windows.starts,
                    row: affine.step,
                    channels: affine.stride,
                    gradient,
                    codes,
                    width,
                    weights: &weights.backward.matrix,
                    input_gradient,
                    hits: &mut self.tools.cell_hits,
                }),
                ConvPool::Direct => {
                    let weights = &weights.backward.matrix;
                    context.level.run(InputGradient { windows, hits, outputs, weights, input_gradient });
                }
            }
        }
    }

    /// A fused convolution and pooling of the image itself, which needs no gradient.
    fn image_gradient(&mut self, context: &Context, step: &Step, affine: &Affine, weight_gradient: &mut [f32]) {
        let count = self.samples.len();
        let windows = Windows::of(affine, count);
        let width = affine.outputs_padded;
        let len = count * context.program.maps[step.output].len();
        let input = &*self.maps[step.input];
        let gradient = &self.gradients[context.program.slot(step.output)][..len];
        let codes = &self.codes[step.output][..len];
        if affine.fits_patch() {
            return context.level.run(ImageWeightGradient {
                starts: windows.starts,
                row: affine.step,
                input,
                gradient,
                codes,
                width,
                weight_gradient,
            });
        }
        self.tools.scratch.reserve(4 * len);
        let rows = &mut self.tools.scratch[..4 * len];
        unpool(gradient, codes, width, rows);
        context.level.run(affine::WeightGradient { windows, input, gradient: rows, width, weight_gradient });
    }

    /// The second half of a batch norm's backward step.
    fn norm_input_gradient(&mut self, context: &Context, norm: &Step, slopes: &Slopes) {
        let from = context.program.maps[norm.input];
        if !from.trained {
            return;
        }
        let len = self.samples.len() * from.len();
        context.level.run(batch_norm::InputGradient {
            slopes,
            input: &self.maps[norm.input][..len],
            gradient: &mut self.gradients[context.program.slot(norm.output)][..len],
        });
        self.hand_over(context, norm, norm.input, true);
    }
}
