//! The network on a GPU against the one on the CPU: on a machine with a GPU as it is, on any other by `tests/cuda/run.sh`, which
//! runs the kernels on the CPU.

use std::sync::Arc;

use crate::arch::Arch;
use crate::data::augment::Augment;
use crate::data::teacher::Teacher;
use crate::data::{Batch, Images, PIXELS};
use crate::nn::check::{CASES, compare, difference};
use crate::nn::optim::OptimizerKind;
use crate::nn::{self, DeviceChoice, Network, NetworkState, Precision, Setup, Step};
use crate::random::{Purpose, Stream};

const SMALL: &str = "conv8:3x3 relu pool2 conv16:3x3 bn relu pool3 flatten dense16 relu dropout dense10";

fn network(arch: &str, device: DeviceChoice) -> Box<dyn Network> {
    let setup = Setup { device, precision: Precision::Float, seed: 4, threads: 2, ..Setup::default() };
    let arch: Arch = arch.parse().unwrap();
    nn::build(&arch, &setup).expect("the device is there: without a GPU these tests run by tests/cuda/run.sh").0
}

fn gpu(arch: &str) -> Box<dyn Network> {
    network(arch, DeviceChoice::Cuda(0))
}

/// As many images of noise, which leave no pool a choice between equals.
fn images(count: usize) -> Arc<Images> {
    let mut stream = Stream::new(1, Purpose::Augment, [0, 0]);
    let pixels = (0..count * PIXELS).map(|_| stream.below(256) as u8).collect();
    Arc::new(Images::new(pixels, (0..count).map(|sample| (sample % 10) as u8).collect()))
}

fn batches(images: &Arc<Images>, sizes: &[usize]) -> Vec<Batch> {
    let mut next = 0;
    let batch = |&size: &usize| {
        let indices = (next..next + size).map(|index| (index % images.len()) as u32).collect();
        next += size;
        Batch::new(images.clone(), indices)
    };
    sizes.iter().map(batch).collect()
}

fn steps(batches: Vec<Batch>, step: Step) -> Vec<(Batch, Step)> {
    batches.into_iter().zip(0..).map(|(batch, number)| (batch, Step { number, ..step })).collect()
}

#[track_caller]
fn assert_near(ours: &NetworkState, theirs: &NetworkState, most: f64) {
    for (ours, theirs) in ours.tensors.iter().zip(&theirs.tensors) {
        assert_eq!(ours.name, theirs.name);
        let apart = difference(&ours.values, &theirs.values);
        assert!(apart < most, "{}: {apart}", ours.name);
    }
    assert_eq!(ours.optimizer.updates, theirs.optimizer.updates);
}

#[test]
fn every_layer_comes_to_what_the_cpu_comes_to() {
    let batch = batches(&images(13), &[13]).remove(0);
    for (name, text) in CASES {
        let arch: Arch = text.parse().unwrap();
        let found = compare(&arch, &mut *gpu(text), &mut *network(text, DeviceChoice::Cpu), &batch).unwrap();
        assert!(found.largest() < 1e-3, "{name}: {found:?}");
    }
}

#[test]
fn every_optimizer_moves_the_weights_as_on_the_cpu() {
    let text = "flatten dense12 relu dense10";
    let momentum = |nesterov| OptimizerKind::Sgd { momentum: 0.9, nesterov };
    let plain = OptimizerKind::Sgd { momentum: 0.0, nesterov: false };
    let rms = OptimizerKind::RmsProp;
    for optimizer in [OptimizerKind::Adam, OptimizerKind::AdamW, plain, momentum(false), momentum(true), rms] {
        let step = Step { optimizer, weight_decay: 0.01, learning_rate: 1e-3, ema: Some(0.9), ..Step::default() };
        let steps = steps(batches(&images(40), &[10, 10, 10, 10]), step);
        let [mut ours, mut theirs] = [gpu(text), network(text, DeviceChoice::Cpu)];
        let results = ours.train_burst(&steps).unwrap();
        for (expected, found) in theirs.train_burst(&steps).unwrap().iter().zip(&results) {
            assert!((expected.loss - found.loss).abs() < 1e-4, "{optimizer}: {expected:?} {found:?}");
            assert_eq!(expected.predictions, found.predictions, "{optimizer}");
        }
        let [ours, theirs] = [ours.state().unwrap(), theirs.state().unwrap()];
        assert_near(&ours, &theirs, 1e-3);
        assert!(ours.trained.is_some() && theirs.trained.is_some());
    }
}

