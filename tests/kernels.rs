//! The fused kernels against the network composed of dfdx's operations in f64, and against themselves on other threads.

use std::sync::Arc;

use dfdx::dtypes::Dtype;
use dfdx::tensor::Cpu;
use mnist_lab::arch::{Arch, Layer, PRESETS};
use mnist_lab::data::{Batch, CLASSES, Images, PIXELS};
use mnist_lab::nn::Step;
use mnist_lab::nn::backend::{Backend, Values};
use mnist_lab::nn::composed::Composed;
use mnist_lab::nn::cpu::Level;
use mnist_lab::nn::fused::Fused;
use mnist_lab::nn::optim::OptimizerKind;
use mnist_lab::nn::param::Parameters;
use mnist_lab::nn::plan::{Outcome, Plan};
use mnist_lab::random::{Purpose, Stream};
use proptest::prelude::{Just, ProptestConfig, Strategy, prop, prop_assume, prop_oneof, proptest};

const STEP: Step = Step {
    seed: 5,
    number: 3,
    learning_rate: 1e-3,
    optimizer: OptimizerKind::Adam,
    weight_decay: 0.0,
    dropout: 0.3,
    label_smoothing: 0.1,
    distill: 0.0,
    temperature: 1.0,
    ema: None,
};

/// Noise: two positions of a pool hardly ever tie. `draw` gives other noise.
fn noise(samples: usize, draw: u64) -> Batch {
    let mut stream = Stream::new(9, Purpose::Augment, [samples as u64, draw]);
    let pixels = (0..samples * PIXELS).map(|_| stream.next_u64() as u8).collect();
    let labels = (0..samples).map(|_| stream.below(CLASSES) as u8).collect();
    Batch::new(Arc::new(Images::new(pixels, labels)), (0..samples as u32).collect())
}

/// Parameters that differ from their start: biases and statistics are not all 0 or 1.
fn parameters(arch: &Arch) -> Parameters<f64, Cpu> {
    let mut parameters = Parameters::new(arch, Cpu::default(), 2).expect("the CPU does not fail");
    let mut stream = Stream::new(3, Purpose::Initialise, [0, 0]);
    for values in &mut parameters.values {
        values.iter_mut().for_each(|value| *value = f64::from(*value as f32 + stream.uniform(-0.03, 0.03)));
    }
    parameters
}

/// What the kernels compute with the instructions of `level` on `threads` threads.
fn fused(
    parameters: &Parameters<f64, Cpu>,
    arch: &Arch,
    batch: &Batch,
    level: Level,
    threads: usize,
) -> (Outcome, Vec<Vec<f32>>, Vec<[f32; CLASSES]>) {
    let mut single = Parameters::<f32, Cpu>::new(arch, Cpu::default(), 0).expect("the CPU does not fail");
    for (to, from) in single.values.iter_mut().zip(&parameters.values) {
        to.copy_from_slice(&to_f32(from));
    }
    let mut plan = Fused::with_level(arch, threads, level);
    // Twice, so that what is left in memory from the first time would show.
    plan_outcome(&mut plan, &single, batch);
    let (outcome, gradients, logits) = plan_outcome(&mut plan, &single, batch);
    (outcome, gradients.iter().map(|values| values.to_vec()).collect(), logits)
}

fn composed(
    parameters: &Parameters<f64, Cpu>,
    arch: &Arch,
    batch: &Batch,
) -> (Outcome, Vec<Vec<f32>>, Vec<[f32; CLASSES]>) {
    let mut plan = Composed::<f64, Cpu>::new(arch, &parameters.device).expect("the CPU does not fail");
    let (outcome, gradients, logits) = plan_outcome(&mut plan, parameters, batch);
    (outcome, gradients.iter().map(|values| to_f32(values)).collect(), logits)
}

