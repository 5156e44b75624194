//! Training, evaluating and building networks again does not eat memory: dfdx's cache of buffers stays bounded.
#![cfg(target_os = "linux")]

use std::sync::Arc;

use mnist_lab::data::{Batch, Images, PIXELS};
use mnist_lab::nn::{self, DeviceChoice, Kernels, Network, Setup, Step};

/// The resident memory of this process in MiB (`/proc/self/statm` counts pages of 4 KiB).
fn resident() -> usize {
    let counts = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    counts.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("the second number") / 256
}

fn build() -> Box<dyn Network> {
    let arch = "conv4:5x5:s2:p2 relu pool2 dropout0.2 bn flatten dense10".parse().expect("the architecture is right");
    let setup =
        Setup { device: DeviceChoice::Cpu, kernels: Kernels::Composed, threads: 1, seed: 1, ..Setup::default() };
    nn::build(&arch, &setup).expect("the CPU is always there").0
}

fn train(network: &mut dyn Network, size: usize, steps: u64) {
    let images = Arc::new(Images::new(vec![3; size * PIXELS], vec![1; size]));
    for number in 0..steps {
        let step = Step { seed: 1, number, ..Step::default() };
        let batch = Batch::new(images.clone(), (0..size as u32).collect());
        network.train(&batch, &step).expect("the CPU does not fail");
        network.logits(&batch).expect("the CPU does not fail");
    }
}

/// Runs `work` once to warm up, then `times` more, and compares the memory.
fn check(what: &str, times: usize, mut work: impl FnMut(usize)) {
    work(0);
    let before = resident();
    (1..=times).for_each(&mut work);
    let grown = resident().saturating_sub(before);
    assert!(grown < 40, "{what}: {grown} MiB more");
}

#[test]
fn memory_stays_bounded() {
    let mut network = build();
    check("300 steps", 300, |_| train(&mut *network, 64, 1));
    check("30 batch sizes", 30, |number| train(&mut *network, 40 + number, 2));
    check("30 networks", 30, |_| train(&mut *build(), 64, 2));
}