/// What a teacher would say of as many images, of which it does not know the last.
fn teacher(count: usize) -> Arc<Teacher> {
    let mut stream = Stream::new(2, Purpose::Augment, [0, 0]);
    let logits = (1..count).map(|_| std::array::from_fn(|_| stream.uniform(-6.0, 6.0))).collect();
    Arc::new(Teacher { sessions: vec!["a".into()], logits })
}

#[test]
fn a_teacher_moves_the_weights_as_on_the_cpu() {
    let text = "flatten dense12 relu dense10";
    // On the device with a recorded graph, and with the batch; a batch without a teacher among them.
    for count in [1100, 88] {
        let teacher = teacher(count);
        let mut batches = batches(&images(count), &[11, 11, 11, 11, 11, 11, 11, 11]);
        for (number, batch) in batches.iter_mut().enumerate() {
            *batch = batch.clone().taught((number != 3).then(|| teacher.clone()));
        }
        let step = Step { distill: 0.7, temperature: 3.0, label_smoothing: 0.1, ..Step::default() };
        let steps = steps(batches, step);
        let [mut ours, mut theirs] = [gpu(text), network(text, DeviceChoice::Cpu)];
        let results = ours.train_burst(&steps).unwrap();
        for (expected, found) in theirs.train_burst(&steps).unwrap().iter().zip(&results) {
            assert!((expected.loss - found.loss).abs() < 1e-4, "{count}: {expected:?} {found:?}");
        }
        let [ours, theirs] = [ours.state().unwrap(), theirs.state().unwrap()];
        assert_near(&ours, &theirs, 1e-3);
    }
}

#[test]
fn a_burst_is_its_steps_one_by_one_to_the_bit() {
    // Enough images to stay on the device, batches enough for a recorded graph, and a short one at the end.
    let images = images(1100);
    let steps = steps(batches(&images, &[6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 4]), Step { dropout: 0.2, ..Step::default() });
    let [mut together, mut alone] = [gpu(SMALL), gpu(SMALL)];
    let results = together.train_burst(&steps).unwrap();
    let single: Vec<_> = steps.iter().map(|(batch, step)| alone.train(batch, step).unwrap()).collect();
    assert_eq!(results, single);
    assert_eq!(together.state().unwrap(), alone.state().unwrap());

    // What is recorded stays right when the weights move elsewhere, and when batches grow.
    let state = together.state().unwrap();
    alone.restore(&state).unwrap();
    let larger = [&steps[..8], &self::steps(batches(&images, &[9, 9, 9, 9, 9, 9, 9, 9]), Step::default())].concat();
    assert_eq!(together.train_burst(&larger).unwrap(), alone.train_burst(&larger).unwrap());
    assert_eq!(together.state().unwrap(), alone.state().unwrap());
}

#[test]
fn augmented_images_and_few_images_go_with_the_batch() {
    let noise = Augment { noise: 0.3, rotate: 10.0, ..Augment::default() };
    let many = images(1100);
    for batch in [batches(&many, &[7]).remove(0).augmented(noise, 1, 2), batches(&images(7), &[7]).remove(0)] {
        let [mut ours, mut theirs] = [gpu(SMALL), network(SMALL, DeviceChoice::Cpu)];
        let [found, expected] = [&mut ours, &mut theirs].map(|network| network.logits(&batch).unwrap());
        assert!(difference(found.as_flattened(), expected.as_flattened()) < 1e-4);
        let [found, expected] = [&mut ours, &mut theirs].map(|network| network.features(&batch).unwrap().concat());
        assert!(difference(&found, &expected) < 1e-4);
        let [found, expected] = [ours, theirs].map(|mut network| network.train(&batch, &Step::default()).unwrap().loss);
        assert!((found - expected).abs() < 1e-4, "{found} {expected}");
    }
}

