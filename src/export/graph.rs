//! The network as a graph of operations with their tensors, which the formats write one by one.

use crate::arch::{Arch, DropoutRate, Layer, Place, Shape};
use crate::nn::NamedTensor;

/// Operations in an order in which each comes after its inputs; the last gives the probabilities of the classes.
#[derive(Clone, Debug)]
pub struct Graph<'a> {
    /// The operations.
    pub nodes: Vec<Node<'a>>,
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Node<'a> {
    /// What it does.
    pub op: Op<'a>,
    /// The values that go in: 0 is the image, `i + 1` what node `i` gives.
    pub inputs: Vec<usize>,
    /// The shape of the first input.
    pub input: Shape,
    /// The shape of what it gives.
    pub output: Shape,
}

/// What an operation does.
#[derive(Clone, Copy, Debug)]
pub enum Op<'a> {
    /// Convolution with bias.
    Conv {
        /// Rows and columns of the kernel.
        kernel: [usize; 2],
        /// Step in both directions.
        stride: usize,
        /// Rows and columns of zeros on each side.
        padding: usize,
        /// `[filter, row, column, channel]`.
        weight: &'a NamedTensor,
        /// `[filter]`.
        bias: &'a NamedTensor,
    },
    /// Fully connected with bias.
    Dense {
        /// `[unit, input]`.
        weight: &'a NamedTensor,
        /// `[unit]`.
        bias: &'a NamedTensor,
    },
    /// Normalisation of each channel by the running statistics.
    BatchNorm {
        /// Scale, shift, mean and variance, `[channel]` each.
        tensors: [&'a NamedTensor; 4],
    },
    /// Maximum over windows.
    MaxPool {
        /// Rows and columns of the window.
        size: usize,
        /// Step in both directions.
        stride: usize,
    },
    /// `max(x, 0)`.
    Relu,
    /// Nothing, except in training.
    Dropout(f32),
    /// `[row, column, channel]` to a vector in this order.
    Flatten,
    /// Mean of each channel.
    GlobalAveragePool,
    /// The sum of two inputs.
    Add,
    /// `exp(zᵢ) / Σ exp(zⱼ)`.
    Softmax,
}

impl<'a> Graph<'a> {
    /// The graph of `arch` with its tensors in the order of [`specs`](crate::nn::param::specs); `dropout` is the rate of
    /// layers that have none of their own.
    pub fn new(arch: &Arch, tensors: &'a [NamedTensor], dropout: f32) -> Self {
        let places = arch.places();
        let mut builder = Builder { nodes: Vec::new(), places: places.iter(), tensors: tensors.iter(), dropout };
        let logits = builder.sequence(arch.layers(), 0);
        let shape = arch.shapes().last().copied().unwrap_or(Shape::INPUT);
        builder.push(Op::Softmax, vec![logits], shape, shape);
        Self { nodes: builder.nodes }
    }
}

struct Builder<'a, 'p> {
    nodes: Vec<Node<'a>>,
    places: std::slice::Iter<'p, Place<'p>>,
    tensors: std::slice::Iter<'a, NamedTensor>,
    dropout: f32,
}

impl<'a> Builder<'a, '_> {
    /// Adds `layers` behind `value`; gives the value that they end in.
    fn sequence(&mut self, layers: &[Layer], mut value: usize) -> usize {
        for layer in layers {
            value = self.layer(layer, value);
        }
        value
    }

    fn layer(&mut self, layer: &Layer, value: usize) -> usize {
        let place = self.places.next().expect("there is a place for each layer");
        let (input, output) = (place.input, place.output);
        let op = match *layer {
            Layer::Conv { kernel, stride, padding, .. } => {
                Op::Conv { kernel, stride, padding, weight: self.tensor(), bias: self.tensor() }
            }
            Layer::Dense { .. } => Op::Dense { weight: self.tensor(), bias: self.tensor() },
            Layer::BatchNorm => Op::BatchNorm { tensors: std::array::from_fn(|_| self.tensor()) },
            Layer::MaxPool { size, stride } => Op::MaxPool { size, stride },
            Layer::Relu => Op::Relu,
            Layer::Dropout(DropoutRate::Setting) => Op::Dropout(self.dropout),
            Layer::Dropout(DropoutRate::Fixed(rate)) => Op::Dropout(rate),
            Layer::Flatten => Op::Flatten,
            Layer::GlobalAveragePool => Op::GlobalAveragePool,
            Layer::Residual { ref body, ref shortcut } => {
                let main = self.sequence(body, value);
                let other = self.sequence(shortcut, value);
                return self.push(Op::Add, vec![main, other], output, output);
            }
        };
        self.push(op, vec![value], input, output)
    }

    fn push(&mut self, op: Op<'a>, inputs: Vec<usize>, input: Shape, output: Shape) -> usize {
        self.nodes.push(Node { op, inputs, input, output });
        self.nodes.len()
    }

    fn tensor(&mut self) -> &'a NamedTensor {
        self.tensors.next().expect("a network has the tensors of its architecture")
    }
}
