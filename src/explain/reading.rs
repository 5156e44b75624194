//! A network's weights read for one image: forward with every layer's values kept, and back to the pixels.
//!
//! Plain loops on the host, for any device's weights; values are in the order height, width, channel.

use std::collections::HashMap;

use super::Map;
use super::pictures::{self, LayerMaps};
use crate::arch::{Arch, Layer, Place, Shape};
use crate::data::{CLASSES, Image};
use crate::nn::param::specs;
use crate::nn::plan::{BATCH_NORM_EPSILON, normalise};
use crate::nn::{NetworkError, NetworkState};

/// The weights of a network, ready to be read.
pub struct Reading<'a> {
    arch: &'a Arch,
    places: HashMap<String, Place<'a>>,
    tensors: HashMap<&'a str, &'a [f32]>,
}

/// What one image makes of the network.
pub struct Pass<'a> {
    reading: &'a Reading<'a>,
    input: Vec<f32>,
    steps: Vec<Step<'a>>,
}

/// One layer with what came out of it.
struct Step<'a> {
    name: String,
    layer: &'a Layer,
    input: Shape,
    output: Shape,
    values: Vec<f32>,
    /// Of a residual block: its body and its shortcut.
    inner: [Vec<Step<'a>>; 2],
}

impl<'a> Reading<'a> {
    /// The network of `arch` with the weights of `state`.
    ///
    /// # Errors
    /// If they are those of another architecture.
    pub fn new(arch: &'a Arch, state: &'a NetworkState) -> Result<Self, NetworkError> {
        let tensors: HashMap<&str, &[f32]> =
            state.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.values.as_slice())).collect();
        for spec in specs(arch) {
            if tensors.get(spec.name.as_str()).is_none_or(|values| values.len() != spec.len()) {
                return Err(NetworkError::Mismatch(format!("there is no {} of {} values", spec.name, spec.len())));
            }
        }
        let places = arch.places().into_iter().map(|place| (place.name.clone(), place)).collect();
        Ok(Self { arch, places, tensors })
    }

    /// Runs `image` through the network, with dropout off and the running statistics of batch norm.
    pub fn forward(&self, image: &Image) -> Pass<'_> {
        let input: Vec<f32> = image.iter().map(|&pixel| normalise(pixel)).collect();
        let steps = self.layers(self.arch.layers(), "", &input);
        Pass { reading: self, input, steps }
    }

    /// The weights of the first layer that has some, each filter as a picture.
    pub fn filters(&self) -> LayerMaps {
        let place = self.arch.places().into_iter().find_map(|place| match place.layer {
            Layer::Conv { kernel, .. } => Some((place.name.clone(), place.layer, *kernel, place.input.channels())),
            Layer::Dense { .. } => {
                // A dense layer sees what it gets as a row, unless that is the image.
                let sees_image = place.input.len() == Shape::INPUT.len();
                let kernel = if sees_image { [crate::data::SIDE; 2] } else { [1, place.input.len()] };
                Some((place.name.clone(), place.layer, kernel, 1))
            }
            _ => None,
        });
        place.map_or_else(LayerMaps::default, |(name, layer, kernel, channels)| {
            pictures::filters(layer.to_string(), self.tensor(&name, "weight"), kernel, channels)
        })
    }

    fn tensor(&self, name: &str, kind: &str) -> &[f32] {
        // `new` has seen to it that all are there.
        self.tensors.get(format!("{name}.{kind}").as_str()).copied().unwrap_or_default()
    }

    fn layers(&self, layers: &'a [Layer], prefix: &str, input: &[f32]) -> Vec<Step<'_>> {
        let mut steps: Vec<Step<'_>> = Vec::with_capacity(layers.len());
        for (index, layer) in layers.iter().enumerate() {
            let name = format!("{prefix}{}", index + 1);
            let Some(place) = self.places.get(&name) else { continue };
            let x = steps.last().map_or(input, |step| step.values.as_slice());
            let mut step = Step {
                name,
                layer,
                input: place.input,
                output: place.output,
                values: Vec::new(),
                inner: Default::default(),
            };
            step.values = self.layer(&mut step, x);
            steps.push(step);
        }
        steps
    }

    fn layer<'s>(&'s self, step: &mut Step<'s>, x: &[f32]) -> Vec<f32>
    where
        'a: 's,
    {
        let (name, input, output) = (step.name.clone(), step.input, step.output);
        match step.layer {
            Layer::Conv { kernel, stride, padding, .. } => {
                let mut y = repeated(self.tensor(&name, "bias"), output.len());
                let (weights, c, f) = (self.tensor(&name, "weight"), input.channels(), output.channels());
                windows(input, output, *kernel, *stride, *padding, |place, at, tap| {
                    for filter in 0..f {
                        let weights = &weights[(filter * kernel[0] * kernel[1] + tap) * c..][..c];
                        y[place * f + filter] += dot(weights, &x[at * c..][..c]);
                    }
                });
                y
            }
            Layer::MaxPool { size, stride } => {
                let mut y = vec![f32::NEG_INFINITY; output.len()];
                let c = input.channels();
                windows(input, output, [*size; 2], *stride, 0, |place, at, _| {
                    for channel in 0..c {
                        y[place * c + channel] = y[place * c + channel].max(x[at * c + channel]);
                    }
                });
                y
            }
            Layer::Relu => x.iter().map(|value| value.max(0.0)).collect(),
            Layer::BatchNorm => {
                let factors = self.factors(&name);
                let [mean, shift] = ["mean", "shift"].map(|kind| self.tensor(&name, kind));
                let c = factors.len();
                x.iter()
                    .enumerate()
                    .map(|(at, value)| (value - mean[at % c]) * factors[at % c] + shift[at % c])
                    .collect()
            }
            Layer::Dropout(_) | Layer::Flatten => x.to_vec(),
            Layer::Dense { .. } => {
                let weights = self.tensor(&name, "weight").chunks_exact(input.len());
                weights.zip(self.tensor(&name, "bias")).map(|(weights, bias)| bias + dot(weights, x)).collect()
            }
            Layer::GlobalAveragePool => {
                let c = output.len();
                let mut y = vec![0.0; c];
                x.iter().enumerate().for_each(|(at, value)| y[at % c] += value * c as f32 / input.len() as f32);
                y
            }
            Layer::Residual { body, shortcut } => {
                let body = self.layers(body, &format!("{name}.body."), x);
                let shortcut = self.layers(shortcut, &format!("{name}.shortcut."), x);
                let [main, other] =
                    [&body, &shortcut].map(|steps| steps.last().map_or(x, |step| step.values.as_slice()));
                let sum = main.iter().zip(other).map(|(a, b)| a + b).collect();
                step.inner = [body, shortcut];
                sum
            }
        }
    }

    /// What batch norm multiplies each channel by.
    fn factors(&self, name: &str) -> Vec<f32> {
        let [scale, variance] = ["scale", "variance"].map(|kind| self.tensor(name, kind));
        let factor = |(scale, variance): (&f32, &f32)| scale / (variance + BATCH_NORM_EPSILON as f32).sqrt();
        scale.iter().zip(variance).map(factor).collect()
    }

    /// The gradient at the input `x` of `steps`, of which `gradient` is that at their output.
    fn backward(&self, steps: &[Step], x: &[f32], mut gradient: Vec<f32>) -> Vec<f32> {
        for (index, step) in steps.iter().enumerate().rev() {
            let x = index.checked_sub(1).map_or(x, |before| steps[before].values.as_slice());
            gradient = self.layer_backward(step, x, gradient);
        }
        gradient
    }

    fn layer_backward(&self, step: &Step, x: &[f32], gradient: Vec<f32>) -> Vec<f32> {
        let (name, input, output) = (&step.name, step.input, step.output);
        let mut back = vec![0.0; input.len()];
        match step.layer {
            Layer::Conv { kernel, stride, padding, .. } => {
                let (weights, c, f) = (self.tensor(name, "weight"), input.channels(), output.channels());
                windows(input, output, *kernel, *stride, *padding, |place, at, tap| {
                    for filter in (0..f).filter(|filter| gradient[place * f + filter] != 0.0) {
                        let weights = &weights[(filter * kernel[0] * kernel[1] + tap) * c..][..c];
                        add(&mut back[at * c..][..c], weights, gradient[place * f + filter]);
                    }
                });
            }
            Layer::MaxPool { size, stride } => {
                // Of equals the first has the gradient, as in training.
                let mut left = gradient;
                let c = input.channels();
                windows(input, output, [*size; 2], *stride, 0, |place, at, _| {
                    for channel in 0..c {
                        if x[at * c + channel] >= step.values[place * c + channel] {
                            back[at * c + channel] += std::mem::take(&mut left[place * c + channel]);
                        }
                    }
                });
            }
            Layer::Relu => {
                return gradient.into_iter().zip(x).map(|(g, &value)| if value > 0.0 { g } else { 0.0 }).collect();
            }
            Layer::BatchNorm => {
                let factors = self.factors(name);
                return gradient.iter().enumerate().map(|(at, g)| g * factors[at % factors.len()]).collect();
            }
            Layer::Dropout(_) | Layer::Flatten => return gradient,
            Layer::Dense { .. } => {
                let weights = self.tensor(name, "weight").chunks_exact(input.len());
                weights.zip(gradient).for_each(|(weights, g)| add(&mut back, weights, g));
            }
            Layer::GlobalAveragePool => {
                let c = output.len();
                let share = c as f32 / input.len() as f32;
                back.iter_mut().enumerate().for_each(|(at, back)| *back = gradient[at % c] * share);
            }
            Layer::Residual { .. } => {
                let main = self.backward(&step.inner[0], x, gradient.clone());
                let other = self.backward(&step.inner[1], x, gradient);
                return main.into_iter().zip(other).map(|(a, b)| a + b).collect();
            }
        }
        back
    }
}

