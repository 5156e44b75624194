//! The composed network against references in plain `f64`: every layer's gradient against central finite differences, and
//! the forward pass of convolution and pooling against nested loops.

use std::sync::Arc;

use dfdx::tensor::Cpu;
use mnist_lab::arch::Arch;
use mnist_lab::data::{Batch, Images, PIXELS, SIDE};
use mnist_lab::nn::Step;
use mnist_lab::nn::backend::{Backend, Values};
use mnist_lab::nn::composed::Composed;
use mnist_lab::nn::optim::OptimizerKind;
use mnist_lab::nn::param::{Kind, Parameters};
use mnist_lab::nn::plan::{Outcome, Plan, normalise};
use mnist_lab::random::{Purpose, Stream};

const SAMPLES: usize = 3;

/// Images of noise, so that no two values tie.
fn noise() -> Arc<Images> {
    let mut stream = Stream::new(5, Purpose::Augment, [0, 0]);
    let pixels = (0..SAMPLES * PIXELS).map(|_| stream.below(256) as u8).collect();
    Arc::new(Images::new(pixels, vec![3, 1, 9]))
}

fn batch() -> Batch {
    Batch::new(noise(), (0..SAMPLES as u32).collect())
}

fn step() -> Step {
    Step {
        seed: 7,
        number: 11,
        learning_rate: 0.0,
        optimizer: OptimizerKind::Adam,
        weight_decay: 0.0,
        dropout: 0.4,
        label_smoothing: 0.1,
        ..Step::default()
    }
}

/// A network in `f64`, its parameters moved off their first values: biases and shifts are no longer 0, scales no longer 1.
struct Probe {
    parameters: Parameters<f64, Cpu>,
    plan: Composed<f64, Cpu>,
    gradients: Vec<Values<f64, Cpu>>,
}

impl Probe {
    fn new(arch: &str) -> Self {
        let arch: Arch = arch.parse().expect("the test's architecture is right");
        let device = Cpu::seed_from_u64(0);
        let mut parameters = Parameters::new(&arch, device.clone(), 1).expect("the CPU does not fail");
        let mut stream = Stream::new(2, Purpose::Initialise, [99, 0]);
        for (spec, values) in parameters.specs.iter().zip(&mut parameters.values) {
            if spec.kind != Kind::Weight {
                values.iter_mut().for_each(|value| *value += f64::from(stream.uniform(0.1, 0.5)));
            }
        }
        let gradients = parameters.zeros().expect("the CPU does not fail");
        Self { plan: Composed::new(&arch, &device).expect("the CPU does not fail"), parameters, gradients }
    }

