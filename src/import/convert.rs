//! From Keras's layers to ours: what each says, checked, and what can't be said refused with the layer and the reason.

use serde_json::Value;

use super::chain::{Link, chain};
use super::config::{self, DescribedLayer};
use super::{Imported, dropout, fold_epsilon, tensors};
use crate::arch::{Arch, DropoutRate, Layer, Place, Shape};
use crate::data::{PIXELS, SIDE};
use crate::nn::layout::keras;
use crate::nn::plan::BATCH_NORM_EPSILON;
use crate::session::card::Card;

/// Where the weights of a file are.
pub trait Weights {
    /// The tensor `role`, the `index`th of `layer`, which must have this shape.
    fn tensor(&self, layer: &DescribedLayer, role: &str, index: usize, shape: &[usize]) -> Result<Vec<f32>, String>;
}

/// The network that `config` describes, with its `weights`.
pub fn model(config: &str, weights: &impl Weights, card: Option<Card>) -> Result<Imported, String> {
    let (described, last) = config::layers(config)?;
    let links = chain(&described, last)?;
    let mut converter = Converter { described: &described, last, origins: Vec::new(), reshaped: false };
    let mut layers = converter.sequence(&links)?;
    converter.fit_input(&mut layers)?;
    let origins = converter.origins;
    let arch =
        Arch::new(layers).map_err(|problem| format!("its layers make no network that can be here: {problem}"))?;
    let mut values = Vec::new();
    for (place, &origin) in arch.places().iter().zip(&origins) {
        if let Some(origin) = origin {
            in_place(place, &described[origin])?;
            read(place, &described[origin], weights, &mut values)?;
        }
    }
    let tensors = tensors(&arch, values)?;
    let (arch, dropout) = dropout::follow_setting(arch, card.as_ref());
    Ok(Imported { arch, tensors, dropout, card })
}

struct Converter<'a> {
    described: &'a [DescribedLayer],
    /// The layer that gives the result.
    last: usize,
    /// The description of each layer, in the order of [`Arch::places`]; none for what no layer says, such as an activation.
    origins: Vec<Option<usize>>,
    /// Whether the input is brought to an image by a layer.
    reshaped: bool,
}

