//! The sum of the workers' gradients, always in the same order, so that it does not depend on which thread did what.

use super::buffer::Buffer;
use super::pointwise;
use super::program::Packed;
use super::simd::{Kernel, LANES, Level, Simd};
use super::team::Team;
use super::winograd;

/// Values that a thread sums at a time.
const BLOCK: usize = 4096;

/// Adds to `out[parameter]` the sum over `workers` of their gradients `[worker][parameter]`. Parameters whose gradient the
/// workers do not have are left alone.
pub fn reduce(team: &Team, level: Level, workers: &[&[Buffer]], parameters: &[Packed], out: &mut [&mut [f32]]) {
    let mut tasks = Vec::new();
    for (parameter, (packed, out)) in parameters.iter().zip(out).enumerate() {
        if workers[0][parameter].is_empty() {
            continue;
        }
        match *packed {
            Packed::Runs { len, stride, .. } => {
                let runs = (BLOCK / len).max(1);
                let blocks = out.chunks_mut(runs * len).enumerate();
                tasks.extend(
                    blocks.map(|(i, out)| (parameter, Task::Runs { start: i * runs * stride, len, stride }, out)),
                );
            }
            Packed::Transposed { width, taps, .. } => {
                tasks.push((parameter, Task::Transposed { width, taps }, &mut **out));
            }
            Packed::Winograd { tile, width, len, stride, .. } => {
                let outputs = (BLOCK / (9 * len)).max(1);
                let blocks = out.chunks_mut(outputs * 9 * len).enumerate();
                tasks.extend(blocks.map(|(i, out)| {
                    (
                        parameter,
                        Task::Winograd { tile, start: i * outputs * stride, plane: width * stride, len, stride },
                        out,
                    )
                }));
            }
        }
    }
    team.run(tasks.into_iter(), |(parameter, task, out)| {
        level.run(Sum { workers, parameter, task, out });
    });
}

#[derive(Clone, Copy)]
enum Task {
    Runs {
        start: usize,
        len: usize,
        stride: usize,
    },
    Transposed {
        width: usize,
        taps: usize,
    },
    /// The outputs from `start` on, in each plane.
    Winograd {
        tile: usize,
        start: usize,
        plane: usize,
        len: usize,
        stride: usize,
    },
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
    fn run<S: Simd>(mut self, simd: S) {
        match self.task {
            Task::Winograd { tile: 3, .. } => return self.winograd::<S, 3, 5>(simd),
            Task::Winograd { .. } => return self.winograd::<S, 4, 6>(simd),
            _ => {}
        }
        let Self { workers, parameter, task, out } = self;
        for worker in workers {
            let from = &*worker[parameter];
            match task {
                Task::Runs { start, len, stride } if len == stride => {
                    pointwise::accumulate(&from[start..][..out.len()], out);
                }
                Task::Runs { start, len, stride } => {
                    for (from, to) in from[start..].chunks(stride).zip(out.chunks_exact_mut(len)) {
                        pointwise::accumulate(&from[..len], to);
                    }
                }
                Task::Transposed { width, taps } => {
                    for (output, to) in out.chunks_exact_mut(taps).enumerate() {
                        for (tap, to) in to.iter_mut().enumerate() {
                            *to += from[tap * width + output];
                        }
                    }
                }
                Task::Winograd { .. } => unreachable!("handled above"),
            }
        }
    }
}

impl Sum<'_> {
    /// Adds the transformed weights' gradients up, then transforms them back.
    #[inline(always)]
    fn winograd<S: Simd, const M: usize, const N: usize>(&mut self, simd: S) {
        let Task::Winograd { start, plane, len, stride, .. } = self.task else { return };
        let outputs = self.out.len() / (9 * len);
        for worker in self.workers {
            assert!(worker[self.parameter].len() >= (N * N - 1) * plane + start + outputs * stride);
        }
        for (output, out) in self.out.chunks_exact_mut(9 * len).enumerate() {
            for first in (0..stride).step_by(S::LANES) {
                let mut sums = [[simd.zero(); N]; N];
                for worker in self.workers {
                    for y in 0..N {
                        for x in 0..N {
                            let at = (N * y + x) * plane + start + output * stride + first;
                            // SAFETY: asserted above; `stride` is a multiple of the lanes.
                            sums[y][x] = simd.add(sums[y][x], unsafe { simd.load(&worker[self.parameter], at) });
                        }
                    }
                }
                let taps = winograd::weight_gradient::<S, M, N>(simd, &sums);
                let mut values = [0.0; LANES];
                for (tap, out) in out.chunks_exact_mut(len).enumerate() {
                    // SAFETY: `values` holds a vector of the widest level.
                    unsafe { simd.store(&mut values, 0, taps[tap / 3][tap % 3]) };
                    let count = S::LANES.min(len.saturating_sub(first));
                    pointwise::accumulate(&values[..count], &mut out[first.min(len)..][..count]);
                }
            }
        }
    }
}
