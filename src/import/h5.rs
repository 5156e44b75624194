//! Keras's `.h5` files: configuration in an attribute, weights in a group for each layer.

use hdf5_pure::{AttrValue, File};

use super::Imported;
use super::config::DescribedLayer;
use super::convert::{self, Weights};
use super::guard::guarded;
use crate::session::card::Card;

/// The model that `bytes` hold.
pub fn decode(bytes: &[u8]) -> Result<Imported, String> {
    let file = open(bytes.to_vec())?;
    let attributes = guarded(|| file.root().attrs().map_err(|problem| broken(&problem)))?;
    let text = |name: &str| attributes.get(name).and_then(AttrValue::as_str);
    let config = text("model_config")
        .ok_or("the file holds weights but no model: save it with model.save(), not save_weights()")?;
    let card = text(Card::KEY).and_then(Card::from_json);
    convert::model(config, &LayerGroups { file: &file }, card)
}

/// Opens an HDF5 file.
pub fn open(bytes: Vec<u8>) -> Result<File, String> {
    guarded(|| File::from_bytes(bytes).map_err(|problem| broken(&problem)))
}

/// The values of the dataset at `path`, which must have this shape.
pub fn dataset(file: &File, path: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
    let at = |problem: &hdf5_pure::Error| format!("the weights at {path} can't be read: {problem}");
    let dataset = guarded(|| file.dataset(path).map_err(|problem| at(&problem)))?;
    let found = guarded(|| dataset.shape().map_err(|problem| at(&problem)))?;
    if found.len() != shape.len() || found.iter().zip(shape).any(|(&found, &size)| found != size as u64) {
        return Err(format!("the weights at {path} have the shape {found:?} instead of {shape:?}"));
    }
    let values = guarded(|| dataset.read_f32().map_err(|problem| at(&problem)))?;
    let expected: usize = shape.iter().product();
    if values.len() == expected {
        Ok(values)
    } else {
        Err(format!("the weights at {path} are {} numbers", values.len()))
    }
}

fn broken(problem: &hdf5_pure::Error) -> String {
    format!("this is no whole HDF5 file: {problem}")
}

/// Weights at `model_weights/<layer>/<name>`, the names in an attribute.
struct LayerGroups<'a> {
    file: &'a File,
}

impl Weights for LayerGroups<'_> {
    fn tensor(&self, layer: &DescribedLayer, role: &str, _: usize, shape: &[usize]) -> Result<Vec<f32>, String> {
        let group = format!("model_weights/{}", layer.name);
        let missing = || format!("layer `{}` ({}) has no weights called {role}", layer.name, layer.class);
        let attributes = || self.file.group(&group).and_then(|group| group.attrs()).map_err(|_| missing());
        let attributes = guarded(attributes)?;
        let names = attributes.get("weight_names").and_then(AttrValue::as_strings).ok_or_else(missing)?;
        let is_it = |name: &&String| name.rsplit('/').next().is_some_and(|end| end.trim_end_matches(":0") == role);
        let name = names.iter().find(is_it).ok_or_else(missing)?;
        dataset(self.file, &format!("{group}/{name}"), shape)
    }
}
