//! ONNX: channels first inside, images `[n, 1, 28, 28]` in, probabilities `[n, 10]` out.

mod proto;

use prost::Message;

use super::graph::{Graph, Node, Op};
use crate::arch::Shape;
use crate::data::{CLASSES, SIDE};
use crate::lab::model::Model;
use crate::nn::NamedTensor;
use crate::nn::layout::channels_first;
use crate::nn::plan::BATCH_NORM_EPSILON;
use crate::session::card::Card;
use proto::{
    AttributeProto, Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, Size, StringStringEntryProto,
    TensorProto, TensorShapeProto, TensorType, TypeProto, ValueInfoProto,
};

/// Version of the format, that of ONNX 1.8 (2020): whatever runs ONNX today reads it.
const IR_VERSION: i64 = 7;
/// Version of the operators, likewise.
const OPSET: i64 = 13;
const FLOAT: i32 = 1;

/// `model` as the bytes of a file.
pub fn encode(model: &Model) -> Vec<u8> {
    let graph = Graph::new(&model.arch, &model.tensors, model.card.dropout);
    let mut writer = Writer::default();
    for (index, node) in graph.nodes.iter().enumerate() {
        let output = if index + 1 == graph.nodes.len() { OUTPUT.to_owned() } else { format!("value{}", index + 1) };
        writer.node(node, index + 1, &output);
    }
    let side = Size::Value(SIDE as i64);
    let batch = || Size::Name("batch".into());
    let property = |key: &str, value: String| StringStringEntryProto { key: key.into(), value };
    let proto = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "mnist-lab".into(),
        producer_version: model.card.mnist_lab.clone(),
        graph: Some(GraphProto {
            name: "mnist_lab".into(),
            doc_string: format!("{}; input: {}", model.card.arch, model.card.input),
            node: writer.nodes,
            initializer: writer.tensors,
            input: vec![value(INPUT, vec![batch(), Size::Value(1), side.clone(), side])],
            output: vec![value(OUTPUT, vec![batch(), Size::Value(CLASSES as i64)])],
        }),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props: vec![
            property(Card::KEY, model.card.to_json()),
            property("classes", model.card.classes.join("\n")),
        ],
    };
    proto.encode_to_vec()
}

const INPUT: &str = "image";
const OUTPUT: &str = "probabilities";

#[derive(Default)]
struct Writer {
    nodes: Vec<NodeProto>,
    tensors: Vec<TensorProto>,
}

impl Writer {
    /// Adds what `node` does; it gives value `number`, called `output`.
    fn node(&mut self, node: &Node, number: usize, output: &str) {
        let name = |value: &usize| if *value == 0 { INPUT.to_owned() } else { format!("value{value}") };
        let mut inputs: Vec<String> = node.inputs.iter().map(name).collect();
        let mut attributes = Vec::new();
        let op = match node.op {
            Op::Conv { kernel: [height, width], stride, padding, weight, bias } => {
                let [filters, .., channels] = weight.shape[..] else { return };
                let values = channels_first(weight);
                inputs.push(self.floats(&weight.name, &[filters, channels, height, width], &values));
                inputs.push(self.floats(&bias.name, &[filters], &bias.values));
                attributes = vec![
                    ints("kernel_shape", &[height, width]),
                    ints("strides", &[stride; 2]),
                    ints("pads", &[padding; 4]),
                ];
                "Conv"
            }
            Op::Dense { weight, bias } => {
                inputs.push(self.floats(&weight.name, &weight.shape, &weight.values));
                inputs.push(self.floats(&bias.name, &bias.shape, &bias.values));
                attributes = vec![int("transB", 1)];
                "Gemm"
            }
            Op::BatchNorm { tensors } => {
                inputs.extend(
                    tensors.map(|tensor: &NamedTensor| self.floats(&tensor.name, &tensor.shape, &tensor.values)),
                );
                attributes = vec![AttributeProto {
                    name: "epsilon".into(),
                    f: BATCH_NORM_EPSILON as f32,
                    r#type: 1,
                    ..AttributeProto::default()
                }];
                "BatchNormalization"
            }
            Op::MaxPool { size, stride } => {
                attributes = vec![ints("kernel_shape", &[size; 2]), ints("strides", &[stride; 2])];
                "MaxPool"
            }
            Op::Relu => "Relu",
            Op::Dropout(_) => "Identity",
            Op::Flatten => {
                inputs = vec![self.channels_last(node, &inputs[0], number)];
                attributes = vec![int("axis", 1)];
                "Flatten"
            }
            Op::GlobalAveragePool => {
                attributes = vec![ints("axes", &[2, 3]), int("keepdims", 0)];
                "ReduceMean"
            }
            Op::Add => "Add",
            Op::Softmax => {
                attributes = vec![int("axis", 1)];
                "Softmax"
            }
        };
        self.push(op, inputs, output, attributes);
    }

    /// The image as rows, columns, channels, as the weights behind it have it.
    fn channels_last(&mut self, node: &Node, input: &str, number: usize) -> String {
        // One channel, or one pixel, or what is a vector already, is the same either way.
        let Shape::Map { height, width, channels } = node.input else { return input.into() };
        if channels == 1 || height * width == 1 {
            return input.into();
        }
        let name = format!("rows{number}");
        self.push("Transpose", vec![input.into()], &name, vec![ints("perm", &[0, 2, 3, 1])]);
        name
    }

    fn push(&mut self, op: &str, input: Vec<String>, output: &str, attribute: Vec<AttributeProto>) {
        let name = format!("{}_{}", op.to_lowercase(), self.nodes.len() + 1);
        self.nodes.push(NodeProto { name, op_type: op.into(), input, output: vec![output.into()], attribute });
    }

    fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let dims = shape.iter().map(|&size| size as i64).collect();
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensors.push(TensorProto { dims, data_type: FLOAT, name: name.into(), raw_data });
        name.into()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i: value, r#type: 2, ..AttributeProto::default() }
}

fn ints(name: &str, values: &[usize]) -> AttributeProto {
    let ints = values.iter().map(|&value| value as i64).collect();
    AttributeProto { name: name.into(), ints, r#type: 7, ..AttributeProto::default() }
}

fn value(name: &str, sizes: Vec<Size>) -> ValueInfoProto {
    let dim = sizes.into_iter().map(|size| Dimension { value: Some(size) }).collect();
    let tensor_type = TensorType { elem_type: FLOAT, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}
