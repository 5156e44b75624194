//! An architecture compiled to a program: steps over numbered maps: layers fused where kernels can do them in one go, zeros around a
//! convolution made a step of their own so that every convolution is a valid one, residual blocks laid out in a row.

mod compile;

use std::ops::Range;

use super::simd::{LANES, padded};
use super::winograd::conv::Tiles;
use crate::arch::{Arch, DropoutRate, Shape};
use crate::data::SIDE;

/// The steps of a network in the order of the forward pass.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// What lies between the steps; map 0 is the image.
    pub maps: Vec<Map>,
    /// Step i writes map i + 1, and reads maps of smaller number.
    pub steps: Vec<Step>,
    /// How the gradients of the parameters lie in memory, in the order in which callers give them.
    pub parameters: Vec<Packed>,
    /// Map of the features.
    pub features: usize,
    /// Map of the logits.
    pub output: usize,
    /// By map, where its gradient is.
    pub gradients: Vec<Slot>,
    /// The steps in stages that a chunk can go through on its own while training: a batch norm, which needs statistics of the
    /// whole batch, starts a new one.
    pub stages: Vec<Range<usize>>,
    /// Steps that are done again in the backward pass, because that is faster than to keep what they gave.
    pub repeated: Vec<usize>,
    /// Memory that threads lend to chunks.
    pub lent: Lent,
}

/// What lives no longer than a chunk's way through one stage, so that all chunks can use the same memory in turn.
#[derive(Clone, Debug, Default)]
pub struct Lent {
    /// Those that repeated steps write.
    pub maps: Vec<usize>,
    /// The maps with a buffer for gradients that only one stage of the backward pass uses.
    pub gradients: Vec<usize>,
}

/// Where the gradient of a map is while the backward pass needs it.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// The map whose buffer it is in: its own, or that of the map which its only reader makes of it value by value, so that
    /// the one gradient becomes the other where it is.
    pub map: usize,
    /// The last step that reads the map, which makes its gradient where others only add to it.
    pub last_reader: usize,
}

/// The layout of one sample: `[height, width, stride]`, of which `channels` count and the rest are zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    /// Values from one position to the next: a multiple of the lanes, or 1 for the image.
    pub stride: usize,
    /// Whether a parameter lies before it, so that its gradient is wanted.
    pub trained: bool,
}

impl Map {
    pub const fn positions(&self) -> usize {
        self.height * self.width
    }

    /// Values of one sample, the padding of the channels included.
    pub const fn len(&self) -> usize {
        self.positions() * self.stride
    }

    fn of(height: usize, width: usize, channels: usize) -> Self {
        Self { height, width, channels, stride: padded(channels), trained: true }
    }
}

/// One step from map `input` to map `output`.
#[derive(Clone, Debug)]
pub struct Step {
    pub op: Op,
    pub input: usize,
    pub output: usize,
}

impl Step {
    /// Whether the gradient of the output is that of the input value by value.
    pub const fn is_by_value(&self) -> bool {
        matches!(self.op, Op::Relu | Op::BatchNorm { .. } | Op::Dropout { .. } | Op::Add { .. })
    }

    /// Whether it takes little more time than to read its input.
    const fn is_cheap(&self) -> bool {
        self.op.affine().is_none()
    }

    /// The maps that it reads.
    pub fn inputs(&self) -> impl Iterator<Item = usize> {
        let other = match self.op {
            Op::Add { other, .. } => Some(other),
            Op::BatchNorm { other, .. } => other,
            _ => None,
        };
        [self.input].into_iter().chain(other)
    }
}

/// What a step computes.
#[derive(Clone, Debug)]
pub enum Op {
    /// Convolution or dense layer, then perhaps the rectifier.
    Affine { affine: Affine, relu: bool },
    /// Convolution by Winograd's algorithm, zeros around the map included, then perhaps the rectifier.
    /// Tiles take the place of `affine`'s windows, whose starts are not there.
    Winograd { affine: Affine, tiles: Tiles, relu: bool },
    /// Convolution, rectifier and 2×2 max pooling in one go; the rows of `affine` are four for each pooled cell.
    ConvPool { affine: Affine, kind: ConvPool },
    /// Zeros around the map, as many rows and columns on each side.
    Pad { by: usize },
    /// The same values in another layout.
    Repack,
    /// Maximum over square windows.
    MaxPool { size: usize, stride: usize },
    /// Normalisation by the statistics of the batch; parameters `scale`, `shift`, `mean`, `variance` from `parameter` on,
    /// one of each for every channel, or for every value of a `flat` vector. Then perhaps the sum with an `other` map, and the
    /// rectifier.
    BatchNorm { parameter: usize, flat: bool, other: Option<usize>, relu: bool },
    /// `max(x, 0)`.
    Relu,
    /// The sum of `input` and another map.
    Add { other: usize, relu: bool },
    /// Mean of each channel.
    Average,
    /// Zeroes a share of the values; `layer` names the random stream.
    Dropout { rate: DropoutRate, layer: usize },
}