    fn run(&mut self) -> Outcome {
        let Self { parameters, plan, gradients } = self;
        plan.gradients(parameters, &batch(), &step(), gradients).expect("the CPU does not fail")
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

/// Compares the gradient of up to 25 values of each parameter of `arch`.
fn check(arch: &str) {
    const H: f64 = 1e-6;
    let mut probe = Probe::new(arch);
    probe.run();
    let gradients: Vec<Vec<f64>> = probe.gradients.iter().map(|values| values.to_vec()).collect();
    // A bias before batch norm has no effect: its gradient is noise that is small against that of the others.
    let overall = gradients.iter().map(|gradient| largest(gradient)).fold(0.0, f64::max);
    for (index, gradient) in gradients.iter().enumerate() {
        if !probe.parameters.specs[index].kind.is_trained() {
            continue;
        }
        let largest = largest(gradient).max(1e-2 * overall);
        for at in (0..gradient.len()).step_by(gradient.len().div_ceil(25)) {
            let mut loss = |offset: f64| {
                let before = probe.parameters.values[index][at];
                probe.parameters.values[index][at] = before + offset;
                let loss = probe.run().loss;
                probe.parameters.values[index][at] = before;
                loss
            };
            let difference = (loss(H) - loss(-H)) / (2.0 * H);
            let error = (gradient[at] - difference).abs() / largest;
            let name = &probe.parameters.specs[index].name;
            assert!(error < 1e-6, "{arch}: {name}[{at}] is {} but should be {difference}", gradient[at]);
        }
    }
}

#[test]
fn gradients_of_convolutions() {
    for conv in ["1x1", "3x3", "2x5:s2", "7x1", "5x3:p2", "3x4:s2:p1", "6x2:s2:p1"] {
        check(&format!("conv2:{conv} conv3:{conv} flatten dense10"));
    }
}

#[test]
fn gradients_of_pooling() {
    for pool in ["pool2", "pool3:s2", "pool3:s1", "pool2:s3", "pool4"] {
        check(&format!("conv3:3x3 {pool} conv2:3x3 {pool} flatten dense10"));
    }
    check("conv3:3x3 gap dense10");
    check("conv3:3x3 relu pool2 relu flatten dense10");
}

#[test]
fn gradients_of_dense_layers_and_dropout() {
    check("flatten dense7 relu dense10");
    check("flatten flatten dense7 dropout dense6 relu dropout0.25 dense10");
    check("conv3:5x5:s2 dropout0.3 relu flatten dropout dense10");
}

#[test]
fn gradients_of_batch_norm() {
    check("conv3:5x5:s2 bn relu conv2:3x3 bn flatten dense10");
    check("pool3 bn flatten dense8 bn relu dense10 bn");
}

#[test]
fn gradients_of_residual_blocks() {
    check("conv3:5x5:s2 res(conv3:3x3:p1 bn relu conv3:3x3:p1) relu gap dense10");
    check("conv3:5x5:s2 res(conv4:3x3:s2:p1 relu | conv4:1x1:s2 bn) relu flatten dense10");
    check("conv2:5x5:s2 res(res(relu | bn) | dropout0.2 res(conv2:1x1)) flatten dense8 res(relu) res(dropout) dense10");
}

#[test]
fn gradients_of_small_presets() {
    check("conv4:3x3 relu pool2 conv5:3x3 relu pool2 conv5:3x3 relu flatten dense8 relu dropout dense10");
    check("conv3:5x5:p2 relu pool2 conv4:5x5 relu pool2 flatten dense9 relu dense8 relu dropout dense10");
    check(
        "conv3:3x3:p1 bn relu res(conv3:3x3:p1 bn relu conv3:3x3:p1 bn) relu pool2 \
         res(conv4:3x3:p1 bn relu conv4:3x3:p1 bn | conv4:1x1 bn) relu pool2 gap dropout dense10",
    );
}

/// An image in the reference: `[row][column][channel]`.
type Map = Vec<Vec<Vec<f64>>>;

fn reference_conv(x: &Map, weight: &[f64], bias: &[f64], kernel: [usize; 2], stride: usize, padding: usize) -> Map {
    let (height, width, channels) = (x.len(), x[0].len(), x[0][0].len());
    let size = |size: usize, kernel: usize| (size + 2 * padding - kernel) / stride + 1;
    let mut y = vec![vec![bias.to_vec(); size(width, kernel[1])]; size(height, kernel[0])];
    for (row, line) in y.iter_mut().enumerate() {
        for (column, outputs) in line.iter_mut().enumerate() {
            for (filter, output) in outputs.iter_mut().enumerate() {
                for ky in 0..kernel[0] {
                    for kx in 0..kernel[1] {
                        let (at_y, at_x) = (row * stride + ky, column * stride + kx);
                        if (padding..height + padding).contains(&at_y) && (padding..width + padding).contains(&at_x) {
                            for channel in 0..channels {
                                let weight = weight[((filter * kernel[0] + ky) * kernel[1] + kx) * channels + channel];
                                *output += weight * x[at_y - padding][at_x - padding][channel];
                            }
                        }
                    }
                }
            }
        }
    }
    y
}

fn reference_pool(x: &Map, size: usize, stride: usize) -> Map {
    let out = |length: usize| (length - size) / stride + 1;
    let mut y = vec![vec![vec![f64::MIN; x[0][0].len()]; out(x[0].len())]; out(x.len())];
    for (row, line) in y.iter_mut().enumerate() {
        for (column, outputs) in line.iter_mut().enumerate() {
            for (channel, output) in outputs.iter_mut().enumerate() {
                for dy in 0..size {
                    for dx in 0..size {
                        *output = output.max(x[row * stride + dy][column * stride + dx][channel]);
                    }
                }
            }
        }
    }
    y
}

fn reference_dense(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let unit = |(row, bias): (&[f64], &f64)| bias + row.iter().zip(x).map(|(weight, x)| weight * x).sum::<f64>();
    weight.chunks(x.len()).zip(bias).map(unit).collect()
}

/// Compares the logits of conv, conv, pool, flatten, dense with the reference.
fn check_forward(kernel: [usize; 2], stride: usize, padding: usize, pool: [usize; 2]) {
    let conv = format!("{}x{}:s{stride}:p{padding}", kernel[0], kernel[1]);
    let arch = format!("conv2:{conv} conv3:{conv} pool{}:s{} flatten dense10", pool[0], pool[1]);
    let mut probe = Probe::new(&arch);
    let logits = probe.plan.logits(&probe.parameters, &batch()).expect("the CPU does not fail");
    let parameter = |index: usize| probe.parameters.device.download(&probe.parameters.values[index]).expect("as above");
    let parameters: Vec<Vec<f64>> = (0..6).map(parameter).collect();
    let images = noise();
    for (sample, logits) in logits.iter().enumerate() {
        let pixel = |y: usize, x: usize| vec![f64::from(normalise(images.image(sample)[y * SIDE + x]))];
        let image: Map = (0..SIDE).map(|y| (0..SIDE).map(|x| pixel(y, x)).collect()).collect();
        let first = reference_conv(&image, &parameters[0], &parameters[1], kernel, stride, padding);
        let second = reference_conv(&first, &parameters[2], &parameters[3], kernel, stride, padding);
        let flat = reference_pool(&second, pool[0], pool[1]).concat().concat();
        for (logit, expected) in logits.iter().zip(reference_dense(&flat, &parameters[4], &parameters[5])) {
            assert!((f64::from(*logit) - expected).abs() < 1e-5, "{arch}: {logit} instead of {expected}");
        }
    }
}

#[test]
fn the_forward_pass_equals_nested_loops() {
    check_forward([1, 1], 1, 0, [2, 2]);
    check_forward([3, 3], 1, 0, [3, 2]);
    check_forward([3, 5], 1, 2, [2, 1]);
    check_forward([5, 2], 2, 1, [2, 2]);
    check_forward([4, 7], 1, 3, [5, 3]);
}

#[test]
fn a_tied_maximum_sends_its_gradient_to_one_value_alone() {
    // Black images through a convolution of weight 1: every window is all ties, and d loss / d bias must count each window once.
    let mut probe = Probe::new("conv1:1x1 pool2 flatten dense10");
    let black = Batch::new(Arc::new(Images::new(vec![0; PIXELS], vec![4])), vec![0]);
    let Probe { parameters, plan, gradients } = &mut probe;
    plan.gradients(parameters, &black, &step(), gradients).expect("the CPU does not fail");
    let before: f64 =
        (0..10).map(|class| gradients[3][class] * parameters.values[2][class * 196..][..196].iter().sum::<f64>()).sum();
    assert!((gradients[1][0] - before).abs() < 1e-12, "{} instead of {before}", gradients[1][0]);
    assert!(before.abs() > 1e-6);
}
