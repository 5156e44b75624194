//! Whether a GPU comes to what the CPU comes to, layer by layer and over some steps of training, and how long a step takes.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::options::Options;
use crate::arch::Arch;
use crate::data::augment::Augment;
use crate::data::{Batch, Dataset};
use crate::error::Error;
use crate::nn::check::{self, CASES, Difference};
use crate::nn::{self, DeviceChoice, Network, Precision, Setup, Step};

/// Samples of a batch.
const BATCH: usize = 64;
/// Steps that both train.
const STEPS: u64 = 20;
/// How long steps are timed, after as long a time to warm up.
const TIMED: Duration = Duration::from_millis(500);

/// How exact the products are, what that is called, and the largest difference that its rounding explains: of a layer, and of the
/// losses while training.
const PRECISIONS: [(Precision, &str, f64, f64); 2] =
    [(Precision::Float, "float", 1e-3, 1e-3), (Precision::Tf32, "tf32", 5e-2, 3e-2)];

/// What came out.
pub(super) struct Report {
    /// Of each of [`CASES`], in each of [`PRECISIONS`].
    cases: Vec<[Difference; 2]>,
    /// The largest difference of the losses of [`STEPS`] steps, as a share of the first loss, in each precision.
    training: [f64; 2],
    /// Microseconds of a training step of the `tutorial` network.
    step: f64,
}

/// Compares them.
pub(super) fn run(options: &Options, dataset: &Dataset) -> Result<Report, Error> {
    let noise = Augment { noise: 0.5, ..Augment::default() };
    // Noise leaves no two values alike, so that no pool has to choose between equals.
    let batch = batch(dataset, 0).augmented(noise, 1, 0);
    let mut cases = Vec::new();
    for (_, text) in CASES {
        let arch: Arch = text.parse()?;
        let mut differences = Vec::new();
        for (precision, ..) in PRECISIONS {
            let [mut network, mut reference] = networks(options, &arch, precision)?;
            differences.push(check::compare(&arch, &mut *network, &mut *reference, &batch)?);
        }
        cases.extend(<[Difference; 2]>::try_from(differences));
    }
    let mut training = [0.0; 2];
    for (difference, (precision, ..)) in training.iter_mut().zip(PRECISIONS) {
        *difference = train(options, dataset, precision)?;
    }
    Ok(Report { cases, training, step: time(options, dataset)? })
}

/// The network on the GPU, and on the CPU.
fn networks(options: &Options, arch: &Arch, precision: Precision) -> Result<[Box<dyn Network>; 2], Error> {
    let setup = Setup { device: options.device(), kernels: options.kernels(), precision, ..Setup::default() };
    let network = nn::build(arch, &setup)?.0;
    let reference = nn::build(arch, &Setup { device: DeviceChoice::Cpu, ..Setup::default() })?.0;
    Ok([network, reference])
}

/// Batch `number` of the training images in their order, again and again.
fn batch(dataset: &Dataset, number: u64) -> Batch {
    let images = dataset.train.len();
    let first = number as usize * BATCH;
    Batch::new(dataset.train.clone(), (first..first + BATCH).map(|index| (index % images) as u32).collect())
}

/// Step `number` with default settings.
fn step(number: u64) -> Step {
    Step { number, ..Step::default() }
}

fn train(options: &Options, dataset: &Dataset, precision: Precision) -> Result<f64, Error> {
    let [mut network, mut reference] = networks(options, &Arch::default(), precision)?;
    let mut losses = Vec::new();
    for number in 0..STEPS {
        let batch = batch(dataset, number);
        let ours = network.train(&batch, &step(number))?.loss;
        let theirs = reference.train(&batch, &step(number))?.loss;
        losses.push([ours, theirs]);
    }
    Ok(apart(&losses))
}

/// The largest difference of two networks' losses, as a share of the first; infinite if one is no number.
fn apart(losses: &[[f32; 2]]) -> f64 {
    let first = losses.first().map_or(1.0, |[_, theirs]| f64::from(*theirs));
    let shares = losses.iter().map(|[ours, theirs]| f64::from((ours - theirs).abs()) / first);
    // `max` passes over what is no number.
    shares.map(|share| if share.is_nan() { f64::INFINITY } else { share }).fold(0.0, f64::max)
}

