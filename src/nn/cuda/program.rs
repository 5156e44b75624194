//! An architecture as steps between maps, each step a few kernels: layers that one kernel can do together are one step.

use crate::arch::{Arch, DropoutRate, Layer, Shape};
use crate::nn::plan::before_features;

/// The steps of a network in the order of the forward pass.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// What lies between the steps; map 0 is the image.
    pub maps: Vec<Map>,
    /// Each reads maps of smaller number than it writes.
    pub steps: Vec<Step>,
    /// Map of the features.
    pub features: usize,
    /// Map of the logits.
    pub output: usize,
}

/// The layout of one sample: `[height, width, channel]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    /// Whether a parameter lies before it, so that its gradient is wanted.
    pub trained: bool,
}

impl Map {
    pub const fn len(&self) -> usize {
        self.height * self.width * self.channels
    }
}

/// One step from map `input` to map `output`.
#[derive(Clone, Debug)]
pub struct Step {
    pub op: Op,
    pub input: usize,
    pub output: usize,
}

/// What a step computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The grey values as floats, for steps that can't read the images themselves.
    Image,
    /// A convolution or dense layer and what is fused with it.
    Affine(Affine),
    /// Maximum over square windows.
    MaxPool { size: usize, stride: usize },
    /// `max(x, 0)`.
    Relu,
    /// Zeroes a share of the values.
    Dropout(Dropout),
    /// Normalisation by the statistics of the batch; parameters `scale`, `shift`, `mean`, `variance` from `parameter` on, one of
    /// each for every one of `channels`.
    BatchNorm { parameter: usize, channels: usize, relu: bool },
    /// The sum of `input` and another map.
    Add { other: usize, relu: bool },
    /// Mean of each channel.
    Average,
}

impl Step {
    /// The maps that it reads.
    pub fn inputs(&self) -> impl Iterator<Item = usize> {
        let other = if let Op::Add { other, .. } = self.op { Some(other) } else { None };
        [self.input].into_iter().chain(other)
    }
}

/// A dropout layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Index in [`Arch::places`], which names the random stream.
    pub layer: usize,
    /// Its rate.
    pub rate: DropoutRate,
}

/// A convolution; a dense layer is the convolution of one position.
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    /// Index of the weight; the bias follows it.
    pub parameter: usize,
    /// Height, width and channels of the input.
    pub input: [usize; 3],
    /// Filters or units.
    pub filters: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    pub stride: usize,
    pub padding: usize,
    pub after: After,
    /// Behind the rectifier, which it needs: what it zeroed then counts as cut off there.
    pub dropout: Option<Dropout>,
}

/// What is done with the sums of a convolution before they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    Nothing,
    Relu,
    /// And the maximum of 2×2 windows.
    ReluPool,
}

impl Affine {
    /// Values under the kernel.
    pub const fn depth(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.input[2]
    }

    /// Rows and columns of the convolution's output, before a pool.
    pub const fn output(&self) -> [usize; 2] {
        let [height, width, _] = self.input;
        [
            (height + 2 * self.padding - self.kernel[0]) / self.stride + 1,
            (width + 2 * self.padding - self.kernel[1]) / self.stride + 1,
        ]
    }

    /// Positions that are computed for `samples` samples: rows of the product. What the pool drops is not, and 8 windows are
    /// done together.
    pub fn rows(&self, samples: usize) -> usize {
        let [height, width] = self.output();
        match self.after {
            After::ReluPool => (samples * (height / 2) * (width / 2)).div_ceil(8) * 32,
            _ => samples * height * width,
        }
    }
}

impl Program {
    /// Compiles `arch`.
    pub fn new(arch: &Arch) -> Self {
        let Shape::Map { height, width, channels } = Shape::INPUT else { unreachable!("images go in") };
        let image = Map { height, width, channels, trained: false };
        let mut compiler =
            Compiler { program: Self { maps: vec![image], ..Self::default() }, layers: 0, parameters: 0 };
        let (before, after) = arch.layers().split_at(before_features(arch.layers()));
        let features = compiler.all(before, Value { map: 0, flat: false });
        let output = compiler.all(after, features);
        let mut program = compiler.program;
        program.features = features.map;
        program.output = output.map;
        program
    }

    /// Whether a step after step `index` reads `map`: its turn in the backward pass was before, and the gradient of `map` has its
    /// share.
    pub fn read_later(&self, index: usize, map: usize) -> bool {
        self.steps[index + 1..].iter().any(|step| step.inputs().any(|input| input == map))
    }

    /// Whether the gradient that step `index` gives its input `map` is added to what is there: that of a later step, or of the
    /// other term of a sum, which may be the same map.
    pub fn adds(&self, index: usize, map: usize) -> bool {
        let Step { op, input, .. } = &self.steps[index];
        self.read_later(index, map) || matches!(op, Op::Add { other, .. } if *other == map && *input == map)
    }
}

/// A program in the making.
struct Compiler {
    program: Program,
    /// Layers seen.
    layers: usize,
    /// Parameters seen.
    parameters: usize,
}

