//! Every step of random architectures, alone and on every level, against loops in f64. Inputs, weights and gradients are small
//! whole numbers, so sums are exact in any order: kernels must agree to the bit, and maxima tie all the time.

#![expect(clippy::float_cmp, reason = "sums of whole numbers are exact")]

mod reference;

use proptest::prelude::{ProptestConfig, Strategy, prop, prop_assume, prop_oneof, proptest};

use super::*;
use crate::arch::Arch;
use crate::nn::cpu::program::{Map, Step as ProgramStep};
use crate::nn::cpu::weights::{self, Pass};
use crate::nn::cpu::{reduce, team::Team};
use crate::nn::optim::OptimizerKind;
use crate::nn::param::specs;
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
            let rounding = match step.op {
                Op::Winograd { .. } => 5e-6,
                Op::BatchNorm { .. } | Op::Average => 2e-6,
                _ => 0.0,
            };
            let agree = |what: &str, found: &[f64], expected: &[f64], least: f64| {
                assert_eq!(found.len(), expected.len(), "{what}, {place}");
                let largest = expected.iter().fold(least, |largest: f64, value| largest.max(value.abs()));
                let tolerance = rounding * largest;
                for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
                    assert!((found - expected).abs() <= tolerance, "{what} {i}: {found}, not {expected}; {place}");
                }
            };
            agree("output", &found.output, &expected.output, 1.0);
            for (found, expected) in found.maps.iter().zip(&expected.maps) {
                agree("gradient of the input", found, expected, 1.0);
            }
            if program.maps[step.output].trained {
                // Sums over all rows, whose rounding is that of their size where they don't happen to cancel.
                let usual = ((SAMPLES * program.maps[step.output].positions()) as f64).sqrt();
                for (found, expected) in found.parameters.iter().zip(&expected.parameters) {
                    agree("gradient of a parameter", found, expected, usual);
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
fn tiles_of_every_size_at_the_ends_of_rows_and_columns() {
    for (height, width) in (1..=4).flat_map(|height| (1..=4).map(move |width| (height, width))) {
        let text = format!("conv16:{height}x{width} conv17:3x3 conv18:5x5:s2:p2 bn conv40:3x3:p1 relu gap dense10");
        check(&text, 1);
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
    let residual = (1..20_usize, 0..4_usize, prop_oneof!["", " relu"]).prop_map(|(filters, kind, relu)| {
        let block = match kind {
            0 => format!("res(conv{filters}:3x3:p1 bn | conv{filters}:1x1)"),
            1 => format!("res(conv{filters}:3x3:p1 | conv{filters}:1x1 bn)"),
            2 => "res(relu bn)".to_owned(),
            _ => "res(bn | bn)".to_owned(),
        };
        block + &relu
    });
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
