//! Every step of random architectures, alone and on every level, against loops in f64. Inputs, weights and gradients are small
//! whole numbers, so sums are exact in any order: kernels must agree to the bit, and maxima tie all the time.

#![expect(clippy::float_cmp, reason = "sums of whole numbers are exact")]
#![expect(clippy::too_many_lines, reason = "one arm for each kind of step")]

use proptest::prelude::{ProptestConfig, Strategy, prop, prop_assume, prop_oneof, proptest};

use super::*;
use crate::arch::Arch;
use crate::nn::cpu::program::{Affine, Map, Step as ProgramStep};
use crate::nn::cpu::weights::{self, Pass};
use crate::nn::cpu::winograd::conv::Grid;
use crate::nn::cpu::{reduce, team::Team};
use crate::nn::optim::OptimizerKind;
use crate::nn::param::specs;
use crate::nn::plan::BATCH_NORM_EPSILON;
use crate::random::{Purpose, Stream};

/// Dropout of a half doubles what it keeps, which is exact.
const STEP: Step = Step {
    seed: 5,
    number: 3,
    learning_rate: 1e-3,
    optimizer: OptimizerKind::Adam,
    weight_decay: 0.0,
    dropout: 0.5,
    label_smoothing: 0.0,
    distill: 0.0,
    temperature: 1.0,
    ema: None,
};

/// Samples in the chunk; the second and third show whether a kernel finds its way from one to the next.
const SAMPLES: usize = 3;

/// One step with an input of its own.
struct Case<'a> {
    program: &'a Program,
    step: &'a ProgramStep,
    /// The caller's parameters, all of them.
    parameters: &'a [Vec<f32>],
    /// By map, what the step reads, and the gradient of what it writes.
    maps: Vec<Vec<f32>>,
    gradient: Vec<f32>,
}

/// One output position of a convolution with zeros around its input.
#[derive(Clone, Copy)]
struct Row {
    sample: usize,
    y: usize,
    x: usize,
    grid: Grid,
}

/// What a step computes: its output, and what its backward pass adds to the gradients of maps and parameters.
#[derive(Debug, Default, PartialEq)]
struct Results {
    output: Vec<f64>,
    maps: Vec<Vec<f64>>,
    parameters: Vec<Vec<f64>>,
}

/// Whole numbers from −2 to 2 in the channels of [`SAMPLES`] samples, half of them 0, and zeros in the padding.
fn whole_numbers(map: Map, stream: &mut Stream) -> Vec<f32> {
    let mut values = vec![0.0; SAMPLES * map.len()];
    for position in values.chunks_exact_mut(map.stride) {
        position[..map.channels].fill_with(|| if stream.below(2) == 0 { 0.0 } else { stream.below(5) as f32 - 2.0 });
    }
    values
}

fn buffer(values: &[f32]) -> Buffer {
    let mut buffer = Buffer::zeros(values.len());
    buffer.copy_from_slice(values);
    buffer
}

/// The gradients of the parameters.
fn zeros(program: &Program) -> Vec<Buffer> {
    program.parameters.iter().map(|packed| Buffer::zeros(packed.reserved())).collect()
}

