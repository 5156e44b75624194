//! Writes a program as a TensorFlow Lite model.

use half::f16;

use super::lower::{Kernel, Program, Step};
use super::quantize::{Scale, integers, rows, symmetric};
use super::table::{Buffer, Field, Offset, numbers, table, tables, text};
use crate::data::SIDE;
use crate::session::card::Card;

/// How the numbers of the file are kept.
#[derive(Clone, Copy, Debug)]
pub enum Numbers<'a> {
    /// All in floating point.
    Float,
    /// Weights in sixteen bits, made whole when the model is loaded.
    Half,
    /// Weights in eight bits, activations in eight bits at the range they have when it runs.
    Dynamic,
    /// All in eight bits, with these scales of the values.
    Int8(&'a [Scale]),
}

/// The version of the format.
const VERSION: i32 = 3;
const IDENTIFIER: &str = "TFL3";

// Types of tensors.
const FLOAT32: u8 = 0;
const FLOAT16: u8 = 1;
const INT32: u8 = 2;
const INT8: u8 = 9;

/// An operator: its number, its version for float, for weights in eight bits, and for all in eight bits, and the number of
/// its options.
struct Operator {
    code: i32,
    versions: [i32; 3],
    options: u8,
}

const fn operator(code: i32, versions: [i32; 3], options: u8) -> Operator {
    Operator { code, versions, options }
}

const ADD: Operator = operator(0, [1, 1, 2], 11);
const CONV_2D: Operator = operator(3, [1, 5, 3], 1);
const DEQUANTIZE: Operator = operator(6, [3, 3, 3], 46);
const FULLY_CONNECTED: Operator = operator(9, [1, 9, 4], 8);
const MAX_POOL_2D: Operator = operator(17, [1, 1, 2], 5);
const MUL: Operator = operator(18, [1, 1, 2], 21);
const RELU: Operator = operator(19, [1, 1, 2], 0);
const RESHAPE: Operator = operator(22, [1, 1, 1], 17);
const SOFTMAX: Operator = operator(25, [1, 1, 2], 9);
const PAD: Operator = operator(34, [1, 1, 2], 22);
const MEAN: Operator = operator(40, [1, 1, 2], 27);

/// `VALID` padding, in the options of convolutions and pools.
const VALID: u8 = 1;

/// The bytes of `program` with its numbers kept so, and `card` in its metadata.
pub fn write(program: &Program, kept: Numbers, card: &Card) -> Vec<u8> {
    let mut writer = Writer {
        buffer: Buffer::new(),
        kept,
        tensors: Vec::new(),
        buffers: Vec::new(),
        operators: Vec::new(),
        codes: Vec::new(),
    };
    // The first buffer is empty: tensors without content refer to it.
    let empty = table(&mut writer.buffer, &[]);
    writer.buffers.push(empty);
    let mut values = vec![writer.value(0, &[SIDE, SIDE, 1], "image")];
    for (index, step) in program.steps.iter().enumerate() {
        let name =
            if index + 1 == program.steps.len() { "probabilities".into() } else { format!("value{}", index + 1) };
        let output = writer.value(index + 1, &step.shape, &name);
        let inputs: Vec<i32> = step.inputs.iter().map(|&value| values[value]).collect();
        writer.step(step, index + 1, inputs, output);
        values.push(output);
    }
    let last = values.last().copied().unwrap_or_default();
    writer.finish(values[0], last, card)
}

struct Writer<'a> {
    buffer: Buffer,
    kept: Numbers<'a>,
    tensors: Vec<Offset>,
    buffers: Vec<Offset>,
    operators: Vec<Offset>,
    /// Operators that are used, with their versions.
    codes: Vec<(i32, i32)>,
}

/// The scales of a tensor, and the dimension that they belong to.
struct Scales<'a> {
    steps: &'a [f32],
    zero: i32,
    dimension: i32,
}

/// What a tensor is for.
#[derive(Clone, Copy)]
enum Holds<'a> {
    /// These bytes.
    Constant(&'a [u8]),
    /// What comes in or is computed, for any number of samples: its first dimension.
    Batch,
    /// A weight that is made whole when the model is loaded.
    Weight,
}

