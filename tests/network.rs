//! Networks through the boundary that the trainer uses: they learn, resume bit for bit, and refuse what does not fit.

use std::sync::Arc;

use mnist_lab::arch::{Arch, PRESETS};
use mnist_lab::data::{Batch, Images, PIXELS, SIDE};
use mnist_lab::metrics::argmax;
use mnist_lab::nn::loss::smoothed;
use mnist_lab::nn::optim::OptimizerKind;
use mnist_lab::nn::plan::{DropoutMask, normalise};
use mnist_lab::nn::{self, DeviceChoice, Kernels, NamedTensor, Network, NetworkError, NetworkState, Setup, Step};
use mnist_lab::random::{Purpose, Stream};

const SMALL: &str = "conv4:5x5:s2 bn relu pool2 dropout0.2 flatten dense16 bn relu dropout dense10";

fn build(arch: &str, threads: usize) -> Box<dyn Network> {
    build_on(Kernels::Composed, arch, threads)
}

fn build_on(kernels: Kernels, arch: &str, threads: usize) -> Box<dyn Network> {
    let arch: Arch = arch.parse().expect("the test's architecture is right");
    let setup = Setup { device: DeviceChoice::Cpu, kernels, threads, seed: 1, ..Setup::default() };
    nn::build(&arch, &setup).expect("the CPU is always there").0
}

/// Digits that a network can tell apart: a bright bar at a height of its own for each class, in noise.
fn bars(samples: usize) -> Arc<Images> {
    let mut stream = Stream::new(3, Purpose::Augment, [0, 0]);
    let labels: Vec<u8> = (0..samples).map(|_| stream.below(10) as u8).collect();
    let mut pixel = |label: u8, at: usize| {
        let bright = if at / SIDE / 2 == usize::from(label) + 2 { 150 } else { 0 };
        (bright + stream.below(100)) as u8
    };
    let pixels = labels.iter().flat_map(|&label| (0..PIXELS).map(|at| pixel(label, at)).collect::<Vec<_>>()).collect();
    Arc::new(Images::new(pixels, labels))
}

fn batch(images: &Arc<Images>, number: usize, size: usize) -> Batch {
    let indices = (0..size).map(|index| ((number * size + index) % images.len()) as u32).collect();
    Batch::new(images.clone(), indices)
}

fn step(number: usize) -> Step {
    Step {
        seed: 9,
        number: number as u64,
        learning_rate: 3e-3,
        optimizer: OptimizerKind::Adam,
        weight_decay: 1e-4,
        dropout: 0.3,
        label_smoothing: 0.05,
        ..Step::default()
    }
}

fn train(network: &mut dyn Network, images: &Arc<Images>, steps: std::ops::Range<usize>) -> Vec<f32> {
    let mut one =
        |number| network.train(&batch(images, number, 20), &step(number)).expect("the CPU does not fail").loss;
    steps.map(&mut one).collect()
}

fn state(network: &dyn Network) -> NetworkState {
    network.state().expect("the CPU does not fail")
}

/// Every number by its bits, so that −0 and NaN count too.
fn bits(state: &NetworkState) -> Vec<u32> {
    let tensors = state.tensors.iter().chain(state.trained.iter().flatten()).flat_map(|tensor| &tensor.values);
    tensors.chain(state.optimizer.moments.iter().flatten().flatten()).map(|value| value.to_bits()).collect()
}

#[test]
fn it_learns_to_tell_bars_apart() {
    for optimizer in ["adam", "adamw", "sgd:momentum=0.9:nesterov", "rmsprop"] {
        let (images, mut network) = (bars(200), build("conv4:5x5:s2 relu pool2 flatten dense10", 0));
        let optimizer: OptimizerKind = optimizer.parse().expect("the names are right");
        let learning_rate = if matches!(optimizer, OptimizerKind::Sgd { .. }) { 0.05 } else { 0.01 };
        for number in 0..60 {
            let step = Step { optimizer, learning_rate, ..step(number) };
            network.train(&batch(&images, number, 20), &step).expect("the CPU does not fail");
        }
        let logits = network.logits(&batch(&images, 0, 200)).expect("the CPU does not fail");
        let right = (0..200).filter(|&at| argmax(&logits[at]) == images.label(at)).count();
        assert!(right >= 190, "{optimizer}: {right} of 200");
    }
}