impl Converter<'_> {
    fn sequence(&mut self, links: &[Link]) -> Result<Vec<Layer>, String> {
        let mut layers = Vec::new();
        let mut zeros = None;
        for link in links {
            match link {
                Link::Layer(place) => {
                    let layer = &self.described[*place];
                    if let Some((of, _)) = zeros
                        && layer.class != "Conv2D"
                    {
                        return Err(refused(&self.described[of], "must be followed by a convolution"));
                    }
                    if layer.class == "ZeroPadding2D" {
                        zeros = Some((*place, zero_padding(layer)?));
                        continue;
                    }
                    let around = zeros.take().map_or(0, |(_, padding)| padding);
                    for (index, ours) in self.layer(*place, around)?.into_iter().enumerate() {
                        self.origins.push((index == 0).then_some(*place));
                        layers.push(ours);
                    }
                }
                Link::Residual { body, shortcut } => {
                    if let Some((of, _)) = zeros {
                        return Err(refused(&self.described[of], "must be followed by a convolution"));
                    }
                    self.origins.push(None);
                    let (body, shortcut) = (self.sequence(body)?, self.sequence(shortcut)?);
                    layers.push(Layer::Residual { body, shortcut });
                }
            }
        }
        match zeros {
            Some((of, _)) => Err(refused(&self.described[of], "must be followed by a convolution")),
            None => Ok(layers),
        }
    }

    /// The layer and its activation.
    fn layer(&mut self, place: usize, around: usize) -> Result<Vec<Layer>, String> {
        let layer = &self.described[place];
        let fail = |reason: &str| Err(refused(layer, reason));
        let config = &layer.config;
        if config["data_format"].as_str().is_some_and(|format| format != "channels_last") {
            return fail("keeps channels first; save the model with channels_last");
        }
        Ok(match layer.class.as_str() {
            "Conv2D" => self.with_activation(convolution(layer, around)?, place)?,
            "Dense" => {
                let units = whole(config, "units").ok_or_else(|| refused(layer, "has no number of units"))?;
                self.with_activation(Layer::Dense { units }, place)?
            }
            "MaxPooling2D" => {
                let size =
                    square(config, "pool_size").ok_or_else(|| refused(layer, "has a window that is not square"))?;
                let stride = if config["strides"].is_null() { Some(size) } else { square(config, "strides") };
                let stride = stride.ok_or_else(|| refused(layer, "has strides that differ"))?;
                vec![Layer::MaxPool { size, stride }]
            }
            "Activation" => self.activation(place)?.into_iter().collect(),
            "ReLU" => {
                let bounded = !config["max_value"].is_null()
                    || ["negative_slope", "threshold"]
                        .iter()
                        .any(|key| config[*key].as_f64().is_some_and(|x| x != 0.0));
                if bounded {
                    return fail("has a bound, a slope or a threshold; only max(x, 0) can be here");
                }
                vec![Layer::Relu]
            }
            "Softmax" if place == self.last => Vec::new(),
            "Softmax" => return fail("is not at the end"),
            "Dropout" => {
                let rate = config["rate"].as_f64().ok_or_else(|| refused(layer, "has no rate"))?;
                vec![Layer::Dropout(DropoutRate::Fixed(rate as f32))]
            }
            "BatchNormalization" => vec![Layer::BatchNorm],
            "Flatten" => vec![Layer::Flatten],
            "GlobalAveragePooling2D" if config["keepdims"] == true => return fail("keeps its dimensions"),
            "GlobalAveragePooling2D" => vec![Layer::GlobalAveragePool],
            "Rescaling" => {
                let number = |key: &str| config[key].as_f64();
                let ours = number("scale").is_some_and(|scale| (scale * 255.0 - 1.0).abs() < 1e-6);
                if self.origins.is_empty() && ours && number("offset").unwrap_or(0.0) == 0.0 {
                    // Images are divided by 255 before they come to the network.
                    return Ok(Vec::new());
                }
                return fail("scales by something else than 1/255 at the start");
            }
            "Reshape" if self.origins.is_empty() && config["target_shape"] == serde_json::json!([SIDE, SIDE, 1]) => {
                self.reshaped = true;
                Vec::new()
            }
            _ if changes_training_alone(&layer.class, config) => Vec::new(),
            _ => {
                return fail(
                    "has no counterpart: there are Conv2D, Dense, MaxPooling2D, BatchNormalization, ReLU, Dropout, Flatten, \
                     GlobalAveragePooling2D and Add",
                );
            }
        })
    }

    fn with_activation(&self, layer: Layer, place: usize) -> Result<Vec<Layer>, String> {
        Ok(std::iter::once(layer).chain(self.activation(place)?).collect())
    }

    fn activation(&self, place: usize) -> Result<Option<Layer>, String> {
        let layer = &self.described[place];
        match layer.config["activation"].as_str() {
            Some("relu") => Ok(Some(Layer::Relu)),
            Some("linear") => Ok(None),
            Some("softmax") if place == self.last => Ok(None),
            Some("softmax") => Err(refused(layer, "has a softmax that is not at the end")),
            Some(other) => {
                Err(refused(layer, &format!("has the activation `{other}`: there are relu, and softmax at the end")))
            }
            None => Err(refused(layer, "has an activation of its own: there are relu, and softmax at the end")),
        }
    }

    /// Checks that digits can go in, whichever way the model wants them.
    fn fit_input(&mut self, layers: &mut Vec<Layer>) -> Result<(), String> {
        let config = &self.described[0].config;
        let shape = if config["batch_shape"].is_null() { &config["batch_input_shape"] } else { &config["batch_shape"] };
        let sizes: Vec<u64> = shape.as_array().into_iter().flatten().skip(1).filter_map(Value::as_u64).collect();
        let side = SIDE as u64;
        let flattens = matches!(layers.first(), Some(Layer::Flatten));
        match *sizes.as_slice() {
            [h, w, 1] if (h, w) == (side, side) => Ok(()),
            [h, w] if (h, w) == (side, side) && (flattens || self.reshaped) => Ok(()),
            [n] if n == PIXELS as u64 && (flattens || self.reshaped) => Ok(()),
            [n] if n == PIXELS as u64 && matches!(layers.first(), Some(Layer::Dense { .. })) => {
                layers.insert(0, Layer::Flatten);
                self.origins.insert(0, None);
                Ok(())
            }
            _ => Err(format!("it takes inputs of the shape {shape}, but digits are [null,{SIDE},{SIDE},1]")),
        }
    }
}

fn convolution(layer: &DescribedLayer, around: usize) -> Result<Layer, String> {
    let fail = |reason: &str| Err(refused(layer, reason));
    let config = &layer.config;
    let (Some(filters), Some(kernel)) = (whole(config, "filters"), pair(config, "kernel_size")) else {
        return fail("has no number of filters or no kernel size");
    };
    let Some(stride) = square(config, "strides") else { return fail("has strides that differ by direction") };
    let is_dilated = pair(config, "dilation_rate").is_some_and(|rates| rates != [1, 1]);
    if is_dilated || whole(config, "groups").is_some_and(|n| n != 1) {
        return fail("is dilated or grouped");
    }
    let padding = match config["padding"].as_str() {
        Some("valid") => around,
        Some("same") if around > 0 => return fail("pads with zeros twice"),
        Some("same") if kernel == [1, 1] => 0,
        Some("same") if stride != 1 => {
            return fail(
                "pads `same` with a stride, which is not as many zeros on each side: use ZeroPadding2D before it",
            );
        }
        Some("same") if kernel[0] == kernel[1] && kernel[0] % 2 == 1 => kernel[0] / 2,
        Some("same") => return fail("pads `same` for a kernel that is not square or has an even size"),
        _ => return fail("has a padding that is neither valid nor same"),
    };
    Ok(Layer::Conv { filters, kernel, stride, padding })
}

