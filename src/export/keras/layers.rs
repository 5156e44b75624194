//! Keras's layers for a graph: classes, names, configurations, and tensors with Keras's names and layout.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::export::graph::{Graph, Node, Op};
use crate::nn::NamedTensor;
use crate::nn::layout::keras;
use crate::nn::plan::BATCH_NORM_EPSILON;

/// A layer of Keras.
pub struct KerasLayer {
    /// `Conv2D`.
    pub class: &'static str,
    /// `conv2d_1`: unique in the model, and the layer's place in the weights of a `.keras` file.
    pub name: String,
    /// What goes in: names of layers.
    pub inputs: Vec<String>,
    /// What the class wants to know, the name left out.
    pub config: Value,
    /// Its tensors in Keras's order.
    pub tensors: Vec<KerasTensor>,
}

/// A tensor as Keras keeps it.
pub struct KerasTensor {
    /// `kernel`, `moving_mean`.
    pub role: &'static str,
    /// Dimensions.
    pub shape: Vec<u64>,
    /// Values.
    pub values: Vec<f32>,
}

/// The name of the layer that the image comes from.
pub const INPUT: &str = "input";

/// The layers of `graph` in order, without the input.
pub fn of(graph: &Graph) -> Vec<KerasLayer> {
    let mut builder = Builder { layers: Vec::new(), counts: HashMap::new(), values: vec![INPUT.into()] };
    let last = graph.nodes.len() - 1;
    for (index, node) in graph.nodes.iter().enumerate() {
        // A dense layer at the end takes the softmax as its activation, as people write it.
        let softmax_follows = index + 1 == last;
        match (&node.op, builder.layers.last()) {
            (Op::Softmax, Some(KerasLayer { class: "Dense", .. })) => {}
            _ => builder.node(node, softmax_follows),
        }
    }
    builder.layers
}

struct Builder {
    layers: Vec<KerasLayer>,
    counts: HashMap<&'static str, usize>,
    /// The layer that gives each value of the graph.
    values: Vec<String>,
}

impl Builder {
    fn node(&mut self, node: &Node, softmax_follows: bool) {
        let mut inputs: Vec<String> = node.inputs.iter().map(|&value| self.values[value].clone()).collect();
        let mut tensors = Vec::new();
        let (class, snake, config) = match node.op {
            Op::Conv { kernel, stride, padding, weight, bias } => {
                // `same` is what people write; it is the same number of zeros on each side only without a stride.
                let same = stride == 1 && padding > 0 && kernel.iter().all(|&size| size == 2 * padding + 1);
                if padding > 0 && !same {
                    let config =
                        json!({"padding": [[padding, padding], [padding, padding]], "data_format": "channels_last"});
                    inputs = vec![self.push("ZeroPadding2D", "zero_padding2d", inputs, config, Vec::new())];
                }
                tensors = vec![tensor("kernel", weight), tensor("bias", bias)];
                let config = json!({
                    "filters": weight.shape[0],
                    "kernel_size": kernel,
                    "strides": [stride, stride],
                    "padding": if same { "same" } else { "valid" },
                    "data_format": "channels_last",
                    "dilation_rate": [1, 1],
                    "groups": 1,
                    "activation": "linear",
                    "use_bias": true,
                });
                ("Conv2D", "conv2d", config)
            }
            Op::Dense { weight, bias } => {
                tensors = vec![tensor("kernel", weight), tensor("bias", bias)];
                let activation = if softmax_follows { "softmax" } else { "linear" };
                ("Dense", "dense", json!({"units": weight.shape[0], "activation": activation, "use_bias": true}))
            }
            Op::BatchNorm { tensors: [scale, shift, mean, variance] } => {
                tensors = vec![
                    tensor("gamma", scale),
                    tensor("beta", shift),
                    tensor("moving_mean", mean),
                    tensor("moving_variance", variance),
                ];
                let config =
                    json!({"axis": -1, "momentum": 0.99, "epsilon": BATCH_NORM_EPSILON, "center": true, "scale": true});
                ("BatchNormalization", "batch_normalization", config)
            }
            Op::MaxPool { size, stride } => {
                let config = json!({
                    "pool_size": [size, size],
                    "padding": "valid",
                    "strides": [stride, stride],
                    "data_format": "channels_last",
                });
                ("MaxPooling2D", "max_pooling2d", config)
            }
            Op::Relu => ("Activation", "activation", json!({"activation": "relu"})),
            Op::Softmax => ("Activation", "activation", json!({"activation": "softmax"})),
            Op::Dropout(rate) => ("Dropout", "dropout", json!({"rate": shortest(rate)})),
            Op::Flatten => ("Flatten", "flatten", json!({"data_format": "channels_last"})),
            Op::GlobalAveragePool => {
                ("GlobalAveragePooling2D", "global_average_pooling2d", json!({"data_format": "channels_last"}))
            }
            Op::Add => ("Add", "add", json!({})),
        };
        let name = self.push(class, snake, inputs, config, tensors);
        self.values.push(name);
    }

    fn push(
        &mut self,
        class: &'static str,
        snake: &str,
        inputs: Vec<String>,
        config: Value,
        tensors: Vec<KerasTensor>,
    ) -> String {
        let count = self.counts.entry(class).or_insert(0);
        let name = if *count == 0 { snake.to_owned() } else { format!("{snake}_{count}") };
        *count += 1;
        self.layers.push(KerasLayer { class, name: name.clone(), inputs, config, tensors });
        name
    }
}

fn tensor(role: &'static str, tensor: &NamedTensor) -> KerasTensor {
    let layout = keras(&tensor.shape);
    let shape = layout.shape.iter().map(|&size| size as u64).collect();
    KerasTensor { role, shape, values: layout.from_ours(&tensor.values) }
}

/// 0.3 as 0.3, not as the double that is nearest to the float.
fn shortest(rate: f32) -> f64 {
    rate.to_string().parse().unwrap_or_default()
}
