//! The fused kernels against the network composed of dfdx's operations in f64, and against themselves on other threads.

use std::sync::Arc;

use dfdx::dtypes::Dtype;
use dfdx::tensor::Cpu;
use mnist_lab::arch::{Arch, PRESETS};
use mnist_lab::data::{Batch, CLASSES, Images, PIXELS};
use mnist_lab::nn::Step;
use mnist_lab::nn::backend::Backend;
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

/// What a network makes of a batch.
#[derive(PartialEq)]
struct Results {
    outcome: Outcome,
    gradients: Vec<Vec<f32>>,
    logits: Vec<[f32; CLASSES]>,
}

/// Values by name.
type Named<'a> = Vec<(String, &'a [f32])>;

impl Results {
    fn of<E: Dtype, P: Plan<E, Cpu>>(plan: &mut P, parameters: &Parameters<E, Cpu>, batch: &Batch) -> Self
    where
        Cpu: Backend<E>,
        f64: From<E>,
    {
        let mut gradients = parameters.zeros().expect("the CPU does not fail");
        let outcome = plan.gradients(parameters, batch, &STEP, &mut gradients).expect("the CPU does not fail");
        let logits = plan.logits(parameters, batch).expect("the CPU does not fail");
        let on_host = |values| parameters.device.download(values).expect("the CPU does not fail");
        let to_f32 = |values| on_host(values).into_iter().map(|value| f64::from(value) as f32).collect();
        Self { outcome, gradients: gradients.iter().map(to_f32).collect(), logits }
    }

    /// By the kernels, with the instructions of `level` on `threads` threads.
    fn fused(parameters: &Parameters<f64, Cpu>, arch: &Arch, batch: &Batch, level: Level, threads: usize) -> Self {
        let single = single(parameters, arch);
        let mut plan = Fused::with_level(arch, threads, level);
        // Twice, so that what is left in memory from the first time would show.
        Self::of(&mut plan, &single, batch);
        Self::of(&mut plan, &single, batch)
    }

    /// By dfdx's operations.
    fn composed<E: Dtype>(parameters: &Parameters<E, Cpu>, arch: &Arch, batch: &Batch) -> Self
    where
        Cpu: Backend<E>,
        f64: From<E>,
    {
        let mut plan = Composed::<E, Cpu>::new(arch, &parameters.device).expect("the CPU does not fail");
        Self::of(&mut plan, parameters, batch)
    }

    fn logits(&self) -> Named<'_> {
        let of_batch = ("logits in training".to_owned(), self.outcome.logits.as_flattened());
        vec![of_batch, ("logits".to_owned(), self.logits.as_flattened())]
    }

    /// Gradients and statistics.
    fn gradients(&self) -> Named<'_> {
        let gradients = self.gradients.iter().enumerate();
        let gradients = gradients.map(|(index, values)| (format!("gradient {index}"), values.as_slice()));
        let statistics = self.outcome.statistics.iter();
        gradients.chain(statistics.map(|(index, values)| (format!("statistic {index}"), values.as_slice()))).collect()
    }
}

/// The same in f32.
fn single(parameters: &Parameters<f64, Cpu>, arch: &Arch) -> Parameters<f32, Cpu> {
    let mut single = Parameters::<f32, Cpu>::new(arch, Cpu::default(), 0).expect("the CPU does not fail");
    for (to, from) in single.values.iter_mut().zip(&parameters.values) {
        to.iter_mut().zip(from.iter()).for_each(|(to, &from)| *to = from as f32);
    }
    single
}

/// The largest difference, NaN if there is one, relative to the largest value or to `scale` if that is more.
fn difference(a: &[f32], b: &[f32], scale: f32) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).max_by(f32::total_cmp).unwrap_or_default() / largest(b).max(scale)
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

/// By how much results may be off.
#[derive(Clone, Copy)]
struct Allowed {
    /// Logits, in training and in evaluation.
    logits: [f32; 2],
    /// Gradients.
    gradients: f32,
    /// If that is more, gradients may be off by as many times as much as the worst one by dfdx's operations in f32, which
    /// leaves little of sums that cancel, as those behind a batch norm do over the batch.
    of_dfdx: f32,
}

const ALLOWED: Allowed = Allowed { logits: [1e-5; 2], gradients: 2e-5, of_dfdx: 4.0 };

/// Checks the architecture `text` on every level that this processor has.
///
/// Once in some hundred cases two of the many values that a pool or rectifier compares lie closer together than f32 can tell, and
/// the gradient takes the other way. A kernel that is wrong is wrong on other noise too. Outputs may never differ.
#[track_caller]
fn check(text: &str, samples: usize, allowed: Allowed) {
    if let Err(first) = compare(text, samples, 0, allowed) {
        for draw in 1..3 {
            if let Err(again) = compare(text, samples, draw, allowed) {
                panic!("{first}\n{again}");
            }
        }
    }
}

