//! Norms of layers against plain `f64`, on every kind of kernels and any number of threads, and through a restart.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::sync::Arc;

use mnist_lab::arch::Arch;
use mnist_lab::data::{Batch, Dataset, Images, PIXELS};
use mnist_lab::nn::norms::{LayerNorm, layers};
use mnist_lab::nn::optim::OptimizerKind;
use mnist_lab::nn::{self, DeviceChoice, Kernels, Network, NetworkState, Setup, Step};
use mnist_lab::random::{Purpose, Stream};
use mnist_lab::session::{DataMark, Session, Store};
use mnist_lab::train::history::{History, NORMS_EVERY};
use mnist_lab::train::settings::Settings;
use mnist_lab::train::tree::Tree;
use mnist_lab::train::{Advance, Goal, RunConfig, Trainer};

/// Convolutions, batch norm and a residual block: layers with and without a bias, and inside others.
const ARCH: &str = "conv4:5x5:s2 bn relu res(conv4:3x3:p1 bn) pool2 flatten dense16 relu dense10";

fn build(kernels: Kernels, threads: usize) -> Box<dyn Network> {
    let arch: Arch = ARCH.parse().unwrap();
    nn::build(&arch, &Setup { device: DeviceChoice::Cpu, kernels, threads, seed: 1, ..Setup::default() }).unwrap().0
}

fn noise(samples: usize) -> Images {
    let mut stream = Stream::new(4, Purpose::Augment, [0, 0]);
    let pixels = (0..samples * PIXELS).map(|_| stream.next_u64() as u8).collect();
    Images::new(pixels, (0..samples).map(|_| stream.below(10) as u8).collect())
}

fn batch() -> Batch {
    Batch::new(Arc::new(noise(20)), (0..20).collect())
}

