//! Fused kernels for the CPU: a network's forward and backward pass over plain slices, many times faster than tensor operations.
//!
//! - **Program** ([`program`]): the architecture becomes a list of steps between numbered maps. Convolution, bias, rectifier
//!   and 2×2 pooling are one step, so what the pool drops is never stored. Maps lie in the order height, width, channel, with
//!   the channels padded to whole vectors; the padding is always zero.
//! - **Chunks** ([`chunk`]): a few samples go through all steps together, while what lies between the steps is still in the
//!   cache. Their pixels are gathered, augmented and normalised there too. Only batch norm, which needs statistics of the
//!   whole batch, divides a program in *stages* at whose ends the chunks meet; what a stage makes for itself alone is made
//!   again in the backward pass. The loss is dfdx's, between the forward and the backward pass; so that what lies between the
//!   steps can wait in the cache for the latter, larger batches are cut ([`Engine::most_samples`]).
//! - **Workers**: chunk k belongs to worker k mod [`WORKERS`], which sums its own gradients. Threads take workers in turn
//!   ([`team`]), and [`reduce`] adds the workers up in a fixed order: the result is the same to the bit for any number of threads.
//!   What a chunk does not keep from pass to pass is lent by the thread ([`chunk::Workspace`]), whose cache it stays in.
//! - **Kernels**: [`affine`] (matrix products in register tiles), [`winograd`] (3×3 convolutions, and larger ones in steps of 2,
//!   with a fraction of the multiplications), [`conv_pool`] (convolution and pooling in one go, which Winograd's algorithm also
//!   does), [`sparse`] (the backward pass of these, over lists of the few gradients that pool and rectifier let through),
//!   [`batch_norm`], [`max_pool`], [`pointwise`]. Each is written once over the trait [`simd::Simd`] and compiled for AVX-512,
//!   AVX2, NEON and plain arrays; the processor is asked at run time.
//! - **Weights** ([`weights`]): rearranged for the kernels after each update.
//!
//! All `unsafe` code of the CPU network is here: loads and stores that skip the bounds check, after each kernel has asserted that
//! its slices are long enough (builds with debug assertions check each one), the entry into code for found instructions, memory
//! in cache lines and huge pages ([`buffer`]), and work lent to other threads ([`team`]).

#![expect(unsafe_code, reason = "SIMD kernels; see the head of this file for why they are sound")]
// Register tiles are small matrices, and the compiler needs their loops counted to keep them in registers; `array::from_fn` can
// become a call for each tile.
#![expect(clippy::needless_range_loop, reason = "see above")]
#![expect(clippy::inline_always, reason = "kernels must be compiled inside a function with the level's instructions")]
#![expect(clippy::struct_field_names, reason = "a gradient is named after what it is the gradient of")]

mod affine;
mod batch_norm;
mod buffer;
mod chunk;
mod conv_pool;
mod max_pool;
mod optim;
mod pieces;
mod pointwise;
pub mod profile;
mod program;
mod reduce;
mod simd;
mod sparse;
mod team;
mod weights;
mod winograd;

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::arch::Arch;
use crate::data::{Batch, CLASSES};
use crate::nn::Step;
use crate::nn::optim::Rule;
use crate::nn::plan::Statistics;
use buffer::Buffer;
use chunk::{Chunk, Context, Workspace};
pub use optim::Parameter;
use program::{Map, Op, Program};
pub use simd::Level;
use team::Team;
pub use weights::Pass;
use weights::{Features, Weights, inverse_deviation};

/// Samples of a chunk, unless they are so large that fewer fill [`CHUNK_VALUES`].
const CHUNK: usize = 16;
/// Values between the steps that a chunk may have: more would not stay in the cache, and would add up to much memory.
const CHUNK_VALUES: usize = 5 << 18;
/// Workers that chunks are dealt to: more could use more threads, fewer have fewer gradients to sum up.
const WORKERS: usize = 8;

/// A network on the CPU. Parameters and gradients stay with the caller; what it keeps is memory to work in.
#[derive(Debug)]
pub struct Engine {
    program: Program,
    /// Samples of a chunk.
    chunk: usize,
    /// One for each step.
    weights: Vec<Weights>,
    workers: Vec<Worker>,
    /// One for each thread.
    desks: Vec<Mutex<Desk>>,
    team: Team,
    level: Level,
    /// The forward pass of training that waits for its backward pass: which samples, and the step.
    pass: Option<(Range<usize>, Step)>,
}