fn plan_outcome<E: Dtype, P: Plan<E, Cpu>>(
    plan: &mut P,
    parameters: &Parameters<E, Cpu>,
    batch: &Batch,
) -> (Outcome, Vec<Values<E, Cpu>>, Vec<[f32; CLASSES]>)
where
    Cpu: Backend<E>,
{
    let mut gradients = parameters.zeros().expect("the CPU does not fail");
    let outcome = plan.gradients(parameters, batch, &STEP, &mut gradients).expect("the CPU does not fail");
    let logits = plan.logits(parameters, batch).expect("the CPU does not fail");
    (outcome, gradients, logits)
}

fn to_f32(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

/// The largest difference, NaN if there is one, relative to the largest value or to `scale` if that is more.
fn difference(a: &[f32], b: &[f32], scale: f32) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).max_by(f32::total_cmp).unwrap_or_default() / largest(b).max(scale)
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

/// Checks the architecture `text` on every level that this processor has.
///
/// Once in some hundred cases two of the many values that a pool or rectifier compares lie closer together than f32 can tell, and
/// the gradient takes the other way. A kernel that is wrong is wrong on other noise too. Outputs may never differ.
#[track_caller]
fn check(text: &str, samples: usize) {
    if let Err(first) = compare(text, samples, 0) {
        for draw in 1..3 {
            if let Err(again) = compare(text, samples, draw) {
                panic!("{first}\n{again}");
            }
        }
    }
}

/// Compares outputs, gradients and statistics on one draw of noise; the error says which gradient or statistic differs.
fn compare(text: &str, samples: usize, draw: u64) -> Result<(), String> {
    let arch: Arch = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    // What comes from behind a batch norm sums to almost nothing over the batch: f32 leaves little of such a sum, and dfdx's
    // own f32 operations are off by up to 4·10⁻³.
    let has_norm = arch.places().iter().any(|place| matches!(place.layer, Layer::BatchNorm));
    let tolerance = if has_norm { 1e-3 } else { 2e-5 };
    let batch = noise(samples, draw);
    let (outcome, gradients, logits) = composed(&parameters(&arch), &arch, &batch);
    for level in Level::available() {
        let (found, found_gradients, found_logits) = fused(&parameters(&arch), &arch, &batch, level, 2);
        // What is 0 but for rounding (a bias before batch norm) is measured by the gradients around it.
        let scale = gradients.iter().map(|values| largest(values)).fold(0.0, f32::max) / 20.0;
        let close = |what: &str, found: &[f32], expected: &[f32]| {
            let difference = difference(found, expected, scale);
            let place = || format!("{text}, {samples} samples, {level:?}: {what} differs by {difference}");
            if difference < tolerance { Ok(()) } else { Err(place()) }
        };
        assert!((found.loss - outcome.loss).abs() < 1e-5, "{text}: {} instead of {}", found.loss, outcome.loss);
        let outputs = [("logits in training", &found.logits, &outcome.logits), ("logits", &found_logits, &logits)];
        for (what, found, expected) in outputs {
            close(what, found.as_flattened(), expected.as_flattened()).unwrap_or_else(|problem| panic!("{problem}"));
        }
        for (index, (found, expected)) in found_gradients.iter().zip(&gradients).enumerate() {
            close(&format!("gradient {index}"), found, expected)?;
        }
        assert_eq!(found.statistics.len(), outcome.statistics.len());
        for ((index, found), (expected_index, expected)) in found.statistics.iter().zip(&outcome.statistics) {
            assert_eq!(index, expected_index);
            close(&format!("statistic {index}"), found, expected)?;
        }
    }
    Ok(())
}

#[test]
fn presets() {
    for preset in PRESETS {
        check(preset.name, if ["wide", "strided"].contains(&preset.name) { 5 } else { 21 });
    }
}

#[test]
fn single_sample() {
    check("tutorial", 1);
}