impl Pass<'_> {
    /// The logits.
    pub fn logits(&self) -> [f32; CLASSES] {
        let values = self.steps.last().map_or(&[][..], |step| &step.values);
        std::array::from_fn(|class| values.get(class).copied().unwrap_or(0.0))
    }

    /// Gradient × input of the logit of `class`.
    pub fn saliency(&self, class: u8) -> Map {
        let gradient: Vec<f32> = (0..CLASSES).map(|other| f32::from(other == usize::from(class))).collect();
        let gradient = self.reading.backward(&self.steps, &self.input, gradient);
        std::array::from_fn(|pixel| gradient[pixel] * self.input[pixel])
    }

    /// Of each rectifier, those in residual blocks too, its name, and for each of its units (channels, or values of a vector)
    /// whether it fired anywhere.
    pub fn fired(&self) -> Vec<(String, Vec<bool>)> {
        let mut all = Vec::new();
        fired(&self.steps, &mut all);
        all
    }

    /// What each layer makes of the image, of those that make one; a residual block is one layer.
    pub fn maps(&self) -> Vec<LayerMaps> {
        let maps = self.steps.iter().filter_map(|step| match (step.layer, step.output) {
            (Layer::Dropout(_), _) | (_, Shape::Vector(_)) => None,
            (layer, Shape::Map { height, width, channels }) => {
                Some(pictures::channels(layer.to_string(), &step.values, [height, width], channels))
            }
        });
        maps.collect()
    }
}