/// What each thread has for itself.
#[derive(Debug, Default)]
struct Desk {
    workspace: Workspace,
    /// For inference, which keeps nothing.
    chunk: Chunk,
}

/// One share of a batch.
#[derive(Debug, Default)]
struct Worker {
    chunks: Vec<Chunk>,
    /// By parameter.
    gradients: Vec<Buffer>,
    /// Of its chunks, one after the other, from inference.
    logits: Vec<[f32; CLASSES]>,
}

impl Engine {
    /// For `arch` on `threads` threads, the caller's included, or 0 for as many as the machine has, with the instructions of
    /// `level`, which must be among [`Level::available`].
    pub fn new(arch: &Arch, threads: usize, level: Level) -> Self {
        let sample: usize = Program::new(arch, 1).maps.iter().map(Map::len).sum();
        // A power of two, so that batches of the usual sizes are whole chunks.
        let chunk = 1 << (CHUNK_VALUES / sample).clamp(1, CHUNK).ilog2();
        let program = Program::new(arch, chunk);
        let team = Team::new(threads);
        Self {
            chunk,
            weights: vec![Weights::default(); program.steps.len()],
            workers: (0..WORKERS).map(|_| Worker::default()).collect(),
            desks: (0..team.threads()).map(|_| Mutex::default()).collect(),
            team,
            level,
            program,
            pass: None,
        }
    }

    /// How many threads work. The forward and the backward pass deal a batch out in chunks of 16 samples, fewer where the maps
    /// are large, to at most [`WORKERS`] of them: a batch of 64 uses four.
    pub const fn threads(&self) -> usize {
        self.team.threads()
    }

    /// The instructions in use.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Takes over `parameters`, in the order of [`specs`](crate::nn::param::specs): wanted after each change of them.
    pub fn load(&mut self, parameters: &[&[f32]], pass: Pass) {
        let Self { program, weights, team, level, .. } = self;
        weights::load(team, *level, program, parameters, pass, weights);
    }

    /// Logits of each sample of `batch`, with dropout off and the running statistics of batch norm.
    pub fn logits(&mut self, batch: &Batch) -> Vec<[f32; CLASSES]> {
        self.pass = None;
        let all = 0..self.program.steps.len();
        self.each_worker(0..batch.len(), None, 0, |context, worker, desk, chunks| {
            worker.logits.clear();
            for (_, samples) in chunks {
                desk.chunk.load(context.program, batch, samples);
                desk.chunk.with(context.program, &mut desk.workspace, |chunk| {
                    chunk.forward(context, all.clone());
                    worker.logits.extend(chunk.logits(context.program));
                });
            }
        });
        let place = |sample: usize| {
            let chunk = sample / self.chunk;
            self.workers[chunk % WORKERS].logits[chunk / WORKERS * self.chunk + sample % self.chunk]
        };
        (0..batch.len()).map(place).collect()
    }

