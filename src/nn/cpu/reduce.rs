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
                    let places = Places { start: i * outputs * stride, plane: width * stride, len, stride };
                    (parameter, Task::Winograd { tile, places }, out)
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
    Runs { start: usize, len: usize, stride: usize },
    Transposed { width: usize, taps: usize },
    Winograd { tile: usize, places: Places },
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
    fn run<S: Simd>(self, simd: S) {
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
            Task::Winograd { tile: 3, places } => places.sum::<S, 3, 5>(simd, &gradients, out),
            Task::Winograd { places, .. } => places.sum::<S, 4, 6>(simd, &gradients, out),
        }
    }
}

/// Where the transformed weights of some outputs lie.
#[derive(Clone, Copy)]
struct Places {
    /// Of the first output, in each plane.
    start: usize,
    /// Values from one place to the next.
    plane: usize,
    /// Channels, and the values from one output to the next.
    len: usize,
    stride: usize,
}

impl Places {
    /// Adds the transformed weights' gradients up, transforms them back, and adds them to `out`, `[output, 9, len]`.
    #[inline(always)]
    fn sum<'a, S: Simd, const M: usize, const N: usize>(
        self,
        simd: S,
        gradients: &(impl Iterator<Item = &'a [f32]> + Clone),
        out: &mut [f32],
    ) {
        let Self { start, plane, len, stride } = self;
        let outputs = out.len() / (9 * len);
        for gradient in gradients.clone() {
            assert!(gradient.len() >= (N * N - 1) * plane + start + outputs * stride);
        }
        for (output, out) in out.chunks_exact_mut(9 * len).enumerate() {
            for first in (0..stride).step_by(S::LANES) {
                let mut sums = [[simd.zero(); N]; N];
                for gradient in gradients.clone() {
                    for y in 0..N {
                        for x in 0..N {
                            let at = (N * y + x) * plane + start + output * stride + first;
                            // SAFETY: asserted above; `stride` is a multiple of the lanes.
                            sums[y][x] = simd.add(sums[y][x], unsafe { simd.load(gradient, at) });
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