/// Compares outputs, gradients and statistics on one draw of noise; the error says which gradient or statistic differs.
fn compare(text: &str, samples: usize, draw: u64, allowed: Allowed) -> Result<(), String> {
    let arch: Arch = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    let batch = noise(samples, draw);
    let parameters = parameters(&arch);
    let expected = Results::composed(&parameters, &arch, &batch);
    // What is 0 but for rounding (a bias before batch norm) is measured by the gradients around it.
    let scale = expected.gradients.iter().map(|values| largest(values)).fold(0.0, f32::max) / 20.0;
    let errors = |results: &Results, part: fn(&Results) -> Named| -> Vec<(String, f32)> {
        let (found, expected) = (part(results), part(&expected));
        assert_eq!(found.len(), expected.len());
        let pairs = found.into_iter().zip(expected);
        pairs
            .map(|((name, found), (same, expected))| {
                assert_eq!(name, same);
                (name, difference(found, expected, scale))
            })
            .collect()
    };
    let dfdx = Results::composed(&single(&parameters, &arch), &arch, &batch);
    let worst = errors(&dfdx, Results::gradients).into_iter().fold(0.0_f32, |worst, (_, error)| worst.max(error));
    for level in Level::available() {
        let found = Results::fused(&parameters, &arch, &batch, level, 2);
        let place = format!("{text}, {samples} samples, {level:?}");
        let (loss, right) = (found.outcome.loss, expected.outcome.loss);
        assert!((loss - right).abs() < 1e-5, "{place}: loss {loss}, not {right}");
        for ((name, error), most) in errors(&found, Results::logits).into_iter().zip(allowed.logits) {
            assert!(error <= most, "{place}: {name} are off by {error}");
        }
        for (name, error) in errors(&found, Results::gradients) {
            // At most 10⁻³, because dfdx's may take the other way too.
            let fine = error <= allowed.gradients.max(allowed.of_dfdx * worst).min(1e-3);
            if !fine {
                return Err(format!("{place}: {name} is off by {error}, dfdx's by {worst} at most"));
            }
        }
    }
    Ok(())
}

#[test]
fn presets_are_off_by_millionths_or_no_more_than_dfdx_in_f32() {
    for preset in PRESETS {
        let samples = if ["wide", "strided"].contains(&preset.name) { 5 } else { 21 };
        check(preset.name, samples, Allowed { logits: [5e-6, 1e-6], gradients: 2e-6, of_dfdx: 1.0 });
    }
}

#[test]
fn single_sample() {
    check("tutorial", 1, ALLOWED);
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
        "conv8:3x3 bn relu pool2 res(conv8:3x3:p1 bn) relu res(bn) res(relu bn | bn) gap dense10",
        "conv6:4x4:s2 res(res(conv6:1x1 bn) | conv6:1x1 bn) relu res(dropout | bn) res(bn relu | dropout bn) gap dense10",
        "conv4:5x5:s2 pool2 flatten dense12 res(dense12 bn) relu res(bn | dense12 bn) res(relu | bn) dense10",
        "conv8:3x3 relu conv8:3x3 flatten bn dense10",
        "flatten dense16 relu res(flatten) dense10",
        "conv8:3x3 relu res(flatten | flatten) dense10",
        "flatten dense10",
        "flatten relu dense33 dense10 relu",
        "conv10:3x3 bn pool26 flatten",
    ] {
        check(text, 19, ALLOWED);
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    for text in ["tutorial", "conv8:3x3:p1 bn relu pool2 res(conv8:3x3:p1 bn relu dropout0.2 | bn) relu gap dense10"] {
        let arch: Arch = text.parse().expect("an architecture");
        let batch = noise(150, 0);
        let level = Level::detect();
        let one = Results::fused(&parameters(&arch), &arch, &batch, level, 1);
        for threads in [2, 3, 8] {
            assert!(
                Results::fused(&parameters(&arch), &arch, &batch, level, threads) == one,
                "{text} on {threads} threads"
            );
        }
    }
}

#[test]
fn more_samples_than_the_workers_have_chunks() {
    check("conv4:3x3:s2 bn relu pool2 flatten dense10", 300, ALLOWED);
    check("resnet", 41, ALLOWED);
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
        check(&text, samples, ALLOWED);
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
    let expected = Results::composed(&parameters, &arch, &batch).gradients;
    for level in Level::available() {
        let found = Results::fused(&parameters, &arch, &batch, level, 1).gradients;
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let difference = difference(found, expected, 1e-6);
            assert!(difference < 1e-5, "{level:?}: gradient {index} differs by {difference}");
        }
    }
}
