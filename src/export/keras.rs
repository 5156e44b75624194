//! The `.keras` file of Keras 3: a zip archive of the configuration, the weights and what the file says of itself.

pub(super) mod config;
pub(super) mod layers;

use std::io::{Cursor, Write};

use hdf5_pure::FileBuilder;
use serde_json::{Value, json};
use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, result::ZipError};

use super::ExportError;
use super::graph::Graph;
use crate::lab::model::Model;
use crate::session::card::Card;
use config::Dialect;
use layers::KerasLayer;

/// The version of Keras whose form the file has.
pub(super) const KERAS_VERSION: &str = "3.0.0";

/// `model` as the bytes of a file that loads compiled.
///
/// # Errors
/// If the format can't hold it.
pub fn encode(model: &Model) -> Result<Vec<u8>, ExportError> {
    let layers = layers::of(&Graph::new(&model.arch, &model.tensors, model.card.dropout));
    let mut config = config::model(&layers, Dialect::Keras3);
    config["registered_name"] = Value::Null;
    config["compile_config"] = config::compile(&model.settings, Dialect::Keras3);
    let metadata = json!({"keras_version": KERAS_VERSION, Card::KEY: model.card.to_json()});
    let weights = weights(&layers)?;
    let write = || -> Result<Vec<u8>, ZipError> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        // Keras itself stores without compression.
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        for (name, content) in [
            ("metadata.json", metadata.to_string().into_bytes()),
            ("config.json", config.to_string().into_bytes()),
            ("model.weights.h5", weights),
        ] {
            archive.start_file(name, stored)?;
            archive.write_all(&content)?;
        }
        Ok(archive.finish()?.into_inner())
    };
    write().map_err(|problem| ExportError::encoding("keras", &problem))
}

/// The weights of each layer at `layers/<class in snake case>[_n]/vars/<i>`.
fn weights(layers: &[KerasLayer]) -> Result<Vec<u8>, ExportError> {
    let mut file = FileBuilder::new();
    let mut container = file.create_group("layers");
    for layer in layers.iter().filter(|layer| !layer.tensors.is_empty()) {
        let mut group = container.create_group(&layer.name);
        let mut vars = group.create_group("vars");
        for (index, tensor) in layer.tensors.iter().enumerate() {
            vars.create_dataset(&index.to_string()).with_f32_data(&tensor.values).with_shape(&tensor.shape);
        }
        group.add_group(vars.finish());
        container.add_group(group.finish());
    }
    file.add_group(container.finish());
    file.finish().map_err(|problem| ExportError::encoding("keras", &problem))
}
