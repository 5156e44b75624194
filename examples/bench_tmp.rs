#![allow(unsafe_code)]
use std::sync::Arc;
use std::time::Instant;
use mnist_lab::arch::Arch;
use mnist_lab::data::*;
use mnist_lab::nn::Step;
use mnist_lab::nn::cpu::{Engine, Level, Pass};
use mnist_lab::nn::optim::OptimizerKind;
use mnist_lab::nn::param::specs;

fn cpu_time() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t) };
    t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let arch: Arch = a[1].parse().unwrap();
    let n: usize = a[2].parse().unwrap();
    let threads: usize = a[3].parse().unwrap();
    let data = Dataset::open(None).unwrap();
    let params: Vec<Vec<f32>> = specs(&arch).iter().enumerate().map(|(i, s)| s.initial(i, 1)).collect();
    let slices: Vec<&[f32]> = params.iter().map(|p| &p[..]).collect();
    let mut grads: Vec<Vec<f32>> = params.iter().map(|p| vec![0.0; p.len()]).collect();
    let mut engine = Engine::with_level(&arch, threads, Level::detect());
    let step = Step { seed: 5, number: 3, learning_rate: 1e-3, optimizer: OptimizerKind::Adam, weight_decay: 0.0, dropout: 0.0, label_smoothing: 0.0 };
    let images: Arc<Images> = data.train.clone();
    for round in 0..4 {
        let (t, c) = (Instant::now(), cpu_time());
        let mut seen = 0;
        while seen < 4000 {
            let batch = Batch::new(images.clone(), (seen as u32..(seen + n) as u32).collect());
            engine.load(&slices, Pass::Training);
            let mut g: Vec<&mut [f32]> = grads.iter_mut().map(|p| &mut p[..]).collect();
            std::hint::black_box(engine.train(&batch, &step, &mut g));
            seen += n;
        }
        let (wt, ct) = (t.elapsed().as_secs_f64(), cpu_time() - c);
        engine.load(&slices, Pass::Inference);
        let (t, c) = (Instant::now(), cpu_time());
        let mut done = 0;
        while done < 8000 {
            let batch = Batch::new(images.clone(), (done as u32..(done + n) as u32).collect());
            std::hint::black_box(engine.logits(&batch));
            done += n;
        }
        let (wi, ci) = (t.elapsed().as_secs_f64(), cpu_time() - c);
        println!("{round}: train {:.0}/s wall, {:.0} per cpu-s; infer {:.0}/s wall, {:.0} per cpu-s", seen as f64 / wt, seen as f64 / ct, done as f64 / wi, done as f64 / ci);
    }
}