/// Rows and columns of zeros, as many on each side.
fn zero_padding(layer: &DescribedLayer) -> Result<usize, String> {
    let mut sides = Vec::new();
    numbers(&layer.config["padding"], &mut sides);
    match sides.as_slice() {
        [first, rest @ ..] if rest.iter().all(|side| side == first) => Ok(*first),
        _ => Err(refused(layer, "pads unevenly: as many zeros on each side can be here")),
    }
}

/// What can be told once the shapes are known.
fn in_place(place: &Place, layer: &DescribedLayer) -> Result<(), String> {
    match (place.layer, place.input) {
        (&Layer::MaxPool { size, stride }, Shape::Map { height, width, .. })
            if layer.config["padding"] == "same" && (size != stride || height % stride != 0 || width % stride != 0) =>
        {
            return Err(refused(layer, &format!("pads `same` where {height}×{width} does not divide evenly")));
        }
        (Layer::BatchNorm, input) => {
            let axis = &layer.config["axis"];
            let axis = axis[0].as_i64().or(axis.as_i64()).unwrap_or(-1);
            let last = if matches!(input, Shape::Map { .. }) { 3 } else { 1 };
            if axis != -1 && axis != last {
                return Err(refused(layer, "normalises another axis than the last"));
            }
        }
        _ => {}
    }
    Ok(())
}

/// The tensors of a layer in our order and layout.
fn read(
    place: &Place,
    layer: &DescribedLayer,
    weights: &impl Weights,
    values: &mut Vec<Vec<f32>>,
) -> Result<(), String> {
    let channels = place.input.channels();
    let shapes = match *place.layer {
        Layer::Conv { filters, kernel: [height, width], .. } => (vec![filters, height, width, channels], filters),
        Layer::Dense { units } => (vec![units, place.input.len()], units),
        Layer::BatchNorm => return batch_norm(channels, layer, weights, values),
        _ => return Ok(()),
    };
    let layout = keras(&shapes.0);
    values.push(layout.to_ours(&weights.tensor(layer, "kernel", 0, &layout.shape)?));
    values.push(match layer.config["use_bias"] {
        Value::Bool(false) => vec![0.0; shapes.1],
        _ => weights.tensor(layer, "bias", 1, &[shapes.1])?,
    });
    Ok(())
}

fn batch_norm(
    channels: usize,
    layer: &DescribedLayer,
    weights: &impl Weights,
    values: &mut Vec<Vec<f32>>,
) -> Result<(), String> {
    let mut index = 0;
    let mut next = |role: &str| {
        let read = weights.tensor(layer, role, index, &[channels]);
        index += 1;
        read
    };
    let config = &layer.config;
    let mut scale = if config["scale"] == false { vec![1.0; channels] } else { next("gamma")? };
    let shift = if config["center"] == false { vec![0.0; channels] } else { next("beta")? };
    let (mean, variance) = (next("moving_mean")?, next("moving_variance")?);
    fold_epsilon(config["epsilon"].as_f64().unwrap_or(BATCH_NORM_EPSILON), &mut scale, &variance);
    values.extend([scale, shift, mean, variance]);
    Ok(())
}

/// Whether a layer does nothing once the network is trained: augmentation, or noise. `RandomCrop` crops then too.
fn changes_training_alone(class: &str, config: &Value) -> bool {
    let augments = |class: &str| class.starts_with("Random") && class != "RandomCrop";
    let inner = || {
        config["layers"].as_array().is_some_and(|layers| {
            layers.iter().all(|layer| {
                let class = layer["class_name"].as_str().unwrap_or_default();
                class == "InputLayer" || augments(class)
            })
        })
    };
    augments(class) || class == "GaussianNoise" || (class == "Sequential" && inner())
}

fn refused(layer: &DescribedLayer, reason: &str) -> String {
    format!("layer `{}` ({}) {reason}", layer.name, layer.class)
}

fn whole(config: &Value, key: &str) -> Option<usize> {
    config[key].as_u64().and_then(|number| usize::try_from(number).ok())
}

fn pair(config: &Value, key: &str) -> Option<[usize; 2]> {
    let mut sizes = Vec::new();
    numbers(&config[key], &mut sizes);
    match *sizes.as_slice() {
        [one] => Some([one, one]),
        [first, second] => Some([first, second]),
        _ => None,
    }
}

fn square(config: &Value, key: &str) -> Option<usize> {
    pair(config, key).filter(|[first, second]| first == second).map(|[size, _]| size)
}

/// All whole numbers in nested lists.
fn numbers(value: &Value, found: &mut Vec<usize>) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| numbers(value, found)),
        _ => found.extend(value.as_u64().and_then(|number| usize::try_from(number).ok())),
    }
}