/// What becomes of a layer's output and the feature in the same place.
type End = fn(f32, f32) -> f32;

#[test]
fn features_are_what_the_last_dense_or_convolution_layer_makes_logits_of() {
    let images = bars(60);
    let arches: [(&str, End); 8] = [
        (SMALL, |output, _| output),
        ("flatten dense10", |output, _| output),
        ("conv5:3x3 relu pool2 flatten dense10", |output, _| output),
        ("mlp", |output, _| output),
        ("conv3:2x2:s2 relu pool2 conv10:7x7 flatten", |output, _| output),
        ("flatten dense10 relu", |output, _| output.max(0.0)),
        ("flatten dense16 relu dense10 dropout relu", |output, _| output.max(0.0)),
        ("flatten dense10 res(dense10)", |output, feature| output + feature),
    ];
    let each = arches.into_iter().flat_map(|(arch, end)| [Kernels::Composed, Kernels::Fused].map(|k| (arch, end, k)));
    for (arch, end, kernels) in each {
        let mut network = build_on(kernels, arch, 2);
        train(&mut *network, &images, 0..3);
        let all = batch(&images, 0, 60);
        let features = network.features(&all).expect("the CPU does not fail");
        let state = state(&*network);
        let [.., weight, bias] = &*state.tensors else { panic!("no other layer with weights follows") };
        for (features, logits) in features.iter().zip(network.logits(&all).expect("the CPU does not fail")) {
            assert_eq!(features.len(), weight.shape[1..].iter().product::<usize>(), "{arch} {kernels:?}");
            for (class, logit) in logits.into_iter().enumerate() {
                let weights = &weight.values[class * features.len()..][..features.len()];
                let sum: f32 = weights.iter().zip(features).map(|(weight, feature)| weight * feature).sum();
                let error = (end(sum + bias.values[class], features[class]) - logit).abs();
                assert!(error < 1e-4 * logit.abs().max(1.0), "{arch} {kernels:?}: {logit} {error}");
            }
        }
    }
}

#[test]
fn a_resumed_network_goes_on_bit_for_bit() {
    let images = bars(200);
    let mut straight = build(SMALL, 2);
    let losses = train(&mut *straight, &images, 0..12);
    let mut first = build(SMALL, 2);
    train(&mut *first, &images, 0..7);
    let saved = state(&*first);
    let mut second = build(SMALL, 2);
    second.restore(&saved).expect("the state is of the same architecture");
    assert_eq!(bits(&state(&*second)), bits(&saved));
    assert_eq!(train(&mut *second, &images, 7..12), losses[7..]);
    assert_eq!(bits(&state(&*second)), bits(&state(&*straight)));
    assert_eq!(state(&*second).optimizer.updates, 12);
}

/// The weights that training goes on from.
fn trained(network: &dyn Network) -> Vec<NamedTensor> {
    let state = state(network);
    state.trained.unwrap_or(state.tensors)
}

#[test]
fn the_average_of_the_weights_is_what_the_formula_says() {
    let images = bars(200);
    for kernels in [Kernels::Composed, Kernels::Fused] {
        let (mut averaged, mut plain) = (build_on(kernels, SMALL, 2), build_on(kernels, SMALL, 2));
        let ema = 0.4;
        let mut expected: Vec<Vec<f64>> = Vec::new();
        for number in 0..12 {
            let batch = batch(&images, number, 20);
            let with = averaged.train(&batch, &Step { ema: Some(ema), ..step(number) }).expect("the CPU does not fail");
            let without = plain.train(&batch, &step(number)).expect("the CPU does not fail");
            assert_eq!(with, without, "training goes on from the weights, not from their average");
            let weights = trained(&*plain);
            assert_eq!(trained(&*averaged), weights);

            let wide = weights.iter().map(|tensor| tensor.values.iter().map(|&value| f64::from(value)).collect());
            if number == 0 {
                expected = wide.collect();
            } else {
                let kept = ema.min((1.0 + number as f64) / (10.0 + number as f64));
                for (average, weights) in expected.iter_mut().zip(wide.collect::<Vec<Vec<f64>>>()) {
                    average.iter_mut().zip(weights).for_each(|(a, w)| *a = kept * *a + (1.0 - kept) * w);
                }
            }
            for (tensor, expected) in state(&*averaged).tensors.iter().zip(&expected) {
                for (&value, expected) in tensor.values.iter().zip(expected) {
                    let error = (f64::from(value) - expected).abs();
                    assert!(error <= 1e-6 * expected.abs().max(1.0), "{kernels:?} {}: {value} {expected}", tensor.name);
                }
            }
        }
        assert_ne!(state(&*averaged).tensors, trained(&*averaged));
    }
}

