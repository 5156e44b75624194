//! Each layer of a network alone on one thread: time, rate, and the share of what the processor can do at best.
//!
//! `cargo bench --bench layers [-- ARCH…]`

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a program for developers, which prints a table")]

use mnist_lab::arch::Arch;
use mnist_lab::data::{Batch, Dataset};
use mnist_lab::nn::Step;
use mnist_lab::nn::cpu::{Engine, Level, Pass, profile};
use mnist_lab::nn::param::specs;

fn main() {
    let texts: Vec<String> = std::env::args().skip(1).filter(|text| !text.starts_with("--")).collect();
    let texts = if texts.is_empty() { vec!["tutorial".into(), "wide".into(), "resnet".into()] } else { texts };
    for level in Level::available().into_iter().rev() {
        let peak = profile::peak_flops(level);
        println!("\n{level}: multiply-adds on registers alone reach {:.1} GFLOP/s on one thread", peak / 1e9);
        for text in &texts {
            table(text, level, peak);
        }
    }
}

fn table(text: &str, level: Level, peak: f64) {
    let arch: Arch = text.parse().expect("an architecture");
    let parameters: Vec<Vec<f32>> =
        specs(&arch).iter().enumerate().map(|(index, spec)| spec.initial(index, 1)).collect();
    let slices: Vec<&[f32]> = parameters.iter().map(Vec::as_slice).collect();
    let mut engine = Engine::new(&arch, 1, level);
    engine.load(&slices, Pass::Training);
    let profile = engine.profile(&batch(16), &Step { dropout: 0.25, ..Step::default() }, 200);
    println!(
        "\n{text:<46} {:>9} {:>9} {:>6} {:>9} {:>9} {:>6}",
        "forward", "GFLOP/s", "peak", "backward", "GFLOP/s", "peak"
    );
    // The image wants no gradient, so the first product has one for its weights alone.
    let mut of_image = true;
    for step in &profile {
        let products = if of_image { 1.0 } else { 2.0 };
        of_image &= step.flops == 0.0;
        let cells = [(step.forward, step.flops), (step.backward, products * step.flops)].map(|(time, flops)| {
            let rate = flops / time.as_secs_f64().max(1e-9);
            let micros = time.as_secs_f64() * 1e6;
            if flops == 0.0 {
                format!("{micros:>7.2}µs {:>9} {:>6}", "", "")
            } else {
                format!("{micros:>7.2}µs {:>9.1} {:>5.0}%", rate / 1e9, 100.0 * rate / peak)
            }
        });
        println!("  {:<44} {} {}", step.name, cells[0], cells[1]);
    }
    let sum = |time: fn(&profile::StepProfile) -> std::time::Duration| {
        profile.iter().map(|step| time(step).as_secs_f64() * 1e6).sum::<f64>()
    };
    println!("  {:<44} {:>7.2}µs {:>9} {:>6} {:>7.2}µs", "all", sum(|s| s.forward), "", "", sum(|s| s.backward));
}

/// The first digits of the training set.
fn batch(samples: u32) -> Batch {
    let data = Dataset::open(None).expect("the MNIST inside the program");
    Batch::new(data.train, (0..samples).collect())
}
