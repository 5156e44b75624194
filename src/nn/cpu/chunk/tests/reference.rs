//! What a step computes, by loops in f64.

use super::{Case, Results, SAMPLES, STEP};
use crate::arch::DropoutRate;
use crate::nn::cpu::program::{Affine, Map, Op};
use crate::nn::cpu::winograd::conv::Grid;
use crate::nn::plan::{BATCH_NORM_EPSILON, DropoutMask};

/// One output position of a convolution with zeros around its input.
#[derive(Clone, Copy)]
struct Row {
    sample: usize,
    y: usize,
    x: usize,
    grid: Grid,
}

impl Case<'_> {
    /// Output and gradients.
    #[expect(clippy::too_many_lines, reason = "one arm for each kind of step")]
    pub fn reference(&self) -> Results {
        let (from, to) = (self.input(), self.output());
        let x = &self.maps[self.step.input];
        let mut results = Results {
            output: vec![0.0; SAMPLES * to.len()],
            maps: vec![Vec::new(); self.program.maps.len()],
            parameters: self.parameters.iter().map(|values| vec![0.0; values.len()]).collect(),
        };
        let mut slopes: Vec<f64> = self.gradient.iter().copied().map(f64::from).collect();
        let mut input_gradient = vec![0.0; SAMPLES * from.len()];
        let value = |at: usize| f64::from(x[at]);
        let rectify = |relu: bool, output: &mut [f64], slopes: &mut [f64]| {
            for (output, slope) in output.iter_mut().zip(slopes).filter(|(output, _)| relu && **output <= 0.0) {
                (*output, *slope) = (0.0, 0.0);
            }
        };
        match &self.step.op {
            Op::Affine { affine, relu } => {
                for row in 0..SAMPLES * affine.rows {
                    for output in 0..affine.outputs {
                        results.output[row * to.stride + output] = self.window(affine, row, output);
                    }
                }
                rectify(*relu, &mut results.output, &mut slopes);
                for row in 0..SAMPLES * affine.rows {
                    for output in 0..affine.outputs {
                        let slope = slopes[row * to.stride + output];
                        self.window_gradient(affine, row, output, slope, &mut input_gradient, &mut results.parameters);
                    }
                }
            }
            Op::Winograd { affine, tiles, relu } => {
                let row = |sample, y, x| Row { sample, y, x, grid: *tiles.grid() };
                each_position(to, |sample, y, x, output| {
                    let sum = self
                        .products(affine, row(sample, y, x), output)
                        .map(|[at, weight]| value(at) * f64::from(self.parameters[affine.parameter][weight]));
                    results.output[place(to, sample, y, x, output)] =
                        sum.sum::<f64>() + f64::from(self.parameters[affine.parameter + 1][output]);
                });
                rectify(*relu, &mut results.output, &mut slopes);
                each_position(to, |sample, y, x, output| {
                    let slope = slopes[place(to, sample, y, x, output)];
                    for [at, weight] in self.products(affine, row(sample, y, x), output) {
                        input_gradient[at] += slope * f64::from(self.parameters[affine.parameter][weight]);
                        results.parameters[affine.parameter][weight] += slope * value(at);
                    }
                    results.parameters[affine.parameter + 1][output] += slope;
                });
            }
            Op::ConvPool { affine, .. } => {
                for cell in 0..SAMPLES * affine.rows / 4 {
                    for output in 0..affine.outputs {
                        let four = [0, 1, 2, 3].map(|i| self.window(affine, 4 * cell + i, output));
                        let best = four.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                        let first = four.iter().position(|&value| value == best).expect("one of them");
                        let at = cell * to.stride + output;
                        results.output[at] = best.max(0.0);
                        let slope = if best > 0.0 { slopes[at] } else { 0.0 };
                        let row = 4 * cell + first;
                        self.window_gradient(affine, row, output, slope, &mut input_gradient, &mut results.parameters);
                    }
                }
            }
            Op::Pad { by } => each_position(from, |sample, y, column, channel| {
                let inner = place(to, sample, y + by, column + by, channel);
                let at = place(from, sample, y, column, channel);
                results.output[inner] = value(at);
                input_gradient[at] = slopes[inner];
            }),
            Op::Repack => {
                let mut places = Vec::new();
                each_position(to, |sample, y, column, channel| places.push(place(to, sample, y, column, channel)));
                let mut next = places.into_iter();
                each_position(from, |sample, y, column, channel| {
                    let (at, to) = (place(from, sample, y, column, channel), next.next().expect("as many values"));
                    results.output[to] = value(at);
                    input_gradient[at] = slopes[to];
                });
            }
            Op::MaxPool { size, stride } => each_position(to, |sample, y, column, channel| {
                let window = (0..size * size)
                    .map(|i| place(from, sample, y * stride + i / size, column * stride + i % size, channel));
                let best = window.clone().map(value).fold(f64::NEG_INFINITY, f64::max);
                let out = place(to, sample, y, column, channel);
                results.output[out] = best;
                let first = window.into_iter().find(|&at| value(at) == best).expect("one of them");
                input_gradient[first] += slopes[out];
            }),
            Op::Average => each_position(from, |sample, y, column, channel| {
                let (at, out) = (place(from, sample, y, column, channel), place(to, sample, 0, 0, channel));
                results.output[out] += value(at) / from.positions() as f64;
                input_gradient[at] = slopes[out] / from.positions() as f64;
            }),
            Op::Relu => {
                results.output = x.iter().copied().map(f64::from).collect();
                rectify(true, &mut results.output, &mut slopes);
                input_gradient.clone_from(&slopes);
            }
            Op::Dropout { rate, layer } => {
                let rate = if let DropoutRate::Fixed(rate) = rate { *rate } else { STEP.dropout };
                let mask = DropoutMask::new(&STEP, *layer, rate, to.positions() * to.channels);
                each_position(to, |sample, y, column, channel| {
                    let at = place(to, sample, y, column, channel);
                    let factor = mask.factor(sample, (y * to.width + column) * to.channels + channel);
                    results.output[at] = value(at) * f64::from(factor);
                    input_gradient[at] = slopes[at] * f64::from(factor);
                });
            }
            Op::Add { other, relu } => {
                let sums = x.iter().zip(&self.maps[*other]).map(|(a, b)| f64::from(a + b));
                results.output = sums.collect();
                rectify(*relu, &mut results.output, &mut slopes);
                input_gradient.clone_from(&slopes);
                if self.program.maps[*other].trained {
                    results.maps[*other].clone_from(&slopes);
                }
            }
            Op::BatchNorm { parameter, flat, other, relu } => {
                let zeros = vec![0.0; x.len()];
                let added = other.map_or(&zeros, |other| &self.maps[other]);
                self.batch_norm(*parameter, *flat, added, *relu, &mut slopes, &mut input_gradient, &mut results);
                if let Some(other) = other.filter(|&other| self.program.maps[other].trained) {
                    results.maps[other].clone_from(&slopes);
                }
            }
        }
        if from.trained {
            results.maps[self.step.input] = input_gradient;
        }
        results
    }

    /// Where the values of a window that are not padding lie in the input, and their weights, for one output.
    fn products<'a>(&'a self, affine: &'a Affine, row: Row, output: usize) -> impl Iterator<Item = [usize; 2]> + 'a {
        let from = self.input();
        let Grid { kernel: [_, kw], stride, padding, .. } = row.grid;
        (0..affine.taps).flat_map(move |tap| {
            let y = (row.y * stride + tap / kw).wrapping_sub(padding);
            let x = (row.x * stride + tap % kw).wrapping_sub(padding);
            let channels = if y < from.height && x < from.width { from.channels } else { 0 };
            (0..channels).map(move |channel| {
                [place(from, row.sample, y, x, channel), (output * affine.taps + tap) * affine.channels + channel]
            })
        })
    }

    /// Where the values of a window lie in the input, and their weights, for one output.
    fn taps<'a>(&'a self, affine: &'a Affine, row: usize, output: usize) -> impl Iterator<Item = (usize, usize)> + 'a {
        let in_a_run = affine.taps / affine.runs;
        (0..affine.taps).flat_map(move |tap| {
            let start = affine.starts[row] as usize + tap / in_a_run * affine.step + tap % in_a_run * affine.stride;
            let weight = (output * affine.taps + tap) * affine.channels;
            (0..affine.channels).map(move |channel| (start + channel, weight + channel))
        })
    }

    fn window(&self, affine: &Affine, row: usize, output: usize) -> f64 {
        let (x, weights) = (&self.maps[self.step.input], &self.parameters[affine.parameter]);
        let products = self.taps(affine, row, output).map(|(at, weight)| f64::from(x[at]) * f64::from(weights[weight]));
        products.sum::<f64>() + f64::from(self.parameters[affine.parameter + 1][output])
    }

    fn window_gradient(
        &self,
        affine: &Affine,
        row: usize,
        output: usize,
        slope: f64,
        input_gradient: &mut [f64],
        parameters: &mut [Vec<f64>],
    ) {
        let (x, weights) = (&self.maps[self.step.input], &self.parameters[affine.parameter]);
        for (at, weight) in self.taps(affine, row, output) {
            input_gradient[at] += slope * f64::from(weights[weight]);
            parameters[affine.parameter][weight] += slope * f64::from(x[at]);
        }
        parameters[affine.parameter + 1][output] += slope;
    }

    /// Ioffe and Szegedy (2015), then the sum with what is `added`; with the chunk as the whole batch and whatever mean and
    /// variance the parameters say.
    #[expect(clippy::too_many_arguments, reason = "what the operation consists of")]
    fn batch_norm(
        &self,
        parameter: usize,
        flat: bool,
        added: &[f32],
        relu: bool,
        slopes: &mut [f64],
        input_gradient: &mut [f64],
        results: &mut Results,
    ) {
        let map = self.input();
        let x = &self.maps[self.step.input];
        let feature = |y: usize, column: usize, channel: usize| {
            if flat { (y * map.width + column) * map.channels + channel } else { channel }
        };
        let of = |offset: usize, feature: usize| f64::from(self.parameters[parameter + offset][feature]);
        let factor = |feature: usize| 1.0 / (of(3, feature) + BATCH_NORM_EPSILON).sqrt();
        let normal = |at: usize, feature: usize| (f64::from(x[at]) - of(2, feature)) * factor(feature);
        each_position(map, |sample, y, column, channel| {
            let (at, feature) = (place(map, sample, y, column, channel), feature(y, column, channel));
            results.output[at] = normal(at, feature) * of(0, feature) + of(1, feature) + f64::from(added[at]);
            if relu && results.output[at] <= 0.0 {
                (results.output[at], slopes[at]) = (0.0, 0.0);
            }
            results.parameters[parameter][feature] += slopes[at] * normal(at, feature);
            results.parameters[parameter + 1][feature] += slopes[at];
        });
        let rows = (SAMPLES * map.positions() * map.channels / self.parameters[parameter].len()) as f64;
        each_position(map, |sample, y, column, channel| {
            let (at, feature) = (place(map, sample, y, column, channel), feature(y, column, channel));
            let sums = [0, 1].map(|offset| results.parameters[parameter + offset][feature]);
            let centred = slopes[at] - (sums[1] + normal(at, feature) * sums[0]) / rows;
            input_gradient[at] = of(0, feature) * factor(feature) * centred;
        });
    }
}

/// Where a value of a map lies in the chunk.
fn place(map: Map, sample: usize, y: usize, x: usize, channel: usize) -> usize {
    sample * map.len() + (y * map.width + x) * map.stride + channel
}

/// Calls `f` with sample, row, column and channel of every value.
fn each_position(map: Map, mut f: impl FnMut(usize, usize, usize, usize)) {
    for sample in 0..SAMPLES {
        for position in 0..map.positions() {
            for channel in 0..map.channels {
                f(sample, position / map.width, position % map.width, channel);
            }
        }
    }
}