impl Case<'_> {
    fn input(&self) -> Map {
        self.program.maps[self.step.input]
    }

    fn output(&self) -> Map {
        self.program.maps[self.step.output]
    }

    /// By the kernels of `level`.
    fn compute(&self, level: Level, weights: &[Weights]) -> Results {
        let Self { program, step, .. } = *self;
        let context = Context { program, weights, level, training: Some(&STEP), samples: SAMPLES };
        let mut chunk = Chunk { samples: 0..SAMPLES, ..Chunk::default() };
        chunk.maps = self.maps.iter().map(|values| buffer(values)).collect();
        // The border of a padded map is never written.
        chunk.maps[step.output].fill(0.0);
        chunk.codes = program.maps.iter().map(|map| vec![0; SAMPLES * map.len()]).collect();
        // What lies there from before must not count where the step is the first to write.
        let before = |map: usize| if program.begins(step, map) { f32::NAN } else { 0.0 };
        let gradients = program.maps.iter().enumerate();
        chunk.gradients = gradients.map(|(map, size)| buffer(&vec![before(map); SAMPLES * size.len()])).collect();
        let index = program.steps.iter().position(|other| other.output == step.output).expect("one of its steps");
        chunk.forward(&context, index..index + 1);
        let output = chunk.maps[step.output].iter().copied().map(f64::from).collect();

        let mut packed = zeros(program);
        chunk.gradients[program.slot(step.output)] = buffer(&self.gradient);
        chunk.backward_alone(&context, index, &mut packed);
        let mut unpacked: Vec<Vec<f32>> = self.parameters.iter().map(|values| vec![0.0; values.len()]).collect();
        let mut slices: Vec<&mut [f32]> = unpacked.iter_mut().map(Vec::as_mut_slice).collect();
        reduce::reduce(&Team::new(1), level, &[&packed], &program.parameters, &mut slices);
        let mut maps: Vec<Vec<f64>> = vec![Vec::new(); program.maps.len()];
        for input in self.inputs() {
            maps[input] = chunk.gradients[program.slot(input)].iter().copied().map(f64::from).collect();
        }
        let parameters = unpacked.iter().map(|values| values.iter().copied().map(f64::from).collect()).collect();
        Results { output, maps, parameters }
    }

    /// The maps that the step reads and that want a gradient.
    fn inputs(&self) -> Vec<usize> {
        self.step.inputs().filter(|&input| self.program.maps[input].trained).collect()
    }

    /// By loops in f64.
    fn reference(&self) -> Results {
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
            Op::BatchNorm { parameter, flat, relu } => {
                self.batch_norm(*parameter, *flat, *relu, &mut slopes, &mut input_gradient, &mut results);
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

    /// Ioffe and Szegedy (2015), with the chunk as the whole batch and whatever mean and variance the parameters say.
    fn batch_norm(
        &self,
        parameter: usize,
        flat: bool,
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
            results.output[at] = normal(at, feature) * of(0, feature) + of(1, feature);
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

/// The architecture `text` compiled, whole numbers for its parameters, and the same as each level wants them.
struct Compiled {
    program: Program,
    parameters: Vec<Vec<f32>>,
    loaded: Vec<(Level, Vec<Weights>)>,
}

impl Compiled {
    #[track_caller]
    fn new(text: &str, stream: &mut Stream) -> Self {
        let arch: Arch = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        let program = Program::new(&arch, SAMPLES);
        let mut parameters: Vec<Vec<f32>> = specs(&arch)
            .iter()
            .map(|spec| {
                let least = if spec.kind.is_trained() { -2.0 } else { 1.0 };
                (0..spec.len()).map(|_| stream.below(5) as f32 + least).collect()
            })
            .collect();
        for step in &program.steps {
            // Which rounds: no sum may lie where the rectifier's gradient jumps.
            if let Op::Winograd { affine, .. } = &step.op {
                parameters[affine.parameter + 1].iter_mut().for_each(|bias| *bias += 0.5);
            }
        }
        let slices: Vec<&[f32]> = parameters.iter().map(Vec::as_slice).collect();
        let load = |level| {
            let mut weights = vec![Weights::default(); program.steps.len()];
            weights::load(&Team::new(1), level, &program, &slices, Pass::Training, &mut weights);
            (level, weights)
        };
        let loaded = Level::available().into_iter().map(load).collect();
        Self { program, parameters, loaded }
    }
}

/// Checks each step of the architecture `text` alone.
#[track_caller]
fn check(text: &str, seed: u64) {
    let mut stream = Stream::new(seed, Purpose::Initialise, [0, 0]);
    let Compiled { program, parameters, loaded } = Compiled::new(text, &mut stream);
    for (index, step) in program.steps.iter().enumerate() {
        let maps = program.maps.iter().map(|&map| whole_numbers(map, &mut stream)).collect();
        let gradient = whole_numbers(program.maps[step.output], &mut stream);
        let case = Case { program: &program, step, parameters: &parameters, maps, gradient };
        let expected = case.reference();
        for (level, weights) in &loaded {
            let found = case.compute(*level, weights);
            let place = format!("{text}: step {index} on {level:?}, {:?}", step.op);
            // Division, square root and Winograd's transforms round.
            let exact = !matches!(step.op, Op::BatchNorm { .. } | Op::Average | Op::Winograd { .. });
            let agree = |what: &str, found: &[f64], expected: &[f64]| {
                assert_eq!(found.len(), expected.len(), "{what}, {place}");
                let largest = expected.iter().fold(1.0, |largest: f64, value| largest.max(value.abs()));
                let tolerance = if exact { 0.0 } else { 1e-5 * largest };
                for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
                    assert!((found - expected).abs() <= tolerance, "{what} {i}: {found}, not {expected}; {place}");
                }
            };
            agree("output", &found.output, &expected.output);
            for (found, expected) in found.maps.iter().zip(&expected.maps) {
                agree("gradient of the input", found, expected);
            }
            if program.maps[step.output].trained {
                for (found, expected) in found.parameters.iter().zip(&expected.parameters) {
                    agree("gradient of a parameter", found, expected);
                }
            }
        }
    }
}

#[test]
fn presets() {
    for text in ["mlp", "lenet5", "tutorial", "wide", "resnet", "strided"] {
        check(text, 1);
    }
}

#[test]
fn a_convolution_that_takes_over_the_batch_norm_behind_it_computes_what_both_do_one_after_the_other() {
    for text in ["resnet", "strided", "conv40:3x3 relu conv21:3x3:p1 bn relu conv7:5x5:s2 bn gap dense10"] {
        let mut stream = Stream::new(1, Purpose::Initialise, [0, 0]);
        let Compiled { program, loaded, .. } = Compiled::new(text, &mut stream);
        let norms: Vec<(usize, usize)> = (0..program.steps.len())
            .filter_map(|norm| Some((norm, program.takes_over(&program.steps[norm])?)))
            .collect();
        assert!(norms.len() >= 2, "{text}");
        for (norm, before) in norms {
            let (step, input) = (&program.steps[norm], program.steps[before].input);
            let maps: Vec<_> = program.maps.iter().map(|&map| whole_numbers(map, &mut stream)).collect();
            let gradient = whole_numbers(program.maps[step.output], &mut stream);
            for (level, weights) in &loaded {
                let context =
                    Context { program: &program, weights, level: *level, training: Some(&STEP), samples: SAMPLES };
                let [together, apart] = [true, false].map(|together| {
                    let mut chunk = Chunk { samples: 0..SAMPLES, ..Chunk::default() };
                    chunk.maps = maps.iter().map(|values| buffer(values)).collect();
                    chunk.gradients = program.maps.iter().map(|map| Buffer::zeros(SAMPLES * map.len())).collect();
                    chunk.gradients[program.slot(step.output)] = buffer(&gradient);
                    let mut parameters = zeros(&program);
                    if together {
                        let Op::BatchNorm { parameter, .. } = step.op else { panic!("{step:?}") };
                        chunk.backward(&context, norm..norm + 1, &mut parameters);
                        let slopes = context.slopes(norm, &parameters[parameter], &parameters[parameter + 1]);
                        chunk.backward_through_norm(&context, step, &slopes, before..before + 1, &mut parameters);
                    } else {
                        chunk.backward_alone(&context, norm, &mut parameters);
                        chunk.backward(&context, before..before + 1, &mut parameters);
                    }
                    let all = parameters.iter().chain([&chunk.gradients[program.slot(input)]]);
                    all.map(|values| values.to_vec()).collect::<Vec<_>>()
                });
                assert_eq!(together, apart, "{text}: step {norm} on {level:?}");
                assert!(together.iter().flatten().any(|&value| value != 0.0));
            }
        }
    }
}

/// Layers in any order that fits, with odd sizes, channels that fill no vector, strides and padding.
fn architectures() -> impl Strategy<Value = String> {
    let conv = (1..40_usize, 1..=7_usize, 1..=7_usize, 1..=2_usize, 0..3_usize).prop_map(
        |(filters, h, w, stride, padding)| format!("conv{filters}:{h}x{w}:s{stride}:p{}", padding.min(h.min(w) - 1)),
    );
    let strided = (1..40_usize, 4..=6_usize, 4..=6_usize, 0..4_usize)
        .prop_map(|(filters, h, w, padding)| format!("conv{filters}:{h}x{w}:s2:p{padding}"));
    let three = (1..70_usize, 0..3_usize).prop_map(|(filters, padding)| format!("conv{filters}:3x3:p{padding}"));
    let after = prop_oneof!["", " relu", " bn relu"];
    let residual = (1..20_usize).prop_map(|filters| format!("res(conv{filters}:3x3:p1 bn | conv{filters}:1x1)"));
    let layer = prop_oneof![
        3 => conv.clone(),
        3 => conv.prop_map(|conv| conv + " relu pool2"),
        3 => three.clone().prop_map(|conv| conv + " relu pool2"),
        3 => (three, after).prop_map(|(conv, after)| conv + &after),
        2 => strided,
        1 => (1..4_usize, 1..4_usize).prop_map(|(size, stride)| format!("pool{size}:s{stride}")),
        1 => residual,
        1 => prop_oneof!["relu", "dropout", "bn", "bn relu"],
    ];
    let end = prop_oneof!["flatten dense10", "gap dense10", "flatten bn dense21 relu dropout dense10 relu"];
    (prop::collection::vec(layer, 1..4), end).prop_map(|(layers, end)| format!("{} {end}", layers.join(" ")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_architectures(text in architectures(), seed in 0..1000_u64) {
        prop_assume!(text.parse::<Arch>().is_ok());
        check(&text, seed);
    }
}