    /// The [features](crate::nn::Network::features) of each sample of `batch`, computed as the logits are.
    pub fn features(&mut self, batch: &Batch) -> Vec<Vec<f32>> {
        self.pass = None;
        let before = 0..self.program.steps.partition_point(|step| step.output <= self.program.features);
        let rows = Mutex::new(vec![Vec::new(); batch.len()]);
        self.each_worker(0..batch.len(), None, 0, |context, _, desk, chunks| {
            for (_, samples) in chunks {
                desk.chunk.load(context.program, batch, samples.clone());
                desk.chunk.with(context.program, &mut desk.workspace, |chunk| {
                    chunk.forward(context, before.clone());
                    let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
                    rows[samples].iter_mut().zip(chunk.features(context.program)).for_each(|(row, new)| *row = new);
                });
            }
        });
        rows.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most samples that [`Engine::forward`] should get at once: one chunk for each worker, unless a batch norm must see
    /// the whole batch.
    pub const fn most_samples(&self) -> usize {
        if self.program.stages.len() == 1 { WORKERS * self.chunk } else { usize::MAX }
    }

    /// The forward pass of `samples` of `batch` in training: logits of each, and the statistics of the batch norms. The
    /// parameters must have been loaded for [`Pass::Training`].
    pub fn forward(&mut self, batch: &Batch, samples: Range<usize>, step: &Step) -> (Vec<[f32; CLASSES]>, Statistics) {
        let stages = self.program.stages.clone();
        let last = stages.len() - 1;
        let mut statistics = Vec::new();
        for (index, stage) in stages.iter().enumerate() {
            self.each_worker(samples.clone(), Some(step), index, |context, worker, desk, chunks| {
                for (i, samples) in chunks {
                    if index == 0 {
                        worker.load(i, context.program, batch, samples);
                    }
                    worker.with_chunk(i, context.program, desk, |chunk, _| {
                        chunk.forward(context, stage.clone());
                        if index < last {
                            chunk.statistics(context, &context.program.steps[stage.end]);
                        }
                    });
                }
            });
            if index < last {
                self.normalise(stage.end, samples.len(), &mut statistics);
            }
        }
        let chunks = samples.len().div_ceil(self.chunk);
        let logits = (0..chunks).flat_map(|number| self.chunk_of(number).logits(&self.program)).collect();
        self.pass = Some((samples, *step));
        (logits, statistics)
    }

    /// The backward pass after [`Engine::forward`]: adds to `gradients`, in the order of the parameters, what follows from
    /// `slopes`, the gradients of the logits. Those of running statistics are left alone.
    ///
    /// # Panics
    /// If there was no such forward pass, or something else since.
    pub fn backward(&mut self, slopes: &[[f32; CLASSES]], gradients: &mut [&mut [f32]]) {
        let (samples, step) = self.pass.take().expect("a backward pass follows its forward pass");
        let stages = self.program.stages.clone();
        let last = stages.len() - 1;
        self.each_worker(samples.clone(), Some(&step), last + 1, |context, worker, desk, chunks| {
            worker.start(context.program);
            for (i, part) in chunks {
                let slopes = &slopes[part.start - samples.start..part.end - samples.start];
                worker.with_chunk(i, context.program, desk, |chunk, gradients| {
                    chunk.start_backward(context.program, slopes);
                    chunk.repeat(context, stages[last].clone());
                    chunk.backward(context, stages[last].clone(), gradients);
                });
            }
        });
        for (stage, turn) in stages[..last].iter().rev().zip(last + 2..) {
            self.backward_through_norm(samples.clone(), &step, stage.clone(), turn);
        }
        let active: Vec<&[Buffer]> = self.active(samples.len()).iter().map(|worker| &*worker.gradients).collect();
        reduce::reduce(&self.team, self.level, &active, &self.program.parameters, gradients);
    }

    /// One update of the `parameters` by their gradients; they must be loaded anew before the next pass.
    pub fn update(&self, rule: Rule, parameters: Vec<Parameter>) {
        optim::update(&self.team, self.level, rule, parameters);
    }

    /// The workers that have chunks of a batch of this size.
    fn active(&self, samples: usize) -> &[Worker] {
        &self.workers[..samples.div_ceil(self.chunk).min(WORKERS)]
    }

    /// Runs `work` for each worker that has chunks, with the number and the samples of each of them. Every other `turn`, counted
    /// through the forward and the backward pass, begins at the batch's end: what came last may still be in the cache.
    fn each_worker(
        &mut self,
        samples: Range<usize>,
        training: Option<&Step>,
        turn: usize,
        work: impl Fn(&Context, &mut Worker, &mut Desk, Chunks) + Sync,
    ) {
        let active = self.active(samples.len()).len();
        let size = self.chunk;
        let Self { program, weights, workers, desks, team, level, .. } = self;
        let context = Context { program, weights, level: *level, training, samples: samples.len() };
        let from_end = !turn.is_multiple_of(2);
        let mut order: Vec<_> = workers[..active].iter_mut().enumerate().collect();
        if from_end {
            order.reverse();
        }
        team.run(order.into_iter(), |thread, (number, worker)| {
            let mut desk = desks[thread].lock().unwrap_or_else(PoisonError::into_inner);
            let starts = (samples.start + number * size..samples.end).step_by(size * WORKERS);
            let mut chunks: Chunks = starts.map(|start| start..samples.end.min(start + size)).enumerate().collect();
            if from_end {
                chunks.reverse();
            }
            work(&context, worker, &mut desk, chunks);
        });
    }

    /// Gives the batch norm at `step` the mean and variance of the batch, from its chunks' sums in their order.
    fn normalise(&mut self, step: usize, samples: usize, statistics: &mut Statistics) {
        let program::Step { input, op: Op::BatchNorm { parameter, flat, .. }, .. } = &self.program.steps[step] else {
            return;
        };
        let map = self.program.maps[*input];
        let features = Features::of(map, *flat);
        let mut sums = vec![0.0; 2 * features.width()];
        for chunk in 0..samples.div_ceil(self.chunk) {
            sums.iter_mut().zip(&self.chunk_of(chunk).sums).for_each(|(sum, part)| *sum += part);
        }
        let rows = (samples * map.len() / features.width()) as f64;
        let (sums, squares) = sums.split_at(features.width());
        let means: Vec<f64> = sums.iter().map(|sum| sum / rows).collect();
        let variances: Vec<f64> =
            squares.iter().zip(&means).map(|(square, mean)| (square / rows - mean * mean).max(0.0)).collect();
        let normal = &mut self.weights[step].forward.normal;
        for ((mean, factor), (&m, &v)) in
            normal.mean.iter_mut().zip(normal.factor.iter_mut()).zip(means.iter().zip(&variances))
        {
            (*mean, *factor) = (m as f32, inverse_deviation(v));
        }
        for (offset, values) in [(2, means), (3, variances)] {
            let row: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
            statistics.push((parameter + offset, features.collect(&row)));
        }
    }

    /// Brings the gradient from behind the batch norm that follows `stage` back to the start of `stage`.
    fn backward_through_norm(&mut self, samples: Range<usize>, step: &Step, stage: Range<usize>, turn: usize) {
        let norm = stage.end;
        let Op::BatchNorm { parameter, .. } = self.program.steps[norm].op else { return };
        let total = |parameter: usize| {
            let mut sum = vec![0.0; self.workers[0].gradients[parameter].len()];
            self.active(samples.len())
                .iter()
                .for_each(|worker| pointwise::accumulate(&worker.gradients[parameter], &mut sum));
            sum
        };
        let (scale, shift) = (total(parameter), total(parameter + 1));
        self.each_worker(samples, Some(step), turn, |context, worker, desk, chunks| {
            let (step, slopes) = (&context.program.steps[norm], context.slopes(norm, &scale, &shift));
            for (i, _) in chunks {
                worker.with_chunk(i, context.program, desk, |chunk, gradients| {
                    chunk.backward_through_norm(context, step, &slopes, stage.clone(), gradients);
                });
            }
        });
    }

    /// Chunk `number` of the batch.
    fn chunk_of(&self, number: usize) -> &Chunk {
        &self.workers[number % WORKERS].chunks[number / WORKERS]
    }
}

impl Worker {
    /// Fills chunk `index`, made if it is the first time, with `samples` of `batch`.
    fn load(&mut self, index: usize, program: &Program, batch: &Batch, samples: Range<usize>) {
        if self.chunks.len() <= index {
            self.chunks.resize_with(index + 1, Chunk::default);
        }
        self.chunks[index].load(program, batch, samples);
    }

    /// Runs `work` with chunk `index` at the `desk` of a thread, and the worker's gradients.
    fn with_chunk(
        &mut self,
        index: usize,
        program: &Program,
        desk: &mut Desk,
        work: impl FnOnce(&mut Chunk, &mut [Buffer]),
    ) {
        let Self { chunks, gradients, .. } = self;
        chunks[index].with(program, &mut desk.workspace, |chunk| work(chunk, gradients));
    }

    /// Zeros for the gradients of all parameters.
    fn start(&mut self, program: &Program) {
        self.gradients.resize_with(program.parameters.len(), Buffer::default);
        for (gradient, packed) in self.gradients.iter_mut().zip(&program.parameters) {
            gradient.reserve(packed.reserved());
            gradient.fill(0.0);
        }
    }
}

/// Numbers, counted within a worker, and samples of its chunks in the order in which they take turns.
type Chunks = Vec<(usize, Range<usize>)>;