#[test]
fn features_are_those_of_the_cpu() {
    let batch = batches(&images(7), &[7]).remove(0);
    for text in ["flatten dense10 relu", "flatten dense10 res(dense10) relu", "conv8:3x3 relu conv10:3x3:p1 gap"] {
        let [found, expected] =
            [gpu(text), network(text, DeviceChoice::Cpu)].map(|mut network| network.features(&batch).unwrap().concat());
        assert!(difference(&found, &expected) < 1e-4, "{text}");
    }
}

#[test]
fn a_step_tells_how_large_it_is() {
    let batch = batches(&images(9), &[9]).remove(0);
    let step = Step { optimizer: OptimizerKind::Sgd { momentum: 0.0, nesterov: false }, ..Step::default() };
    let [(ours, found), (theirs, expected)] = [gpu(SMALL), network(SMALL, DeviceChoice::Cpu)]
        .map(|mut network| network.train_measured(&batch, &step).unwrap());
    assert_eq!(ours.predictions, theirs.predictions);
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        let pairs =
            [(found.gradient, expected.gradient), (found.weight, expected.weight), (found.update, expected.update)];
        for (found, expected) in pairs {
            assert!((found - expected).abs() <= 1e-3 * expected, "{found} instead of {expected}");
        }
    }
}

#[test]
fn a_loss_that_is_no_number_changes_nothing_though_the_slopes_are_finite() {
    let mut network = gpu("flatten dense10");
    let mut state = network.state().unwrap();
    state.tensors[1].values[..2].copy_from_slice(&[3e38, -3e38]);
    network.restore(&state).unwrap();
    let result = network.train(&batches(&images(6), &[6]).remove(0), &Step::default()).unwrap();
    assert!(!result.loss.is_finite(), "{result:?}");
    let after = network.state().unwrap();
    assert_eq!((after.tensors, after.optimizer.updates), (state.tensors, 0));
}

#[test]
fn a_batch_that_the_kernels_cannot_count_is_refused() {
    let batch = batches(&images(1100), &[1100]).remove(0);
    let error = gpu("conv2500:1x1 gap dense10").train(&batch, &Step::default()).unwrap_err().to_string();
    assert!(error.contains("`set batch-size 1095`"), "{error}");
}

#[test]
fn a_step_that_is_no_number_changes_nothing_and_ends_the_burst() {
    let text = "flatten dense8 relu dense10";
    let wild = Step {
        learning_rate: 1e37,
        optimizer: OptimizerKind::Sgd { momentum: 0.0, nesterov: false },
        ..Step::default()
    };
    let steps = steps(batches(&images(30), &[6, 6, 6, 6, 6]), wild);
    let mut network = gpu(text);
    let results = network.train_burst(&steps).unwrap();
    let finite = results.iter().filter(|result| result.loss.is_finite()).count();
    assert!(finite >= 1 && finite + 1 == results.len() && results.len() < steps.len(), "{results:?}");

    let mut again = gpu(text);
    let first: Vec<_> = steps[..finite].iter().map(|(batch, step)| again.train(batch, step).unwrap()).collect();
    assert_eq!(first, results[..finite]);
    let [after, before] = [network.state().unwrap(), again.state().unwrap()];
    assert_eq!(after.optimizer.updates, before.optimizer.updates);
    let bits = |state: &NetworkState| -> Vec<u32> {
        state.tensors.iter().flat_map(|tensor| tensor.values.iter().map(|value| value.to_bits())).collect()
    };
    assert_eq!(bits(&after), bits(&before));
}
