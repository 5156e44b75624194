//! The configuration of a model as Keras writes it: layers, how they are joined, and how to go on training.

use serde_json::{Value, json};

use super::layers::{INPUT, KerasLayer};
use crate::data::SIDE;
use crate::nn::optim::OptimizerKind;
use crate::train::settings::Settings;

/// Which Keras is to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Keras 2, which Keras 3 reads in `.h5` files.
    Legacy,
    /// Keras 3 in `.keras` files: objects name their module.
    Keras3,
}

/// The model of these layers: a sequence, or a graph where residual blocks need one.
pub fn model(layers: &[KerasLayer], dialect: Dialect) -> Value {
    if layers.iter().any(|layer| layer.inputs.len() > 1) {
        functional(layers, dialect)
    } else {
        let objects = std::iter::once(input(dialect)).chain(layers.iter().map(|layer| object(layer, dialect)));
        let config = json!({"name": "mnist_lab", "layers": objects.collect::<Vec<_>>()});
        with_module("keras", json!({"class_name": "Sequential", "config": config}), dialect)
    }
}

fn functional(layers: &[KerasLayer], dialect: Dialect) -> Value {
    let named = |mut object: Value, name: &str, inputs: &[String]| {
        let inputs: Vec<Value> = inputs.iter().map(|input| json!([input, 0, 0, {}])).collect();
        object["name"] = json!(name);
        object["inbound_nodes"] = if inputs.is_empty() { json!([]) } else { json!([inputs]) };
        object
    };
    let mut objects = vec![named(input(dialect), INPUT, &[])];
    objects.extend(layers.iter().map(|layer| named(object(layer, dialect), &layer.name, &layer.inputs)));
    let last = layers.last().map_or(INPUT, |layer| layer.name.as_str());
    let config = json!({
        "name": "mnist_lab",
        "layers": objects,
        "input_layers": [[INPUT, 0, 0]],
        "output_layers": [[last, 0, 0]],
    });
    // Keras exports this class under no other name.
    with_module("keras.src.models.functional", json!({"class_name": "Functional", "config": config}), dialect)
}

fn input(dialect: Dialect) -> Value {
    let key = match dialect {
        Dialect::Legacy => "batch_input_shape",
        Dialect::Keras3 => "batch_shape",
    };
    let config =
        json!({key: [null, SIDE, SIDE, 1], "dtype": "float32", "sparse": false, "ragged": false, "name": INPUT});
    with_module("keras.layers", json!({"class_name": "InputLayer", "config": config}), dialect)
}

fn object(layer: &KerasLayer, dialect: Dialect) -> Value {
    let mut config = json!({"name": layer.name, "trainable": true, "dtype": "float32"});
    if let (Value::Object(config), Value::Object(own)) = (&mut config, &layer.config) {
        config.extend(own.clone());
    }
    with_module("keras.layers", json!({"class_name": layer.class, "config": config}), dialect)
}

fn with_module(module: &str, mut object: Value, dialect: Dialect) -> Value {
    if dialect == Dialect::Keras3 {
        object["module"] = json!(module);
        object["registered_name"] = Value::Null;
    }
    object
}

/// How training goes on: the run's optimizer, with its memory left out, and cross-entropy.
pub fn compile(settings: &Settings, dialect: Dialect) -> Value {
    let optimizer = optimizer(settings, dialect);
    let mut config = json!({
        "loss": "sparse_categorical_crossentropy",
        "loss_weights": null,
        "metrics": ["accuracy"],
        "weighted_metrics": null,
    });
    match dialect {
        Dialect::Legacy => config["optimizer_config"] = optimizer,
        Dialect::Keras3 => config["optimizer"] = optimizer,
    }
    config
}

fn optimizer(settings: &Settings, dialect: Dialect) -> Value {
    let (class, mut config) = match settings.optimizer {
        OptimizerKind::Adam => ("Adam", json!({"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7})),
        OptimizerKind::AdamW => {
            let decay = settings.weight_decay;
            ("AdamW", json!({"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "weight_decay": decay}))
        }
        OptimizerKind::Sgd { momentum, nesterov } => ("SGD", json!({"momentum": momentum, "nesterov": nesterov})),
        OptimizerKind::RmsProp => ("RMSprop", json!({"rho": 0.9, "epsilon": 1e-7})),
    };
    config["name"] = json!(class);
    config["learning_rate"] = json!(settings.learning_rate);
    with_module("keras.optimizers", json!({"class_name": class, "config": config}), dialect)
}