/// Microseconds of a step.
fn time(options: &Options, dataset: &Dataset) -> Result<f64, Error> {
    let [mut network, _] = networks(options, &Arch::default(), Precision::default())?;
    let mut done = 0;
    let mut train = || -> Result<f64, Error> {
        let (started, first) = (Instant::now(), done);
        while started.elapsed() < TIMED {
            let end = done + network.burst() as u64;
            let steps: Vec<_> = (done..end).map(|number| (batch(dataset, number), step(number))).collect();
            network.train_burst(&steps)?;
            done = end;
        }
        Ok(started.elapsed().as_secs_f64() * 1e6 / (done - first) as f64)
    };
    train()?;
    train()
}

impl Report {
    /// As a table.
    pub fn text(&self) -> String {
        let mut text = String::from(
            "difference from the CPU, as a share of the whole (L2 norms)\n\
             layers                     forward  backward   forward  backward\n",
        );
        let [(_, first, ..), (_, second, ..)] = PRECISIONS;
        let _ = writeln!(text, "{:<25}{first:>10}{:>10}{second:>10}", "", "");
        for ((name, _), differences) in CASES.iter().zip(&self.cases) {
            let [a, b] = differences.each_ref().map(|difference| (difference.forward, backward(difference)));
            let _ = writeln!(
                text,
                "{} {name:<23}{:>10.1e}{:>10.1e}{:>10.1e}{:>10.1e}",
                mark(case_is_good(differences)),
                a.0,
                a.1,
                b.0,
                b.1
            );
        }
        let [a, b] = self.training;
        let _ = writeln!(text, "{} {STEPS} steps, loss{:>18.1e}{:>20.1e}", mark(self.training_is_good()), a, b);
        let _ = write!(
            text,
            "a training step of `tutorial`, batch {BATCH}: {:.1} µs, {:.0} samples/s",
            self.step,
            BATCH as f64 * 1e6 / self.step
        );
        text
    }

    /// The same as an object.
    pub fn json(&self) -> Value {
        let cases: Vec<Value> = CASES
            .iter()
            .zip(&self.cases)
            .map(|((name, arch), differences)| {
                let each = PRECISIONS.iter().zip(differences).map(|((_, precision, ..), difference)| {
                    let layers: Vec<Value> = difference
                        .backward
                        .iter()
                        .map(
                            |(name, layer, difference)| json!({"name": name, "layer": layer, "difference": difference}),
                        )
                        .collect();
                    json!({"precision": precision, "forward": difference.forward, "backward": layers})
                });
                let good = case_is_good(differences);
                json!({"layers": name, "arch": arch, "good": good, "differences": each.collect::<Vec<_>>()})
            })
            .collect();
        json!({
            "cases": cases,
            "training": {"steps": STEPS, "good": self.training_is_good(), "float": self.training[0], "tf32": self.training[1]},
            "step_us": self.step,
        })
    }

    /// What is wrong, if something is.
    pub fn failure(&self) -> Option<Error> {
        let bad = CASES.iter().zip(&self.cases).filter(|(_, differences)| !case_is_good(differences));
        let mut bad: Vec<&str> = bad.map(|((name, _), _)| *name).collect();
        if !self.training_is_good() {
            bad.push("training");
        }
        let sentence = format!(
            "the GPU does not come to what the CPU comes to in: {}; train with --device cpu, or --kernels composed, and report it",
            bad.join("; ")
        );
        (!bad.is_empty()).then_some(Error::Failed(sentence))
    }

    fn training_is_good(&self) -> bool {
        self.training.iter().zip(PRECISIONS).all(|(difference, (_, _, _, most))| *difference <= most)
    }
}

fn case_is_good(differences: &[Difference; 2]) -> bool {
    differences.iter().zip(PRECISIONS).all(|(difference, (_, _, most, _))| difference.largest() <= most)
}

/// The largest difference of the gradients.
fn backward(difference: &Difference) -> f64 {
    difference.backward.iter().map(|(_, _, difference)| *difference).fold(0.0, f64::max)
}

const fn mark(good: bool) -> char {
    if good { '✓' } else { '✗' }
}

#[cfg(test)]
mod tests {
    use super::apart;

    #[test]
    fn losses_that_are_no_numbers_are_infinitely_apart() {
        assert!((apart(&[[2.0, 2.0], [1.5, 1.0], [1.0, 1.25]]) - 0.25).abs() < 1e-9);
        for losses in [[[f32::NAN, 2.0], [1.0, 1.0]], [[2.0, 2.0], [f32::NAN, 1.0]], [[2.0, 2.0], [1.0, f32::NAN]]] {
            assert!(apart(&losses).is_infinite(), "{losses:?}");
        }
    }
}
