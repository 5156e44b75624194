//! The graph in TensorFlow Lite's operations: batch norm folded into the layer before it, relu into what gives its input.

use crate::arch::Shape;
use crate::export::graph::{Graph, Op};
use crate::nn::plan::BATCH_NORM_EPSILON;

/// Operations in order; operation `i` gives value `i + 1`, value 0 is the image.
#[derive(Clone, Debug)]
pub struct Program {
    /// The operations.
    pub steps: Vec<Step>,
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Step {
    /// What it does.
    pub kernel: Kernel,
    /// The values that go in.
    pub inputs: Vec<usize>,
    /// Dimensions of what it gives, without the batch: `[height, width, channel]` or `[n]`.
    pub shape: Vec<usize>,
    /// Whether `max(x, 0)` follows within the same operation.
    pub relu: bool,
}

/// What an operation does.
#[derive(Clone, Debug)]
pub enum Kernel {
    /// So many rows and columns of zeros around.
    Pad(usize),
    /// Convolution without padding, `[filter, row, column, channel]`.
    Conv {
        /// Dimensions of the weight.
        shape: [usize; 4],
        /// Step in both directions.
        stride: usize,
        /// The weight.
        weight: Vec<f32>,
        /// One for each filter.
        bias: Vec<f32>,
    },
    /// Fully connected, `[unit, input]`.
    Dense {
        /// The weight.
        weight: Vec<f32>,
        /// One for each unit.
        bias: Vec<f32>,
    },
    /// Each channel times a number.
    Scale(Vec<f32>),
    /// Each channel plus a number.
    Shift(Vec<f32>),
    /// Maximum over windows.
    MaxPool {
        /// Rows and columns of the window.
        size: usize,
        /// Step in both directions.
        stride: usize,
    },
    /// Mean over rows and columns.
    Mean,
    /// To a vector.
    Reshape,
    /// The sum of two inputs.
    Add,
    /// `max(x, 0)`.
    Relu,
    /// `exp(zᵢ) / Σ exp(zⱼ)`.
    Softmax,
}

/// `graph` in these operations.
pub fn lower(graph: &Graph) -> Program {
    // Dropout gives what goes in: who uses the one uses the other.
    let mut sources: Vec<usize> = (0..=graph.nodes.len()).collect();
    let mut uses = vec![0_usize; graph.nodes.len() + 1];
    for (value, node) in (1..).zip(&graph.nodes) {
        match node.op {
            Op::Dropout(_) => sources[value] = sources[node.inputs[0]],
            _ => node.inputs.iter().for_each(|&input| uses[sources[input]] += 1),
        }
    }
    // Where each value of the graph is among those of the program.
    let mut values = vec![0_usize];
    let mut program = Program { steps: Vec::new() };
    for node in &graph.nodes {
        let inputs: Vec<usize> = node.inputs.iter().map(|&value| values[value]).collect();
        let alone = uses[sources[node.inputs[0]]] == 1;
        let value = match &node.op {
            Op::Dropout(_) => inputs[0],
            Op::BatchNorm { tensors } => {
                let [scale, shift, mean, variance] = tensors.map(|tensor| tensor.values.as_slice());
                let factor: Vec<f32> = scale
                    .iter()
                    .zip(variance)
                    .map(|(scale, v)| scale / (v + BATCH_NORM_EPSILON as f32).sqrt())
                    .collect();
                let offset: Vec<f32> =
                    shift.iter().zip(mean).zip(&factor).map(|((shift, mean), factor)| shift - mean * factor).collect();
                program.normalise(inputs[0], alone, factor, offset, node.output)
            }
            Op::Relu => program.relu(inputs[0], alone, node.output),
            &Op::Conv { stride, padding, weight, bias, .. } => {
                let mut input = inputs[0];
                if let (Shape::Map { height, width, channels }, 1..) = (node.input, padding) {
                    let shape = vec![height + 2 * padding, width + 2 * padding, channels];
                    input = program.push(Kernel::Pad(padding), vec![input], shape);
                }
                let [f, h, w, c] = weight.shape[..] else { unreachable!("a convolution's weight has four dimensions") };
                let (weight, bias) = (weight.values.clone(), bias.values.clone());
                program.push(Kernel::Conv { shape: [f, h, w, c], stride, weight, bias }, vec![input], dims(node.output))
            }
            Op::Dense { weight, bias } => {
                let (weight, bias) = (weight.values.clone(), bias.values.clone());
                program.push(Kernel::Dense { weight, bias }, inputs, dims(node.output))
            }
            &Op::MaxPool { size, stride } => program.push(Kernel::MaxPool { size, stride }, inputs, dims(node.output)),
            Op::Flatten => program.push(Kernel::Reshape, inputs, dims(node.output)),
            Op::GlobalAveragePool => program.push(Kernel::Mean, inputs, dims(node.output)),
            Op::Add => program.push(Kernel::Add, inputs, dims(node.output)),
            Op::Softmax => program.push(Kernel::Softmax, inputs, dims(node.output)),
        };
        values.push(value);
    }
    program
}

impl Program {
    fn push(&mut self, kernel: Kernel, inputs: Vec<usize>, shape: Vec<usize>) -> usize {
        self.steps.push(Step { kernel, inputs, shape, relu: false });
        self.steps.len()
    }

    /// `x · factor + offset` of each channel; folded into the layer that gives `x` if nothing else uses that.
    fn normalise(&mut self, input: usize, alone: bool, factor: Vec<f32>, offset: Vec<f32>, output: Shape) -> usize {
        let before = input.checked_sub(1).map(|step| &mut self.steps[step]).filter(|step| alone && !step.relu);
        if let Some(Step { kernel: Kernel::Conv { weight, bias, .. } | Kernel::Dense { weight, bias }, .. }) = before {
            let each = weight.len() / bias.len();
            for (row, factor) in weight.chunks_exact_mut(each).zip(&factor) {
                for weight in row {
                    *weight *= factor;
                }
            }
            for ((bias, factor), offset) in bias.iter_mut().zip(&factor).zip(&offset) {
                *bias = *bias * factor + offset;
            }
            return input;
        }
        let scaled = self.push(Kernel::Scale(factor), vec![input], dims(output));
        self.push(Kernel::Shift(offset), vec![scaled], dims(output))
    }

    fn relu(&mut self, input: usize, alone: bool, output: Shape) -> usize {
        let before = input.checked_sub(1).map(|step| &mut self.steps[step]).filter(|_| alone);
        if let Some(step) = before
            && matches!(step.kernel, Kernel::Conv { .. } | Kernel::Dense { .. } | Kernel::Add | Kernel::Shift(_))
        {
            step.relu = true;
            return input;
        }
        self.push(Kernel::Relu, vec![input], dims(output))
    }
}

/// Dimensions without the batch.
fn dims(shape: Shape) -> Vec<usize> {
    match shape {
        Shape::Map { height, width, channels } => vec![height, width, channels],
        Shape::Vector(len) => vec![len],
    }
}