#[test]
fn every_kind_of_layer() {
    for text in [
        "conv3:2x5 relu pool2 conv20:3x2:s2:p1 relu flatten dense10",
        "conv5:3x3:s2:p1 relu pool2 conv18:3x3:p1 relu pool2 flatten dense10",
        "conv40:3x3 relu pool2 conv36:3x3:p2 relu pool2 conv7:5x3:s2 relu pool2 flatten dense10",
        "pool3:s2 conv4:7x7:p3 relu pool3:s1 dropout0.5 conv10:1x1 gap",
        "relu bn conv8:3x3 pool2 relu relu flatten bn dense17 bn relu dropout dense10",
        "dropout res(conv6:3x3:p1 | conv6:1x1 bn) pool5 flatten res(dense150 relu | flatten) dense10",
        "res(conv1:5x5:p2 relu) conv2:3x3 bn relu pool4 gap res(dense2 | bn) dense10",
        "conv6:4x4:s2 relu pool2 res(bn relu conv6:3x3:p1 res(bn relu | conv6:1x1)) relu pool2 flatten dense10",
        "conv8:3x3 relu conv8:3x3 flatten bn dense10",
        "flatten dense16 relu res(flatten) dense10",
        "conv8:3x3 relu res(flatten | flatten) dense10",
        "flatten dense10",
        "flatten relu dense33 dense10 relu",
        "conv10:3x3 bn pool26 flatten",
    ] {
        check(text, 19);
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    for text in ["tutorial", "conv8:3x3:p1 bn relu pool2 res(conv8:3x3:p1 bn relu dropout0.2 | bn) relu gap dense10"] {
        let arch: Arch = text.parse().expect("an architecture");
        let batch = noise(150, 0);
        let level = Level::detect();
        let one = fused(&parameters(&arch), &arch, &batch, level, 1);
        for threads in [2, 3, 8] {
            assert!(fused(&parameters(&arch), &arch, &batch, level, threads) == one, "{text} on {threads} threads");
        }
    }
}

#[test]
fn more_samples_than_the_workers_have_chunks() {
    check("conv4:3x3:s2 bn relu pool2 flatten dense10", 300);
    check("resnet", 41);
}

/// Random architectures: odd sizes, any channels, strides, padding, windows, in any order that fits.
fn architectures() -> impl Strategy<Value = String> {
    let conv = (1..40_usize, 1..=7_usize, 1..=7_usize, 1..=2_usize, 0..3_usize).prop_map(
        |(filters, h, w, stride, padding)| format!("conv{filters}:{h}x{w}:s{stride}:p{}", padding.min(h.min(w) - 1)),
    );
    let layer = prop_oneof![
        4 => conv.clone(),
        4 => conv.prop_map(|conv| conv + " relu pool2"),
        1 => (1..4_usize, 1..4_usize).prop_map(|(size, stride)| format!("pool{size}:s{stride}")),
        2 => Just("relu".to_owned()),
        1 => Just("dropout".to_owned()),
    ];
    let end = prop_oneof![Just("flatten dense10"), Just("gap dense10"), Just("flatten dense21 relu dense10")];
    (prop::collection::vec(layer, 1..5), end).prop_map(|(layers, end)| format!("{} {end}", layers.join(" ")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_architectures(text in architectures(), samples in 1..20_usize) {
        prop_assume!(text.parse::<Arch>().is_ok());
        check(&text, samples);
    }
}

#[test]
fn of_equal_maxima_the_first_gets_the_gradient() {
    // Pixels of 0 and 1 and whole weights: sums are exact, so windows that differ give values that tie. The second kernel is
    // one that Winograd's algorithm, which rounds, is not for.
    let arch: Arch = "conv3:3x3 relu pool2 conv4:2x2 relu pool3:s2 flatten dense10".parse().expect("an architecture");
    let mut stream = Stream::new(4, Purpose::Augment, [0, 0]);
    let pixels = (0..9 * PIXELS).map(|_| if stream.unit() < 0.3 { 255 } else { 0 }).collect();
    let batch = Batch::new(Arc::new(Images::new(pixels, (0..9).collect())), (0..9).collect());
    let mut parameters = parameters(&arch);
    for values in &mut parameters.values[..4] {
        values.iter_mut().for_each(|value| *value = stream.below(2) as f64);
    }
    let expected = composed(&parameters, &arch, &batch).1;
    for level in Level::available() {
        let found = fused(&parameters, &arch, &batch, level, 1).1;
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let difference = difference(found, expected, 1e-6);
            assert!(difference < 1e-5, "{level:?}: gradient {index} differs by {difference}");
        }
    }
}
