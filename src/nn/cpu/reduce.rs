//! The sum of the workers' gradients, always in the same order, so that it does not depend on which thread did what.

use super::buffer::Buffer;
use super::pointwise;
use super::program::Packed;
use super::simd::{Kernel, Level, Simd};
use super::team::Team;

/// Values that a thread sums at a time.
const BLOCK: usize = 4096;

/// Adds to `out[parameter]` the sum over `workers` of their gradients `[worker][parameter]`.
pub fn reduce(team: &Team, level: Level, workers: &[&[Buffer]], parameters: &[Packed], out: &mut [&mut [f32]]) {
    let mut tasks = Vec::new();
    for (parameter, (packed, out)) in parameters.iter().zip(out).enumerate() {
        match *packed {
            Packed::Runs { len, stride, .. } => {
                let runs = (BLOCK / len).max(1);
                let blocks = out.chunks_mut(runs * len).enumerate();
                tasks.extend(
                    blocks.map(|(i, out)| (parameter, Task::Runs { start: i * runs * stride, len, stride }, out)),
                );
            }
            Packed::Transposed { width, taps } => {
                tasks.push((parameter, Task::Transposed { width, taps }, &mut **out));
            }
        }
    }
    team.run(tasks.into_iter(), |_, (parameter, task, out)| {
        level.run(Sum { workers, parameter, task, out });
    });
}

#[derive(Clone, Copy)]
enum Task {
    Runs { start: usize, len: usize, stride: usize },
    Transposed { width: usize, taps: usize },
}

struct Sum<'a> {
    workers: &'a [&'a [Buffer]],
    parameter: usize,
    task: Task,
    out: &'a mut [f32],
}

impl Kernel for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { workers, parameter, task, out } = self;
        let gradients = workers.iter().map(|worker| &*worker[parameter]);
        match task {
            Task::Runs { start, len, stride } if len == stride => {
                gradients.for_each(|from| pointwise::accumulate(&from[start..][..out.len()], out));
            }
            Task::Runs { start, len, stride } => {
                for from in gradients {
                    for (from, to) in from[start..].chunks(stride).zip(out.chunks_exact_mut(len)) {
                        pointwise::accumulate(&from[..len], to);
                    }
                }
            }
            Task::Transposed { width, taps } => {
                for from in gradients {
                    for (output, to) in out.chunks_exact_mut(taps).enumerate() {
                        for (tap, to) in to.iter_mut().enumerate() {
                            *to += from[tap * width + output];
                        }
                    }
                }
            }
        }
    }
}