impl Op {
    /// The matrix product of a convolution or dense layer.
    pub const fn affine(&self) -> Option<&Affine> {
        match self {
            Self::Affine { affine, .. } | Self::Winograd { affine, .. } | Self::ConvPool { affine, .. } => Some(affine),
            _ => None,
        }
    }
}

/// The kernels that a fused convolution and pooling can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConvPool {
    /// Any convolution.
    Direct,
    /// 3×3 in steps of 1 over whole lanes of channels.
    Winograd,
}

/// A matrix product whose rows are windows into a map: `out[row] = weights · window(row) + bias`. A dense layer has one
/// window, the whole map.
#[derive(Clone, Debug)]
pub struct Affine {
    /// Index of the weight; the bias follows it.
    pub parameter: usize,
    /// Filters or units, and the same padded to whole lanes.
    pub outputs: usize,
    pub outputs_padded: usize,
    /// Where each row's window starts in a chunk of samples, sample after sample.
    pub starts: Vec<u32>,
    /// Rows of one sample.
    pub rows: usize,
    /// A window is this many runs of contiguous values, …
    pub runs: usize,
    /// … each of this length, …
    pub run: usize,
    /// … and this far apart.
    pub step: usize,
    /// Positions and channels of a window's weights as the caller sees them.
    pub taps: usize,
    pub channels: usize,
    /// Values from one position of a window to the next.
    pub stride: usize,
}

impl Affine {
    /// Values of a window, padding included.
    pub const fn depth(&self) -> usize {
        self.runs * self.run
    }

    /// The layouts of the gradients of weight and bias.
    const fn packed(&self) -> [Packed; 2] {
        let &Self { outputs, outputs_padded: width, taps, channels, stride, .. } = self;
        let weight = if self.vectorised() {
            Packed::Runs { count: outputs * taps, spare: (width - outputs) * taps, len: channels, stride }
        } else {
            Packed::Transposed { width, taps }
        };
        [weight, Packed::Runs { count: 1, spare: 0, len: outputs, stride: width }]
    }

    /// Whether the four windows of a pooled cell fill a 4×4 patch: 3×3 in steps of 1.
    pub fn fits_patch(&self) -> bool {
        self.runs == 3 && self.run == 3 * self.stride && self.starts[1] as usize == self.stride
    }

    /// Whether whole vectors fit in a run, which is so but for convolutions of the image itself.
    pub const fn vectorised(&self) -> bool {
        self.run.is_multiple_of(LANES)
    }
}

/// How the values of a parameter's gradient lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packed {
    /// `count` runs of `len` values, `stride` apart; kernels also write to `spare` runs after them.
    Runs { count: usize, spare: usize, len: usize, stride: usize },
    /// `[tap, width]` for `[output, tap]`.
    Transposed { width: usize, taps: usize },
}

impl Packed {
    /// Values, padding included.
    pub const fn reserved(self) -> usize {
        match self {
            Self::Runs { count, spare, stride, .. } => (count + spare) * stride,
            Self::Transposed { width, taps } => taps * width,
        }
    }
}

impl Program {
    /// Compiles `arch` for chunks of up to `samples` samples.
    pub fn new(arch: &Arch, samples: usize) -> Self {
        let image = Map { stride: 1, trained: false, ..Map::of(SIDE, SIDE, 1) };
        debug_assert_eq!(Shape::INPUT.len(), image.len());
        let program = Self { maps: vec![image], ..Self::default() };
        compile::all(program, arch.layers(), samples)
    }

    /// The buffer of the gradient of `map`.
    pub fn slot(&self, map: usize) -> usize {
        self.gradients[map].map
    }

    /// The convolution whose backward pass can begin with that of `norm`, a batch norm of its channels that alone reads its
    /// output.
    pub fn takes_over(&self, norm: &Step) -> Option<usize> {
        let before = norm.input.checked_sub(1)?;
        let is_behind = matches!(norm.op, Op::BatchNorm { flat: false, .. })
            && matches!(self.steps[before].op, Op::Winograd { relu: false, .. })
            && self.in_place(norm, norm.input);
        is_behind.then_some(before)
    }

    /// Whether `step` is the first in the backward pass that has to do with the gradient of `input`.
    pub fn begins(&self, step: &Step, input: usize) -> bool {
        self.gradients[input].last_reader + 1 == step.output
    }

    /// Whether the gradient of `input`, which `step` reads, lies where that of the step's output is.
    pub fn in_place(&self, step: &Step, input: usize) -> bool {
        self.slot(input) == self.slot(step.output)
    }
}
