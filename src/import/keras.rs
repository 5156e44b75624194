//! Keras 3's `.keras` files: a zip archive of the configuration and the weights.

use std::collections::HashMap;
use std::io::{Cursor, Read};

use hdf5_pure::File;
use serde_json::Value;
use zip::ZipArchive;

use super::config::{self, DescribedLayer};
use super::convert::{self, Weights};
use super::guard::guarded;
use super::{Imported, LIMIT, h5};
use crate::session::card::Card;

/// The model that `bytes` hold.
pub fn decode(bytes: &[u8]) -> Result<Imported, String> {
    let archive =
        || ZipArchive::new(Cursor::new(bytes)).map_err(|problem| format!("this is no whole .keras file: {problem}"));
    let mut archive = guarded(archive)?;
    let config = String::from_utf8(entry(&mut archive, "config.json")?).map_err(|_| "its config.json is no text")?;
    let said = entry(&mut archive, "metadata.json").ok().and_then(|json| serde_json::from_slice::<Value>(&json).ok());
    let card = said.and_then(|said| Card::from_json(said[Card::KEY].as_str()?));
    let file = h5::open(entry(&mut archive, "model.weights.h5")?)?;
    let (layers, _) = config::layers(&config)?;
    convert::model(&config, &Variables { file: &file, paths: paths(&layers) }, card)
}

fn entry(archive: &mut ZipArchive<Cursor<&[u8]>>, name: &str) -> Result<Vec<u8>, String> {
    let broken = |problem: &dyn std::fmt::Display| format!("its {name} can't be read: {problem}");
    guarded(|| {
        let file = archive.by_name(name).map_err(|problem| broken(&problem))?;
        let mut bytes = Vec::new();
        // What the archive says of the size is not believed.
        file.take(LIMIT).read_to_end(&mut bytes).map_err(|problem| broken(&problem))?;
        Ok(bytes)
    })
}

/// Weights at `layers/<class in snake case>[_n]/vars/<i>`, counted for each class in the order of the layers.
struct Variables<'a> {
    file: &'a File,
    /// By the layer's name.
    paths: HashMap<String, String>,
}

fn paths(layers: &[DescribedLayer]) -> HashMap<String, String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let path = |layer: &DescribedLayer, count: usize| {
        let snake = snake_case(&layer.class);
        if count == 0 { snake } else { format!("{snake}_{count}") }
    };
    let mut paths = HashMap::new();
    for layer in layers {
        let count = counts.entry(&layer.class).or_insert(0);
        paths.insert(layer.name.clone(), path(layer, *count));
        *count += 1;
    }
    paths
}

/// `BatchNormalization` as `batch_normalization`, `Conv2D` as `conv2d`.
fn snake_case(class: &str) -> String {
    let mut snake = String::new();
    let letters: Vec<char> = class.chars().collect();
    for (index, &letter) in letters.iter().enumerate() {
        let after_small = index > 0 && letters[index - 1].is_lowercase();
        let before_small = index > 0 && letters.get(index + 1).is_some_and(|next| next.is_lowercase());
        if letter.is_uppercase() && (after_small || before_small) {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

impl Weights for Variables<'_> {
    fn tensor(&self, layer: &DescribedLayer, _: &str, index: usize, shape: &[usize]) -> Result<Vec<f32>, String> {
        let path = self.paths.get(&layer.name).ok_or_else(|| format!("layer `{}` has no weights", layer.name))?;
        h5::dataset(self.file, &format!("layers/{path}/vars/{index}"), shape)
    }
}

#[cfg(test)]
mod tests {
    use super::snake_case;

    #[test]
    fn classes_are_named_as_keras_names_them() {
        for (class, snake) in [
            ("Conv2D", "conv2d"),
            ("Dense", "dense"),
            ("BatchNormalization", "batch_normalization"),
            ("MaxPooling2D", "max_pooling2d"),
        ] {
            assert_eq!(snake_case(class), snake);
        }
    }
}
