//! A Keras model's configuration as a list of layers that each name their inputs.

use serde_json::Value;

/// No architecture of this program has nearly as many; a bound for what is looked at.
const MAX_LAYERS: usize = 600;

/// A layer as the file describes it.
#[derive(Clone, Debug)]
pub struct DescribedLayer {
    /// `Conv2D`.
    pub class: String,
    /// `conv2d_1`.
    pub name: String,
    /// What the class wants to know.
    pub config: Value,
    /// Places of the layers that go in, all before this one.
    pub inputs: Vec<usize>,
}

/// The layers of a model, each after its inputs, and the place of the one that gives the result. The first is the input.
pub fn layers(text: &str) -> Result<(Vec<DescribedLayer>, usize), String> {
    let model: Value =
        serde_json::from_str(text).map_err(|problem| format!("its configuration is no JSON: {problem}"))?;
    let class = model["class_name"].as_str().unwrap_or_default();
    let config = &model["config"];
    // Before 2.2.3 the configuration of a sequence was the list itself.
    let list = config["layers"].as_array().or(config.as_array()).ok_or("its configuration lists no layers")?;
    if list.len() > MAX_LAYERS {
        return Err(format!("{} layers are more than the {MAX_LAYERS} that are read", list.len()));
    }
    match class {
        "Sequential" => sequential(list, config),
        "Functional" | "Model" => functional(list, config),
        other => Err(format!("its class is `{other}`, which is neither Sequential nor Functional")),
    }
}

fn sequential(list: &[Value], config: &Value) -> Result<(Vec<DescribedLayer>, usize), String> {
    let mut layers = Vec::new();
    let begins_with_input = list.first().is_some_and(|layer| layer["class_name"] == "InputLayer");
    if !begins_with_input {
        // Keras 2 leaves the input out and gives its shape to the first layer, or to the model's build.
        let first = &list.first().ok_or("it has no layers")?["config"]["batch_input_shape"];
        let shape = if first.is_null() { &config["build_input_shape"] } else { first };
        layers.push(DescribedLayer {
            class: "InputLayer".into(),
            name: String::new(),
            config: serde_json::json!({"batch_input_shape": shape}),
            inputs: Vec::new(),
        });
    }
    for layer in list {
        let inputs = layers.len().checked_sub(1).into_iter().collect();
        layers.push(DescribedLayer { inputs, ..described(layer)? });
    }
    let last = layers.len() - 1;
    Ok((layers, last))
}

fn functional(list: &[Value], config: &Value) -> Result<(Vec<DescribedLayer>, usize), String> {
    let mut layers: Vec<DescribedLayer> = Vec::new();
    for layer in list {
        let described = described(layer)?;
        let place = |name: &str| layers.iter().position(|before| before.name == name);
        if place(&described.name).is_some() {
            return Err(format!("two layers are called `{}`", described.name));
        }
        let mut names = Vec::new();
        let nodes = layer["inbound_nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
        if nodes.len() > 1 {
            return Err(format!("layer `{}` is used {} times, with the same weights", described.name, nodes.len()));
        }
        for node in nodes {
            tensors(node, &mut names);
        }
        let mut inputs = Vec::new();
        for name in names {
            inputs.push(place(&name).ok_or_else(|| {
                format!("layer `{}` takes its input from `{name}`, which does not come before it", described.name)
            })?);
        }
        let is_input = described.class == "InputLayer";
        if is_input != inputs.is_empty() || is_input != layers.is_empty() {
            return Err(format!(
                "layer `{}` ({}) breaks the rule of one input at the start",
                described.name, described.class
            ));
        }
        layers.push(DescribedLayer { inputs, ..described });
    }
    let mut outputs = Vec::new();
    histories(&config["output_layers"], &mut outputs);
    let [output] = outputs.as_slice() else {
        return Err(format!("it has {} outputs instead of one", outputs.len()));
    };
    let last = layers.iter().position(|layer| layer.name == *output);
    Ok((layers, last.ok_or_else(|| format!("its output `{output}` is no layer of it"))?))
}

fn described(layer: &Value) -> Result<DescribedLayer, String> {
    let class = layer["class_name"].as_str().ok_or("a layer has no class")?;
    let name = layer["config"]["name"].as_str().ok_or_else(|| format!("a layer of class {class} has no name"))?;
    Ok(DescribedLayer { class: class.into(), name: name.into(), config: layer["config"].clone(), inputs: Vec::new() })
}

/// The layers that go into a node: Keras 2 lists `[name, node, tensor, arguments]`, Keras 3 describes tensors.
fn tensors(node: &Value, names: &mut Vec<String>) {
    match node {
        Value::Array(_) => histories(node, names),
        Value::Object(_) => described_tensors(&node["args"], names),
        _ => {}
    }
}

fn described_tensors(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| described_tensors(value, names)),
        Value::Object(_) => names.extend(value["config"]["keras_history"][0].as_str().map(str::to_owned)),
        _ => {}
    }
}

/// The names in a `[name, node, tensor, …]` or in lists of such.
fn histories(value: &Value, names: &mut Vec<String>) {
    let Value::Array(list) = value else { return };
    match list.first() {
        Some(Value::String(name)) => names.push(name.clone()),
        _ => list.iter().for_each(|value| histories(value, names)),
    }
}