/// What a layer hands on: a map, or the vector that `flatten` made of it without moving anything in memory.
#[derive(Clone, Copy)]
struct Value {
    map: usize,
    flat: bool,
}

impl Compiler {
    fn all(&mut self, mut rest: &[Layer], mut value: Value) -> Value {
        while let [first, after @ ..] = rest {
            let fused;
            (value, fused) = self.layer(first, after, value);
            rest = &after[fused..];
        }
        value
    }

    /// Appends `layer`; gives what it hands on, and how many of the layers `after` it are done with it.
    fn layer(&mut self, layer: &Layer, after: &[Layer], value: Value) -> (Value, usize) {
        let index = self.layers;
        self.layers += 1;
        let relu = matches!(after, [Layer::Relu, ..]);
        let Value { map, flat } = value;
        let Map { height, width, channels, .. } = self.program.maps[map];
        let (map, flat, fused) = match *layer {
            Layer::Conv { filters, kernel, stride, padding } => {
                let input = [height, width, channels];
                let (map, fused) = self.affine(map, &Shaped { input, filters, kernel, stride, padding }, after);
                (map, flat, fused)
            }
            Layer::Dense { units } => {
                let input = [1, 1, height * width * channels];
                let shaped = Shaped { input, filters: units, kernel: [1, 1], stride: 1, padding: 0 };
                let (map, fused) = self.affine(map, &shaped, after);
                (map, true, fused)
            }
            Layer::MaxPool { size, stride } => {
                let output = Map {
                    height: (height - size) / stride + 1,
                    width: (width - size) / stride + 1,
                    ..self.program.maps[map]
                };
                (self.by_value(Op::MaxPool { size, stride }, map, output), flat, 0)
            }
            Layer::Relu => (self.by_value(Op::Relu, map, self.program.maps[map]), flat, 0),
            Layer::Dropout(rate) => {
                let dropout = Dropout { layer: index, rate };
                (self.by_value(Op::Dropout(dropout), map, self.program.maps[map]), flat, 0)
            }
            Layer::Flatten => (map, true, 0),
            Layer::BatchNorm => {
                let channels = if flat { height * width * channels } else { channels };
                let op = Op::BatchNorm { parameter: self.parameters(4), channels, relu };
                let output = Map { trained: true, ..self.program.maps[map] };
                (self.by_value(op, map, output), flat, usize::from(relu))
            }
            Layer::GlobalAveragePool => {
                let output = Map { height: 1, width: 1, ..self.program.maps[map] };
                (self.by_value(Op::Average, map, output), true, 0)
            }
            Layer::Residual { ref body, ref shortcut } => {
                let main = self.all(body, value);
                let other = self.all(shortcut, value);
                let other_map = self.floats(other.map);
                let trained = self.program.maps[main.map].trained || self.program.maps[other_map].trained;
                let output = Map { trained, ..self.program.maps[main.map] };
                let sum = self.by_value(Op::Add { other: other_map, relu }, main.map, output);
                (sum, main.flat, usize::from(relu))
            }
        };
        self.layers += fused;
        (Value { map, flat }, fused)
    }

    /// Counts in the parameters of a layer and returns the number of the first.
    const fn parameters(&mut self, count: usize) -> usize {
        self.parameters += count;
        self.parameters - count
    }

    fn affine(&mut self, map: usize, shaped: &Shaped, after: &[Layer]) -> (usize, usize) {
        let &Shaped { input, filters, kernel, stride, padding } = shaped;
        let (after, dropout, fused) = match after {
            [Layer::Relu, Layer::MaxPool { size: 2, stride: 2 }, ..] => (After::ReluPool, None, 2),
            [Layer::Relu, Layer::Dropout(rate), ..] => {
                (After::Relu, Some(Dropout { layer: self.layers + 1, rate: *rate }), 2)
            }
            [Layer::Relu, ..] => (After::Relu, None, 1),
            _ => (After::Nothing, None, 0),
        };
        let parameter = self.parameters(2);
        let affine = Affine { parameter, input, filters, kernel, stride, padding, after, dropout };
        let sides = if after == After::ReluPool { affine.output().map(|side| side / 2) } else { affine.output() };
        let output = Map { height: sides[0], width: sides[1], channels: filters, trained: true };
        (self.push(Op::Affine(affine), map, output), fused)
    }

    /// A step that reads floats.
    fn by_value(&mut self, op: Op, input: usize, output: Map) -> usize {
        let input = self.floats(input);
        self.push(op, input, output)
    }

    /// `map` as floats, also if it is the image.
    fn floats(&mut self, map: usize) -> usize {
        if map == 0 { self.push(Op::Image, 0, self.program.maps[0]) } else { map }
    }

    fn push(&mut self, op: Op, input: usize, map: Map) -> usize {
        let output = self.program.maps.len();
        self.program.maps.push(map);
        self.program.steps.push(Step { op, input, output });
        output
    }
}

/// The numbers of a convolution.
struct Shaped {
    input: [usize; 3],
    filters: usize,
    kernel: [usize; 2],
    stride: usize,
    padding: usize,
}
