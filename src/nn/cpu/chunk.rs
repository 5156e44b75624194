//! A few samples on their way through the network: few enough that what lies between the steps stays in the cache.

mod backward;
mod forward;

use std::mem;
use std::ops::Range;

use super::batch_norm::Slopes;
use super::buffer::Buffer;
use super::program::{Lent, Map, Op, Program};
use super::simd::Level;
use super::sparse::{CellHits, Hits};
use super::weights::Weights;
use crate::arch::DropoutRate;
use crate::data::{Batch, CLASSES, PIXELS};
use crate::nn::Step;
use crate::nn::plan::{DropoutMask, normalise};

/// What the chunks of a batch share.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub program: &'a Program,
    /// One for each step of the program.
    pub weights: &'a [Weights],
    pub level: Level,
    /// The training step, or none while evaluating: dropout is then off.
    pub training: Option<&'a Step>,
    /// How many go through the network, in all chunks.
    pub samples: usize,
}

impl Context<'_> {
    /// The mask of a dropout layer, if it drops anything.
    fn mask(&self, rate: DropoutRate, layer: usize, values: usize) -> Option<DropoutMask> {
        let step = self.training?;
        let rate = match rate {
            DropoutRate::Setting => step.dropout,
            DropoutRate::Fixed(rate) => rate,
        };
        (rate > 0.0).then(|| DropoutMask::new(step, layer, rate, values))
    }

    /// What leads back through the batch norm at `index`, whose scale and shift have these gradients in the whole batch.
    pub fn slopes(&self, index: usize, scale: &[f32], shift: &[f32]) -> Slopes {
        let normal = &self.weights[index].forward.normal;
        let map = self.program.maps[self.program.steps[index].input];
        Slopes::new(normal, self.samples * map.len() / normal.width(), scale, shift)
    }
}

/// What a chunk keeps from pass to pass.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Which samples of the batch are in it.
    samples: Range<usize>,
    /// What lies between the steps, `[sample, height, width, stride]` each, and the gradients of it.
    maps: Vec<Buffer>,
    gradients: Vec<Buffer>,
    /// Where the maxima of a fused pool were, by map.
    codes: Vec<Vec<u8>>,
    /// Sums and sums of squares of the map that a batch norm reads.
    pub sums: Vec<f64>,
    /// The thread's, while it works on the chunk.
    tools: Tools,
}

/// Memory that a thread lends to one chunk after the other, so that it stays in the thread's cache.
#[derive(Debug, Default)]
pub struct Workspace {
    /// By map, what the chunks do not keep.
    maps: Vec<Buffer>,
    gradients: Vec<Buffer>,
    tools: Tools,
}

/// What the kernels of single steps need.
#[derive(Debug, Default)]
struct Tools {
    scratch: Buffer,
    hits: Hits,
    cell_hits: CellHits,
}

impl Chunk {
    /// Fills map 0 with the `samples` of `batch`.
    pub fn load(&mut self, program: &Program, batch: &Batch, samples: Range<usize>) {
        self.samples = samples;
        self.codes.resize_with(program.maps.len(), Vec::new);
        let count = self.samples.len();
        self.maps.resize_with(program.maps.len(), Buffer::default);
        for (index, (buffer, map)) in self.maps.iter_mut().zip(&program.maps).enumerate() {
            if !program.lent.maps.contains(&index) {
                buffer.reserve(count * map.len());
            }
        }
        for step in &program.steps {
            if let Op::ConvPool { .. } = step.op {
                let codes = &mut self.codes[step.output];
                let len = count * program.maps[step.output].len();
                codes.resize(len.max(codes.len()), 0);
            }
        }
        let mut image = [0; PIXELS];
        for (sample, out) in self.samples.clone().zip(self.maps[0].chunks_exact_mut(PIXELS)) {
            batch.write(sample, &mut image);
            for (out, &grey) in out.iter_mut().zip(&image) {
                *out = GREY[usize::from(grey)];
            }
        }
    }

    /// Runs `work` with the memory that `workspace` lends.
    pub fn with(&mut self, program: &Program, workspace: &mut Workspace, work: impl FnOnce(&mut Self)) {
        let Lent { maps, gradients } = &program.lent;
        let count = self.samples.len();
        self.gradients.resize_with(program.maps.len(), Buffer::default);
        reserve(&mut workspace.maps, maps, count, program);
        reserve(&mut workspace.gradients, gradients, count, program);
        self.swap(program, workspace);
        work(self);
        self.swap(program, workspace);
    }

    fn swap(&mut self, program: &Program, workspace: &mut Workspace) {
        let Lent { maps, gradients } = &program.lent;
        for &map in maps {
            mem::swap(&mut self.maps[map], &mut workspace.maps[map]);
        }
        for &map in gradients {
            mem::swap(&mut self.gradients[map], &mut workspace.gradients[map]);
        }
        mem::swap(&mut self.tools, &mut workspace.tools);
    }

    /// The logits of each sample.
    pub fn logits(&self, program: &Program) -> impl Iterator<Item = [f32; CLASSES]> {
        let stride = program.maps[program.output].len();
        let samples = self.maps[program.output].chunks_exact(stride).take(self.samples.len());
        samples.map(|row| std::array::from_fn(|class| row[class]))
    }

    /// The features of each sample, without the padding.
    pub fn features(&self, program: &Program) -> impl Iterator<Item = Vec<f32>> {
        let map = program.maps[program.features];
        let Map { channels, stride, .. } = map;
        let samples = self.maps[program.features].chunks_exact(map.len()).take(self.samples.len());
        samples.map(move |row| row.chunks_exact(stride).flat_map(|place| &place[..channels]).copied().collect())
    }

    /// Makes ready for the backward pass from `slopes`, the gradients of the logits.
    pub fn start_backward(&mut self, program: &Program, slopes: &[[f32; CLASSES]]) {
        for (index, (buffer, map)) in self.gradients.iter_mut().zip(&program.maps).enumerate() {
            if map.trained && program.slot(index) == index && !program.lent.gradients.contains(&index) {
                buffer.reserve(self.samples.len() * map.len());
            }
        }
        let stride = program.maps[program.output].len();
        let rows = self.gradients[program.output].chunks_exact_mut(stride);
        for (row, slopes) in rows.zip(slopes) {
            row.fill(0.0);
            row[..CLASSES].copy_from_slice(slopes);
        }
    }
}

/// Makes room in `buffers` for `count` samples of `maps`.
fn reserve(buffers: &mut Vec<Buffer>, maps: &[usize], count: usize, program: &Program) {
    buffers.resize_with(program.maps.len(), Buffer::default);
    for &map in maps {
        buffers[map].reserve(count * program.maps[map].len());
    }
}

/// What goes into the network for each grey value.
const GREY: [f32; 256] = {
    let mut values = [0.0; 256];
    let mut grey = 0;
    while grey < 256 {
        values[grey] = normalise(grey as u8);
        grey += 1;
    }
    values
};

/// The buffer that a step reads and the one that it writes, which always has the larger number.
fn pair(buffers: &mut [Buffer], input: usize, output: usize) -> (&mut Buffer, &mut Buffer) {
    let (before, after) = buffers.split_at_mut(output);
    (&mut before[input], &mut after[0])
}

#[cfg(test)]
mod tests;