impl Writer<'_> {
    fn step(&mut self, step: &Step, number: usize, mut inputs: Vec<i32>, output: i32) {
        let relu = Field::Byte(u8::from(step.relu));
        let (operator, options): (Operator, Vec<(u16, Field)>) = match &step.kernel {
            &Kernel::Pad(padding) => {
                let p = padding as i32;
                inputs.push(self.whole(&format!("padding{number}"), &[4, 2], &[0, 0, p, p, p, p, 0, 0]));
                (PAD, Vec::new())
            }
            Kernel::Conv { shape: [f, h, w, c], stride, weight, bias } => {
                inputs.extend(self.layer(step, number, weight, &[*f, *h, *w, *c], bias));
                let stride = Field::Int(*stride as i32);
                (
                    CONV_2D,
                    vec![
                        (0, Field::Byte(VALID)),
                        (1, stride),
                        (2, stride),
                        (3, relu),
                        (4, Field::Int(1)),
                        (5, Field::Int(1)),
                    ],
                )
            }
            Kernel::Dense { weight, bias } => {
                inputs.extend(self.layer(step, number, weight, &[bias.len(), weight.len() / bias.len()], bias));
                let asymmetric = Field::Byte(u8::from(matches!(self.kept, Numbers::Dynamic)));
                (FULLY_CONNECTED, vec![(0, relu), (3, asymmetric)])
            }
            Kernel::Scale(factors) => {
                inputs.push(self.constant(&format!("factor{number}"), factors));
                (MUL, vec![(0, relu)])
            }
            Kernel::Shift(offsets) => {
                inputs.push(self.constant(&format!("offset{number}"), offsets));
                (ADD, vec![(0, relu)])
            }
            &Kernel::MaxPool { size, stride } => {
                let (size, stride) = (Field::Int(size as i32), Field::Int(stride as i32));
                (MAX_POOL_2D, vec![(0, Field::Byte(VALID)), (1, stride), (2, stride), (3, size), (4, size)])
            }
            Kernel::Mean => {
                inputs.push(self.whole(&format!("axes{number}"), &[2], &[1, 2]));
                (MEAN, vec![(0, Field::Byte(0))])
            }
            Kernel::Reshape => {
                let shape = [-1, step.shape[0] as i32];
                inputs.push(self.whole(&format!("shape{number}"), &[2], &shape));
                let shape = numbers(&mut self.buffer, &shape);
                (RESHAPE, vec![(0, shape)])
            }
            Kernel::Add => (ADD, vec![(0, relu)]),
            Kernel::Relu => (RELU, Vec::new()),
            Kernel::Softmax => (SOFTMAX, vec![(0, Field::Float(1.0))]),
        };
        self.push(&operator, &inputs, output, &options);
    }

    fn push(&mut self, operator: &Operator, inputs: &[i32], output: i32, options: &[(u16, Field)]) {
        let version = operator.versions[match self.kept {
            Numbers::Float | Numbers::Half => 0,
            Numbers::Dynamic => 1,
            Numbers::Int8(_) => 2,
        }];
        let code = (operator.code, version);
        let index = self.codes.iter().position(|&known| known == code).unwrap_or_else(|| {
            self.codes.push(code);
            self.codes.len() - 1
        });
        let (inputs, outputs) = (numbers(&mut self.buffer, inputs), numbers(&mut self.buffer, &[output]));
        let mut fields = vec![(0, Field::Int(index as i32)), (1, inputs), (2, outputs)];
        if operator.options != 0 {
            let options = Field::offset(table(&mut self.buffer, options));
            fields.extend([(3, Field::Byte(operator.options)), (4, options)]);
        }
        let operator = table(&mut self.buffer, &fields);
        self.operators.push(operator);
    }

    /// The tensors of a layer's weight and bias.
    fn layer(&mut self, step: &Step, number: usize, weight: &[f32], shape: &[usize], bias: &[f32]) -> [i32; 2] {
        let (name, bias_name) = (format!("weight{number}"), format!("bias{number}"));
        let rows = rows(&step.kernel);
        let bytes = |integers: &[i8]| integers.iter().flat_map(|integer| integer.to_le_bytes()).collect::<Vec<u8>>();
        match self.kept {
            Numbers::Float => [self.floats(&name, shape, weight), self.floats(&bias_name, &[bias.len()], bias)],
            Numbers::Half => {
                let halves: Vec<u8> = weight.iter().flat_map(|&weight| f16::from_f32(weight).to_le_bytes()).collect();
                let half = self.tensor(&format!("{name}_f16"), &signed(shape), FLOAT16, Holds::Constant(&halves), None);
                let whole = self.tensor(&name, &signed(shape), FLOAT32, Holds::Weight, None);
                self.push(&DEQUANTIZE, &[half], whole, &[]);
                [whole, self.floats(&bias_name, &[bias.len()], bias)]
            }
            Numbers::Dynamic => {
                let (integers, scales) = symmetric(weight, rows, |_| 0.0);
                let scales = Scales { steps: &scales, zero: 0, dimension: 0 };
                let weight =
                    self.tensor(&name, &signed(shape), INT8, Holds::Constant(&bytes(&integers)), Some(&scales));
                [weight, self.floats(&bias_name, &[bias.len()], bias)]
            }
            Numbers::Int8(values) => {
                let input = values[step.inputs[0]];
                let kept = integers(weight, bias, rows, input);
                let bias_scales: Vec<f32> = kept.scales.iter().map(|scale| scale * input.scale).collect();
                let bias_bytes: Vec<u8> = kept.bias.iter().flat_map(|bias| bias.to_le_bytes()).collect();
                let scales = Scales { steps: &kept.scales, zero: 0, dimension: 0 };
                let weight =
                    self.tensor(&name, &signed(shape), INT8, Holds::Constant(&bytes(&kept.weight)), Some(&scales));
                let scales = Scales { steps: &bias_scales, ..scales };
                [
                    weight,
                    self.tensor(&bias_name, &signed(&[bias.len()]), INT32, Holds::Constant(&bias_bytes), Some(&scales)),
                ]
            }
        }
    }

    /// What the program gives as value `number`; any number of samples.
    fn value(&mut self, number: usize, shape: &[usize], name: &str) -> i32 {
        let shape: Vec<i32> = std::iter::once(1).chain(signed(shape)).collect();
        match self.kept {
            Numbers::Int8(scales) => {
                let Scale { scale, zero } = scales[number];
                self.tensor(name, &shape, INT8, Holds::Batch, Some(&Scales { steps: &[scale], zero, dimension: 0 }))
            }
            _ => self.tensor(name, &shape, FLOAT32, Holds::Batch, None),
        }
    }

    /// Numbers for each channel.
    fn constant(&mut self, name: &str, values: &[f32]) -> i32 {
        let Numbers::Int8(_) = self.kept else { return self.floats(name, &[values.len()], values) };
        let scale = Scale::of(values);
        let bytes: Vec<u8> = values.iter().flat_map(|&value| scale.integer(value).to_le_bytes()).collect();
        let scales = Scales { steps: &[scale.scale], zero: scale.zero, dimension: 0 };
        self.tensor(name, &signed(&[values.len()]), INT8, Holds::Constant(&bytes), Some(&scales))
    }

    fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> i32 {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensor(name, &signed(shape), FLOAT32, Holds::Constant(&bytes), None)
    }

    fn whole(&mut self, name: &str, shape: &[i32], values: &[i32]) -> i32 {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensor(name, shape, INT32, Holds::Constant(&bytes), None)
    }

    fn tensor(&mut self, name: &str, shape: &[i32], kind: u8, holds: Holds, scales: Option<&Scales>) -> i32 {
        let content_at = if let Holds::Constant(content) = holds { self.content(content) } else { 0 };
        let buffer = &mut self.buffer;
        let signature: Vec<i32> = std::iter::once(-1).chain(shape.iter().skip(1).copied()).collect();
        let signature = matches!(holds, Holds::Batch).then(|| numbers(buffer, &signature));
        let quantization = scales.map(|scales| {
            let zeros = vec![i64::from(scales.zero); scales.steps.len()];
            let (zeros, steps) = (numbers(buffer, &zeros), numbers(buffer, scales.steps));
            Field::offset(table(buffer, &[(2, steps), (3, zeros), (6, Field::Int(scales.dimension))]))
        });
        let (shape, name) = (numbers(buffer, shape), text(buffer, name));
        let mut fields = vec![(0, shape), (1, Field::Byte(kind)), (2, Field::Int(content_at)), (3, name)];
        fields.extend(quantization.map(|field| (4, field)));
        fields.extend(signature.map(|field| (7, field)));
        let tensor = table(buffer, &fields);
        self.tensors.push(tensor);
        self.tensors.len() as i32 - 1
    }

    fn content(&mut self, bytes: &[u8]) -> i32 {
        let data = numbers(&mut self.buffer, bytes);
        let buffer = table(&mut self.buffer, &[(0, data)]);
        self.buffers.push(buffer);
        self.buffers.len() as i32 - 1
    }

    fn finish(mut self, input: i32, output: i32, card: &Card) -> Vec<u8> {
        let said = self.content(card.to_json().as_bytes());
        let buffer = &mut self.buffer;
        let key = text(buffer, Card::KEY);
        let entry = table(buffer, &[(0, key), (1, Field::Int(said))]);
        let metadata = tables(buffer, &[entry]);
        let codes: Vec<Offset> = self
            .codes
            .iter()
            .map(|&(code, version)| {
                // Readers from before 2020 look at the byte, later ones at both.
                table(buffer, &[(0, Field::Byte(code as u8)), (2, Field::Int(version)), (3, Field::Int(code))])
            })
            .collect();
        let codes = tables(buffer, &codes);
        let (tensors, operators) = (tables(buffer, &self.tensors), tables(buffer, &self.operators));
        let (inputs, outputs) = (numbers(buffer, &[input]), numbers(buffer, &[output]));
        let name = text(buffer, "mnist_lab");
        let graph = table(buffer, &[(0, tensors), (1, inputs), (2, outputs), (3, operators), (4, name)]);
        let (graphs, buffers) = (tables(buffer, &[graph]), tables(buffer, &self.buffers));
        let description = text(buffer, &format!("mnist-lab {}; {}", card.mnist_lab, card.arch));
        let model = table(
            buffer,
            &[(0, Field::Int(VERSION)), (1, codes), (2, graphs), (3, description), (4, buffers), (6, metadata)],
        );
        buffer.finish(model, Some(IDENTIFIER));
        buffer.finished_data().to_vec()
    }
}

fn signed(shape: &[usize]) -> Vec<i32> {
    shape.iter().map(|&size| size as i32).collect()
}