#[test]
fn the_average_answers_and_goes_when_it_is_switched_off() {
    let images = bars(200);
    for kernels in [Kernels::Composed, Kernels::Fused] {
        let mut network = build_on(kernels, SMALL, 2);
        let logits = |network: &mut dyn Network| network.logits(&batch(&images, 0, 40)).expect("the CPU does not fail");
        let train = |network: &mut dyn Network, ema, numbers: std::ops::Range<usize>| {
            for number in numbers {
                let step = Step { ema, ..step(number) };
                network.train(&batch(&images, number, 20), &step).expect("the CPU does not fail");
            }
        };
        train(&mut *network, Some(0.9), 0..8);
        let average = state(&*network);
        let mut bare = build_on(kernels, SMALL, 2);
        let alone =
            |tensors: &[NamedTensor]| NetworkState { tensors: tensors.into(), trained: None, ..average.clone() };
        bare.restore(&alone(&average.tensors)).expect("the state is of the same architecture");
        assert_eq!(logits(&mut *network), logits(&mut *bare));
        bare.restore(&alone(&trained(&*network))).expect("the state is of the same architecture");
        assert_ne!(logits(&mut *network), logits(&mut *bare), "the weights say something else");

        // Both have the same weights: from here on, without an average, they are the same.
        train(&mut *network, None, 8..10);
        train(&mut *bare, None, 8..10);
        assert_eq!(state(&*network).trained, None);
        assert_eq!(bits(&state(&*network)), bits(&state(&*bare)));
        assert_eq!(logits(&mut *network), logits(&mut *bare));

        // A new one begins at the weights of now, whatever the old one was.
        train(&mut *network, Some(0.9), 10..11);
        assert_eq!(state(&*network).trained.as_deref(), Some(&*state(&*network).tensors));
    }
}

#[test]
fn a_resumed_average_goes_on_bit_for_bit() {
    let images = bars(200);
    for kernels in [Kernels::Composed, Kernels::Fused] {
        let train = |network: &mut dyn Network, numbers: std::ops::Range<usize>| {
            for number in numbers {
                let step = Step { ema: Some(0.9), ..step(number) };
                network.train(&batch(&images, number, 20), &step).expect("the CPU does not fail");
            }
        };
        let [mut straight, mut first, mut second] = [2, 2, 1].map(|threads| build_on(kernels, SMALL, threads));
        train(&mut *straight, 0..12);
        train(&mut *first, 0..7);
        second.restore(&state(&*first)).expect("the state is of the same architecture");
        assert_eq!(bits(&state(&*second)), bits(&state(&*first)));
        train(&mut *second, 7..12);
        assert_eq!(bits(&state(&*second)), bits(&state(&*straight)), "{kernels:?}");
    }
}