/// Adds of each rectifier among `steps` and inside them which units fired.
fn fired(steps: &[Step], all: &mut Vec<(String, Vec<bool>)>) {
    for step in steps {
        if *step.layer == Layer::Relu {
            let units = step.output.channels();
            let mut fired = vec![false; units];
            step.values.iter().enumerate().for_each(|(at, value)| fired[at % units] |= *value > 0.0);
            all.push((step.name.clone(), fired));
        }
        for way in &step.inner {
            fired(way, all);
        }
    }
}

/// Calls `each` with every output place, every input place under its window, and the place in the window.
fn windows(
    input: Shape,
    output: Shape,
    kernel: [usize; 2],
    stride: usize,
    padding: usize,
    mut each: impl FnMut(usize, usize, usize),
) {
    let (Shape::Map { height, width, .. }, Shape::Map { height: rows, width: columns, .. }) = (input, output) else {
        return;
    };
    for y in 0..rows {
        for x in 0..columns {
            for ky in 0..kernel[0] {
                for kx in 0..kernel[1] {
                    let at = (y * stride + ky).checked_sub(padding).zip((x * stride + kx).checked_sub(padding));
                    if let Some((row, column)) = at.filter(|&(row, column)| row < height && column < width) {
                        each(y * columns + x, row * width + column, ky * kernel[1] + kx);
                    }
                }
            }
        }
    }
}

fn repeated(values: &[f32], len: usize) -> Vec<f32> {
    values.iter().copied().cycle().take(len).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f32], values: &[f32], factor: f32) {
    to.iter_mut().zip(values).for_each(|(to, value)| *to += factor * value);
}