/// A layer's parameters that are trained, one after the other.
fn values(state: &NetworkState, layer: &str) -> Vec<f64> {
    let trained = ["weight", "bias", "scale", "shift"].map(|kind| format!("{layer}.{kind}"));
    let tensors = state.tensors.iter().filter(|tensor| trained.contains(&tensor.name));
    tensors.flat_map(|tensor| &tensor.values).map(|&value| f64::from(value)).collect()
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

#[track_caller]
fn close(measured: f32, expected: f64, tolerance: f64, what: &str) {
    assert!((f64::from(measured) - expected).abs() <= tolerance * expected.max(1e-6), "{what}: {measured} {expected}");
}

#[test]
fn norms_are_what_the_weights_before_and_after_tell() {
    let names = layers(&ARCH.parse().unwrap());
    let shown: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(shown, ["1", "2", "4.body.1", "4.body.2", "7", "9"]);
    for kernels in [Kernels::Fused, Kernels::Composed] {
        // A step of plain descent with the rate 1 is the gradient itself.
        let descent = OptimizerKind::Sgd { momentum: 0.0, nesterov: false };
        for (optimizer, learning_rate) in [(descent, 1.0), (OptimizerKind::Adam, 0.01), (OptimizerKind::AdamW, 0.01)] {
            let mut network = build(kernels, 1);
            let step = Step { optimizer, learning_rate, weight_decay: 0.1, ..Step::default() };
            let step = if optimizer == descent { Step { weight_decay: 0.0, ..step } } else { step };
            network.train(&batch(), &Step { optimizer, ..Step::default() }).unwrap();
            let before = network.state().unwrap();
            let (_, norms) = network.train_measured(&batch(), &step).unwrap();
            let after = network.state().unwrap();
            assert_eq!(norms.len(), names.len());
            for ((layer, _), measured) in names.iter().zip(&norms) {
                let (old, new) = (values(&before, layer), values(&after, layer));
                let update = norm(old.iter().zip(&new).map(|(old, new)| new - old));
                let what = format!("{kernels:?} {optimizer} {layer}");
                close(measured.weight, norm(old.iter().copied()), 1e-6, &what);
                close(measured.update, update, 1e-6, &what);
                if optimizer == descent {
                    close(measured.gradient, update, 1e-4, &what);
                }
                assert!(measured.gradient > 0.0 && measured.ratio() > 0.0, "{what}: {measured:?}");
            }
        }
    }
}

/// The norms of a few steps, and the weights after them.
fn steps(kernels: Kernels, threads: usize) -> (Vec<Vec<LayerNorm>>, NetworkState) {
    let mut network = build(kernels, threads);
    let step = |number| Step { number, dropout: 0.2, ..Step::default() };
    let norms = (0..4).map(|number| network.train_measured(&batch(), &step(number)).unwrap().1).collect();
    (norms, network.state().unwrap())
}

#[test]
fn they_are_the_same_on_any_number_of_threads_and_near_on_other_kernels() {
    let one = steps(Kernels::Fused, 1);
    assert_eq!(steps(Kernels::Fused, 2), one);
    assert_eq!(steps(Kernels::Fused, 3), one);
    let composed = steps(Kernels::Composed, 1).0;
    for (fused, composed) in one.0[0].iter().zip(&composed[0]) {
        close(fused.gradient, composed.gradient.into(), 1e-3, "gradient");
        close(fused.weight, composed.weight.into(), 1e-5, "weight");
        close(fused.update, composed.update.into(), 1e-2, "update");
    }
}

#[test]
fn measuring_changes_nothing_and_a_step_that_is_not_made_has_none() {
    let (mut plain, mut measured) = (build(Kernels::Fused, 2), build(Kernels::Fused, 2));
    for number in 0..3 {
        let step = Step { number, ..Step::default() };
        let (result, _) = measured.train_measured(&batch(), &step).unwrap();
        assert_eq!(plain.train(&batch(), &step).unwrap(), result);
    }
    assert_eq!(plain.state().unwrap(), measured.state().unwrap());
    let mut broken = measured.state().unwrap();
    broken.tensors[0].values[0] = f32::NAN;
    measured.restore(&broken).unwrap();
    let (result, norms) = measured.train_measured(&batch(), &Step::default()).unwrap();
    assert!(!result.loss.is_finite() && norms.is_empty());
}

/// What a run measures depends on the number of its steps alone: through a file in the middle, it goes on as if nothing was.
#[test]
fn a_run_that_was_restarted_has_the_norms_of_the_run_that_was_not() {
    let data = || Dataset::new("noise".into(), noise(100), noise(10));
    let config = RunConfig { arch: "flatten dense10".parse().unwrap(), seed: 1, validation_split: 0.2, teacher: None };
    let network = || {
        let setup =
            Setup { device: DeviceChoice::Cpu, kernels: Kernels::Auto, threads: 2, seed: 1, ..Setup::default() };
        nn::build(&config.arch, &setup).unwrap().0
    };
    let settings = Settings { epochs: 10, batch_size: 4, ..Settings::default() };
    let advance = |trainer: &mut Trainer, step| {
        while trainer.advance(Goal::Step(step), &mut |_| {}).unwrap() == Advance::More {}
    };
    let mut straight = Trainer::new(config.clone(), settings, data(), network()).unwrap();
    let begun = straight.state().unwrap();
    let mut restarted = Trainer::resume(&begun, data(), network()).unwrap();
    advance(&mut straight, 170);
    for step in [30, 50, 51, 120, 170] {
        advance(&mut restarted, step);
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let mark = DataMark { name: String::new(), fingerprint: 0 };
        let session = Session { run: restarted.state().unwrap(), data: mark, tree: Tree::default() };
        store.save("run", &session).unwrap();
        let session = store.load("run").unwrap();
        restarted = Trainer::resume(&session.run, data(), network()).unwrap();
    }
    assert_eq!(straight.history().norms, restarted.history().norms);
    let steps = |history: &History| history.norms.iter().map(|record| record.step).collect::<Vec<_>>();
    assert_eq!(steps(straight.history()), [1, 51, 101, 151]);
    assert_eq!(NORMS_EVERY, 50);
    let mut cut = straight.history().clone();
    cut.truncate(101);
    assert_eq!((steps(&cut), steps(&straight.history().beginning([100, 1, 0]))), (vec![1, 51, 101], vec![1, 51]));
}