#[test]
fn a_state_that_does_not_fit_is_refused_and_changes_nothing() {
    let images = bars(40);
    let mut network = build(SMALL, 1);
    for number in 0..2 {
        let step = Step { ema: Some(0.9), ..step(number) };
        network.train(&batch(&images, number, 20), &step).expect("the CPU does not fail");
    }
    let good = state(&*network);
    let check = |network: &mut dyn Network, change: &dyn Fn(&mut NetworkState), expected: &str| {
        let mut wrong = good.clone();
        change(&mut wrong);
        let error = network.restore(&wrong).expect_err("the state is wrong");
        assert!(matches!(error, NetworkError::Mismatch(_)), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(bits(&state(network)), bits(&good));
    };
    check(&mut *network, &|state| drop(state.tensors.pop()), "tensors instead of");
    check(&mut *network, &|state| state.tensors[0].name = "1.bias".into(), "`1.bias` stands where `1.weight` belongs");
    check(&mut *network, &|state| state.tensors[0].shape = vec![4, 5, 5, 2], "[4, 5, 5, 2] instead of [4, 5, 5, 1]");
    check(&mut *network, &|state| state.tensors[1].values.truncate(3), "3 values instead of 4");
    check(&mut *network, &|state| drop(state.trained.as_mut().and_then(Vec::pop)), "tensors instead of");
    check(&mut *network, &|state| drop(state.optimizer.moments.pop()), "the state of adam");
    check(&mut *network, &|state| state.optimizer.moments[1][2].truncate(1), "the state of adam");
    check(&mut *network, &|state| state.optimizer.kind = OptimizerKind::RmsProp, "the state of rmsprop");
    let other = build("flatten dense10", 1);
    assert!(network.restore(&state(&*other)).is_err());
}

#[test]
fn a_step_that_is_not_finite_leaves_the_network_as_it_was() {
    let images = bars(40);
    let check = |arch: &str, change: &dyn Fn(&mut NetworkState)| {
        let mut network = build(arch, 1);
        train(&mut *network, &images, 0..2);
        let mut broken = state(&*network);
        change(&mut broken);
        network.restore(&broken).expect("the state has the right shape");
        let loss = train(&mut *network, &images, 2..3)[0];
        assert!(!loss.is_finite(), "{arch}: {loss}");
        assert_eq!(bits(&state(&*network)), bits(&broken));
        assert_eq!(state(&*network).optimizer.updates, 2);
    };
    check(SMALL, &|state| state.tensors.iter_mut().for_each(|tensor| tensor.values[0] = f32::NAN));
    // The loss is finite, but the first layer's gradient overflows.
    check("flatten dense4 dense4 dense10", &|state| {
        state.tensors.iter_mut().for_each(|tensor| tensor.values.fill(0.0));
        state.tensors[0].values.fill(1e-42);
        state.tensors[2].values.fill(1e21);
        state.tensors[4].values[..4].fill(1e21);
    });
}

#[test]
fn changing_the_optimizer_drops_its_state() {
    let images = bars(40);
    let mut network = build("flatten dense10", 1);
    train(&mut *network, &images, 0..3);
    let sgd = OptimizerKind::Sgd { momentum: 0.9, nesterov: false };
    network.train(&batch(&images, 3, 20), &Step { optimizer: sgd, ..step(3) }).expect("the CPU does not fail");
    let optimizer = state(&*network).optimizer;
    assert_eq!((optimizer.kind, optimizer.updates, optimizer.moments.len()), (sgd, 1, 1));
}

#[test]
fn running_statistics_follow_the_batch_and_serve_evaluation() {
    let images = bars(30);
    let mut network = build("bn flatten dense10", 1);
    network.train(&batch(&images, 0, 30), &Step { learning_rate: 0.0, ..step(0) }).expect("the CPU does not fail");
    let grey = |at: usize| f64::from(normalise(images.image(at / PIXELS)[at % PIXELS]));
    let count = 30 * PIXELS;
    let mean = (0..count).map(grey).sum::<f64>() / count as f64;
    let variance = (0..count).map(|at| (grey(at) - mean).powi(2)).sum::<f64>() / count as f64;
    let state = state(&*network);
    let value = |index: usize, name: &str| {
        assert_eq!(state.tensors[index].name, name);
        f64::from(state.tensors[index].values[0])
    };
    assert!((value(2, "1.mean") - 0.01 * mean).abs() < 1e-6);
    assert!((value(3, "1.variance") - (0.99 + 0.01 * variance)).abs() < 1e-6);

    let logits = network.logits(&batch(&images, 0, 1)).expect("the CPU does not fail")[0];
    let normal = |at: usize| (grey(at) - 0.01 * mean) / (0.99 + 0.01 * variance + 1e-3).sqrt();
    let weights = &state.tensors[4].values[..PIXELS];
    let expected: f64 = weights.iter().enumerate().map(|(at, weight)| f64::from(*weight) * normal(at)).sum();
    assert!((f64::from(logits[0]) - expected).abs() < 1e-4, "{} instead of {expected}", logits[0]);
}

#[test]
fn the_loss_is_the_mean_cross_entropy_against_smoothed_targets() {
    let images = bars(20);
    let mut network = build("flatten dense10", 1);
    let logits = network.logits(&batch(&images, 0, 20)).expect("the CPU does not fail");
    let result = network.train(&batch(&images, 0, 20), &step(0)).expect("the CPU does not fail");
    let cross_entropy = |sample: usize| -> f64 {
        let sum: f64 = logits[sample].iter().map(|logit| f64::from(*logit).exp()).sum();
        let of = |class: usize| {
            f64::from(smoothed(images.label(sample), 0.05)[class]) * (sum.ln() - f64::from(logits[sample][class]))
        };
        (0..10).map(of).sum()
    };
    let expected = (0..20).map(cross_entropy).sum::<f64>() / 20.0;
    assert!((f64::from(result.loss) - expected).abs() < 1e-5, "{} instead of {expected}", result.loss);
    let largest = |logits: &[f32; 10]| (0..10).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
    let predictions: Vec<_> = result.predictions.iter().map(|&class| Some(usize::from(class))).collect();
    assert_eq!(predictions, logits.iter().map(largest).collect::<Vec<_>>());
    assert!((smoothed(3, 0.1).iter().sum::<f32>() - 1.0).abs() < 1e-6);
    assert!((smoothed(3, 0.1)[3] - 0.91).abs() < 1e-6);
}

#[test]
fn evaluation_does_not_depend_on_the_batch_or_the_threads() {
    let images = bars(300);
    for preset in PRESETS.iter().filter(|preset| preset.name != "wide") {
        let mut network = build(preset.name, 2);
        let together = network.logits(&batch(&images, 0, 130)).expect("the CPU does not fail");
        assert_eq!(together.len(), 130);
        let mut other = build(preset.name, 1);
        for sample in [0, 64, 129] {
            let alone = other.logits(&Batch::new(images.clone(), vec![sample])).expect("the CPU does not fail")[0];
            for (alone, together) in alone.iter().zip(together[sample as usize]) {
                assert!((alone - together).abs() < 1e-4, "{}: {alone} and {together}", preset.name);
            }
        }
        assert!(network.logits(&Batch::new(images.clone(), vec![])).expect("the CPU does not fail").is_empty());
    }
}

#[test]
fn a_dropout_mask_keeps_its_share_and_the_mean() {
    let mask = DropoutMask::new(&step(4), 2, 0.3, 1000);
    let factors: Vec<f32> = (0..100)
        .flat_map(|sample| (0..1000).map(move |value| (sample, value)))
        .map(|(sample, value)| mask.factor(sample, value))
        .collect();
    let zeros = factors.iter().filter(|&&factor| factor == 0.0).count() as f64 / factors.len() as f64;
    let mean = factors.iter().map(|&factor| f64::from(factor)).sum::<f64>() / factors.len() as f64;
    assert!((zeros - 0.3).abs() < 0.01 && (mean - 1.0).abs() < 0.01, "{zeros} are 0, the mean is {mean}");
    let different =
        |other: DropoutMask| (0..100).any(|value| (mask.factor(0, value) == 0.0) != (other.factor(0, value) == 0.0));
    assert!(different(DropoutMask::new(&step(5), 2, 0.3, 1000)));
    assert!(different(DropoutMask::new(&step(4), 3, 0.3, 1000)));
}

#[test]
fn what_is_not_there_is_refused_with_a_sentence() {
    let arch = Arch::default();
    let error = "gpu".parse::<DeviceChoice>().expect_err("no such device");
    assert_eq!(error.to_string(), "`gpu` is no device: there are auto, cpu, cuda and cuda:N");
    for text in ["auto", "cpu", "cuda:3"] {
        assert_eq!(text.parse::<DeviceChoice>().expect("a device").to_string(), text);
    }
    let (_, info) =
        nn::build(&arch, &Setup { device: DeviceChoice::Cpu, threads: 2, ..Setup::default() }).expect("the CPU");
    assert_eq!((info.to_string().as_str(), info.threads), ("cpu×2", 2));
}
