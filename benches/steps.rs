//! What a person waits for: training steps, evaluation, one prediction, augmentation, opening the data. Items are samples.
//!
//! `cargo bench --bench steps [-- FILTER]`

#![expect(clippy::expect_used, reason = "a program for developers")]

use std::sync::LazyLock;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use mnist_lab::data::{Batch, Dataset, PIXELS};
use mnist_lab::nn::{self, DeviceChoice, Network, Setup, Step};

/// Opened once.
static DATA: LazyLock<Dataset> = LazyLock::new(|| Dataset::open(None).expect("the MNIST inside the program"));

fn main() {
    divan::main();
}

fn network(arch: &str, threads: usize) -> Box<dyn Network> {
    let setup = Setup { device: DeviceChoice::Cpu, threads, ..Setup::default() };
    nn::build(&arch.parse().expect("an architecture"), &setup).expect("the CPU does not fail").0
}

/// The training samples in their order, `size` at a time.
fn batches(size: usize) -> impl Iterator<Item = Batch> {
    let count = DATA.train.len() / size;
    (0..count)
        .cycle()
        .map(move |i| Batch::new(DATA.train.clone(), (i * size..(i + 1) * size).map(|sample| sample as u32).collect()))
}

fn steps(bencher: Bencher, arch: &str, batch_size: usize, threads: usize) {
    let mut network = network(arch, threads);
    let mut batches = batches(batch_size);
    let mut number = 0;
    bencher
        .counter(ItemsCount::new(batch_size))
        .with_inputs(|| batches.next().expect("they repeat"))
        .bench_local_values(|batch| {
            let step = Step { number, ..Step::default() };
            number += 1;
            network.train(&batch, &step).expect("the CPU does not fail")
        });
}

#[divan::bench(args = [32, 64, 128, 256, 512, 1024])]
fn train_tutorial(bencher: Bencher, batch_size: usize) {
    steps(bencher, "tutorial", batch_size, 0);
}

#[divan::bench(args = [1, 2])]
fn train_tutorial_threads(bencher: Bencher, threads: usize) {
    steps(bencher, "tutorial", 64, threads);
}

#[divan::bench(args = ["mlp", "lenet5", "wide", "resnet"])]
fn train_preset(bencher: Bencher, arch: &str) {
    steps(bencher, arch, 64, 0);
}

#[divan::bench(args = ["tutorial", "wide", "resnet"])]
fn evaluate_test_set(bencher: Bencher, arch: &str) {
    let mut network = network(arch, 0);
    let batch = Batch::new(DATA.test.clone(), (0..DATA.test.len() as u32).collect());
    bencher
        .counter(ItemsCount::new(batch.len()))
        .bench_local(|| network.logits(black_box(&batch)).expect("the CPU does not fail"));
}

#[divan::bench(args = ["tutorial", "wide", "resnet"])]
fn predict_one(bencher: Bencher, arch: &str) {
    let mut network = network(arch, 0);
    let batch = Batch::new(DATA.test.clone(), vec![42]);
    bencher.bench_local(|| network.logits(black_box(&batch)).expect("the CPU does not fail"));
}

#[divan::bench(args = ["none", "tutorial", "tutorial,elastic=3", "noise=0.1,erase=0.5"])]
fn augment(bencher: Bencher, text: &str) {
    let batch = batches(64).next().expect("they repeat").augmented(text.parse().expect("an augmentation"), 1, 0);
    let mut image = [0; PIXELS];
    bencher.counter(ItemsCount::new(batch.len())).bench_local(|| {
        for position in 0..batch.len() {
            batch.write(position, black_box(&mut image));
        }
    });
}

#[divan::bench]
fn open_embedded_mnist() -> Dataset {
    Dataset::open(None).expect("the MNIST inside the program")
}
