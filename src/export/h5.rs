//! The `.h5` file that Keras 2 and 3 load: configuration in attributes, weights in a group for each layer.

use hdf5_pure::{AttrValue, FileBuilder};

use super::ExportError;
use super::graph::Graph;
use super::keras::config::{self, Dialect};
use super::keras::{KERAS_VERSION, layers};
use crate::lab::model::Model;
use crate::session::card::Card;

/// `model` as the bytes of a file that loads compiled.
///
/// # Errors
/// If the format can't hold it.
pub fn encode(model: &Model) -> Result<Vec<u8>, ExportError> {
    let layers = layers::of(&Graph::new(&model.arch, &model.tensors, model.card.dropout));
    // Keras 2 decodes fixed-length strings alone.
    let text = |text: &str| AttrValue::AsciiString(text.to_owned());
    let names = |names: Vec<String>| AttrValue::AsciiStringArray(names);

    let mut file = FileBuilder::new();
    file.set_attr("keras_version", text(KERAS_VERSION));
    file.set_attr("backend", text("tensorflow"));
    file.set_attr("model_config", text(&config::model(&layers, Dialect::Legacy).to_string()));
    file.set_attr("training_config", text(&config::compile(&model.settings, Dialect::Legacy).to_string()));
    file.set_attr(Card::KEY, AttrValue::String(model.card.to_json()));

    let mut weights = file.create_group("model_weights");
    weights.set_attr("keras_version", text(KERAS_VERSION));
    weights.set_attr("backend", text("tensorflow"));
    weights.set_attr("layer_names", names(layers.iter().map(|layer| layer.name.clone()).collect()));
    for layer in &layers {
        let mut outer = weights.create_group(&layer.name);
        let name = |role: &str| format!("{}/{role}:0", layer.name);
        outer.set_attr("weight_names", names(layer.tensors.iter().map(|tensor| name(tensor.role)).collect()));
        if !layer.tensors.is_empty() {
            let mut inner = outer.create_group(&layer.name);
            for tensor in &layer.tensors {
                let dataset = inner.create_dataset(&format!("{}:0", tensor.role));
                dataset.with_f32_data(&tensor.values).with_shape(&tensor.shape);
            }
            outer.add_group(inner.finish());
        }
        weights.add_group(outer.finish());
    }
    file.add_group(weights.finish());
    file.finish().map_err(|problem| ExportError::encoding("h5", &problem))
}
