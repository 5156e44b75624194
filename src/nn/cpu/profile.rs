//! Where the time goes: each step of a program alone on one thread, and the multiply-adds that the processor can do at best.
//! In training a convolution may take over a part of the batch norm behind it; here that is the batch norm's.

use std::hint::black_box;
use std::mem;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::Engine;
use super::chunk::Context;
use super::program::{self, Affine, ConvPool, Map, Op};
use super::simd::{Kernel, LANES, Level, Simd};
use crate::data::{Batch, CLASSES};
use crate::nn::Step;

/// The time of one step of the program, for one sample, on one thread.
#[derive(Clone, Debug, PartialEq)]
pub struct StepProfile {
    /// The step in words.
    pub name: String,
    /// Multiplications and additions of the forward pass if nothing were left out; the backward pass has as many for the
    /// weights and, unless the step reads the image, for the input.
    pub flops: f64,
    /// The median over the rounds.
    pub forward: Duration,
    /// The median over the rounds.
    pub backward: Duration,
}

impl Engine {
    /// Times each step over one chunk of `batch` in training, `rounds` times. The parameters must have been loaded for
    /// [`Pass::Training`](super::Pass::Training); batch norms take the statistics that were loaded, and the chunk for the batch.
    pub fn profile(&mut self, batch: &Batch, step: &Step, rounds: usize) -> Vec<StepProfile> {
        self.pass = None;
        let samples = batch.len().min(self.chunk);
        let slopes = vec![[0.1 / CLASSES as f32; CLASSES]; samples];
        let mut times = vec![[const { Vec::new() }; 2]; self.program.steps.len()];
        for _ in 0..rounds {
            let mut worker = mem::take(&mut self.workers[0]);
            let Self { program, weights, level, desks, .. } = &mut *self;
            let desk = desks[0].get_mut().unwrap_or_else(PoisonError::into_inner);
            worker.start(program);
            let context = Context { program, weights, level: *level, training: Some(step), samples };
            worker.load(0, program, batch, 0..samples);
            worker.with_chunk(0, program, desk, |chunk, gradients| {
                for (index, times) in times.iter_mut().enumerate() {
                    let start = Instant::now();
                    chunk.forward(&context, index..index + 1);
                    times[0].push(start.elapsed());
                }
                chunk.start_backward(program, &slopes);
                for (index, times) in times.iter_mut().enumerate().rev() {
                    let start = Instant::now();
                    chunk.backward_alone(&context, index, gradients);
                    times[1].push(start.elapsed());
                }
            });
            self.workers[0] = worker;
        }
        let steps = self.program.steps.iter().zip(times);
        steps
            .map(|(step, mut times)| {
                let [forward, backward] = times.each_mut().map(|times| {
                    times.sort();
                    times[times.len() / 2] / samples as u32
                });
                let (name, flops) = describe(step, &self.program.maps);
                StepProfile { name, flops, forward, backward }
            })
            .collect()
    }
}

/// A step in words, and the multiplications and additions of its matrix product for one sample.
fn describe(step: &program::Step, maps: &[Map]) -> (String, f64) {
    let to = maps[step.output];
    let (name, affine) = match &step.op {
        Op::Affine { affine, relu } => {
            let layer = if affine.rows == 1 { "dense" } else { "convolution" };
            (format!("{layer}{}", if *relu { ", relu" } else { "" }), Some(affine))
        }
        Op::Winograd { affine, relu, .. } => {
            (format!("convolution (Winograd){}", if *relu { ", relu" } else { "" }), Some(affine))
        }
        Op::ConvPool { affine, kind: ConvPool::Direct } => ("convolution, relu, pool".into(), Some(affine)),
        Op::ConvPool { affine, kind: ConvPool::Winograd } => {
            ("convolution (Winograd), relu, pool".into(), Some(affine))
        }
        Op::Pad { .. } => ("zeros around".into(), None),
        Op::Repack => ("other layout".into(), None),
        Op::MaxPool { .. } => ("max pool".into(), None),
        Op::BatchNorm { other, .. } => (format!("batch norm{}", if other.is_some() { ", sum" } else { "" }), None),
        Op::Relu => ("relu".into(), None),
        Op::Add { .. } => ("sum".into(), None),
        Op::Average => ("average pool".into(), None),
        Op::Dropout { .. } => ("dropout".into(), None),
    };
    let product = |affine: &Affine| 2.0 * (affine.rows * affine.taps * affine.channels * affine.outputs) as f64;
    (format!("{name} to {}×{}×{}", to.height, to.width, to.channels), affine.map_or(0.0, product))
}

/// Multiplications and additions a second of one thread that does nothing but multiply-adds on registers, with the
/// instructions of `level`: what no kernel can pass.
pub fn peak_flops(level: Level) -> f64 {
    const TURNS: usize = 2_000_000;
    let rate = |_| {
        let start = Instant::now();
        let flops = level.run(Peak { turns: TURNS });
        flops / start.elapsed().as_secs_f64()
    };
    (0..5).map(rate).fold(0.0, f64::max)
}

/// Chains of multiply-adds, enough to hide the latency of each and few enough for the registers.
struct Peak {
    turns: usize,
}

impl Kernel for Peak {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f64 {
        if S::ROWS < 6 { self.chains::<S, 6>(simd) } else { self.chains::<S, 12>(simd) }
    }
}

impl Peak {
    #[inline(always)]
    fn chains<S: Simd, const N: usize>(self, simd: S) -> f64 {
        let factor = simd.splat(black_box(0.999));
        let mut sums = [simd.splat(black_box(1.0)); N];
        for _ in 0..self.turns {
            for sum in &mut sums {
                *sum = simd.fma(*sum, factor, factor);
            }
        }
        let mut out = [0.0; LANES];
        for sum in sums {
            // SAFETY: `out` holds a vector of the widest level.
            unsafe { simd.store(&mut out, 0, sum) };
            black_box(&out);
        }
        (2 * N * S::LANES * self.turns) as f64
    }
}
