//! The architecture of a network as text and as layers, with a shape check that explains what does not fit.
//!
//! ```text
//! conv32:3x3 relu pool2 conv64:3x3 relu pool2 conv64:3x3 relu flatten dense64 relu dropout dense10
//!
//! conv32:3x5:s2:p1   32 filters of 3 rows and 5 columns, stride 2, 1 row and column of zeros around (kernel 1–7, stride 1–2)
//! pool2  pool3:s2    max pooling over 2×2; over 3×3 every 2 pixels
//! relu  bn  flatten  gap          rectifier; batch norm; to a vector; global average pool
//! dropout  dropout0.3             at the run's `dropout` setting; at a rate of its own
//! dense64                         fully connected
//! res(A)  res(A | B)              residual block: input + A, or B of the input + A
//! ```

mod check;
mod text;

use std::fmt;

use crate::data::SIDE;

/// Names of the architectures that come with the program, each with its text and a sentence about it.
pub const PRESETS: [Preset; 6] = [
    Preset { name: "mlp", text: "flatten dense128 relu dropout dense10", about: "one hidden layer, no convolution" },
    Preset {
        name: "lenet5",
        text: "conv6:5x5:p2 relu pool2 conv16:5x5 relu pool2 flatten dense120 relu dense84 relu dropout dense10",
        about: "LeNet-5 (LeCun 1998) with relu and max pooling",
    },
    Preset {
        name: "tutorial",
        text: "conv32:3x3 relu pool2 conv64:3x3 relu pool2 conv64:3x3 relu flatten dense64 relu dropout dense10",
        about: "the CNN of the Keras tutorial, 93,322 parameters",
    },
    Preset {
        name: "wide",
        text: "conv64:3x3 relu pool2 conv128:3x3 relu pool2 conv128:3x3 relu flatten dense128 relu dropout dense10",
        about: "the tutorial's CNN with twice the filters",
    },
    Preset {
        name: "resnet",
        text: "conv32:3x3:p1 bn relu res(conv32:3x3:p1 bn relu conv32:3x3:p1 bn) relu pool2 \
               res(conv64:3x3:p1 bn relu conv64:3x3:p1 bn | conv64:1x1 bn) relu pool2 gap dropout dense10",
        about: "two residual blocks with batch norm",
    },
    Preset {
        name: "strided",
        text: "conv32:3x3 bn relu conv32:3x3 bn relu conv32:5x5:s2:p2 bn relu dropout0.4 \
               conv64:3x3 bn relu conv64:3x3 bn relu conv64:5x5:s2:p2 bn relu dropout0.4 \
               flatten dense128 bn relu dropout dense10",
        about: "six convolutions with batch norm, two of them with stride 2 in place of a pool",
    },
];

/// An architecture that comes with the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// The name that stands for the text.
    pub name: &'static str,
    /// The architecture in the grammar of this module.
    pub text: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
}

impl Preset {
    /// The layers of the preset that `text` names, or `text` itself.
    pub fn spelled_out(text: &str) -> &str {
        PRESETS.iter().find(|preset| preset.name == text.trim()).map_or(text, |preset| preset.text)
    }
}

/// A network's layers, checked: 28×28 images with one channel go in and 10 logits come out.
#[derive(Clone, Debug, PartialEq)]
pub struct Arch {
    layers: Vec<Layer>,
}

/// One layer.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// Convolution with bias; the weights are `[filter, kernel height, kernel width, input channel]`.
    Conv {
        /// Output channels.
        filters: usize,
        /// Kernel height and width, each 1 to 7.
        kernel: [usize; 2],
        /// Step in both directions, 1 or 2.
        stride: usize,
        /// Rows and columns of zeros on each side, less than the kernel's size.
        padding: usize,
    },
    /// Maximum over `size`×`size` windows, without padding; what does not fill a window is dropped.
    MaxPool {
        /// Height and width of the window.
        size: usize,
        /// Step in both directions.
        stride: usize,
    },
    /// `max(x, 0)`.
    Relu,
    /// Normalisation of each channel over the batch (Ioffe and Szegedy 2015), momentum 0.99 and ε 10⁻³ as in Keras.
    BatchNorm,
    /// While training, zeroes a share of the values and scales up the rest.
    Dropout(DropoutRate),
    /// `[height, width, channel]` to a vector in this order, as Keras flattens.
    Flatten,
    /// Fully connected with bias; the weights are `[unit, input]`.
    Dense {
        /// Outputs.
        units: usize,
    },
    /// Mean of each channel.
    GlobalAveragePool,
    /// The sum of two ways through: the body, and the input itself or a shortcut that brings it to the body's shape.
    Residual {
        /// The layers of the main way.
        body: Vec<Layer>,
        /// The layers of the other way; empty for the input itself.
        shortcut: Vec<Layer>,
    },
}

/// Where a dropout layer takes its rate from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DropoutRate {
    /// The run's `dropout` setting, which can be changed while training.
    Setting,
    /// This share, 0 to below 1.
    Fixed(f32),
}

/// The shape of one sample between two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An image.
    Map {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Channels.
        channels: usize,
    },
    /// A vector of this length.
    Vector(usize),
}

impl Shape {
    /// What goes into every network: `[28, 28, 1]`.
    pub const INPUT: Self = Self::Map { height: SIDE, width: SIDE, channels: 1 };

    /// How many values a sample has, never 0.
    #[expect(clippy::len_without_is_empty, reason = "no shape is empty")]
    pub const fn len(self) -> usize {
        match self {
            Self::Map { height, width, channels } => height * width * channels,
            Self::Vector(len) => len,
        }
    }

    /// The channels of an image; each value of a vector is a channel of its own.
    pub const fn channels(self) -> usize {
        match self {
            Self::Map { channels, .. } => channels,
            Self::Vector(len) => len,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map { height, width, channels } => write!(f, "{height}×{width}×{channels}"),
            Self::Vector(len) => write!(f, "{len}"),
        }
    }
}

/// Why a text is no architecture: where, what and what to do, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ArchError(pub String);

/// A layer in its place, as [`Arch::places`] lists them.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// `4` for the fourth layer, `4.body.2` for the second layer in its body, `4.shortcut.1`.
    pub name: String,
    /// The layer.
    pub layer: &'a Layer,
    /// What goes in.
    pub input: Shape,
    /// What comes out.
    pub output: Shape,
}

impl Arch {
    /// The network of these layers.
    ///
    /// # Errors
    /// If a layer does not fit what comes before it, or not 10 logits come out.
    pub fn new(layers: Vec<Layer>) -> Result<Self, ArchError> {
        check::network(&layers)?;
        Ok(Self { layers })
    }

    /// The same layers, with other rates of dropout.
    #[must_use]
    pub fn with_dropout(&self, rate: impl Fn(DropoutRate) -> DropoutRate) -> Self {
        Self { layers: with_dropout(&self.layers, &rate) }
    }

    /// The layers in order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The shape that each of [`Arch::layers`] gives.
    pub fn shapes(&self) -> Vec<Shape> {
        let mut shape = Shape::INPUT;
        let next = |layer: &Layer| {
            shape = output(layer, shape);
            shape
        };
        self.layers.iter().map(next).collect()
    }

    /// Every layer with its name and shapes: a residual block before its body, its body before its shortcut.
    pub fn places(&self) -> Vec<Place<'_>> {
        let mut places = Vec::new();
        collect_places(&self.layers, Shape::INPUT, "", &mut places);
        places
    }

    /// How many numbers training changes: weights, biases, and batch norm's scales and shifts.
    pub fn parameters(&self) -> usize {
        self.places().iter().map(|place| place.layer.parameters(place.input)).sum()
    }

    /// The preset that this is, if it is one.
    pub fn preset(&self) -> Option<&'static str> {
        PRESETS
            .iter()
            .find(|preset| preset.text.parse().is_ok_and(|arch: Self| arch == *self))
            .map(|preset| preset.name)
    }

    /// Whether the run's `dropout` setting changes anything: a dropout layer has no rate of its own.
    pub fn has_live_dropout(&self) -> bool {
        self.places().iter().any(|place| matches!(place.layer, Layer::Dropout(DropoutRate::Setting)))
    }
}

impl Default for Arch {
    /// The preset `tutorial`.
    fn default() -> Self {
        "tutorial".parse().expect("a test parses every preset")
    }
}

impl Layer {
    /// How many numbers training changes in this layer alone, without the layers inside it.
    pub fn parameters(&self, input: Shape) -> usize {
        match *self {
            Self::Conv { filters, kernel: [height, width], .. } => filters * (height * width * input.channels() + 1),
            Self::Dense { units } => units * (input.len() + 1),
            Self::BatchNorm => 2 * input.channels(),
            Self::MaxPool { .. }
            | Self::Relu
            | Self::Dropout(_)
            | Self::Flatten
            | Self::GlobalAveragePool
            | Self::Residual { .. } => 0,
        }
    }
}

/// What a layer of a checked network gives.
pub(crate) fn output(layer: &Layer, input: Shape) -> Shape {
    check::output(layer, input, 0).expect("the layers of an Arch are checked when it is made")
}

fn collect_places<'a>(layers: &'a [Layer], mut input: Shape, prefix: &str, places: &mut Vec<Place<'a>>) {
    for (index, layer) in layers.iter().enumerate() {
        let name = format!("{prefix}{}", index + 1);
        let output = output(layer, input);
        places.push(Place { name: name.clone(), layer, input, output });
        if let Layer::Residual { body, shortcut } = layer {
            collect_places(body, input, &format!("{name}.body."), places);
            collect_places(shortcut, input, &format!("{name}.shortcut."), places);
        }
        input = output;
    }
}

fn with_dropout(layers: &[Layer], rate: &impl Fn(DropoutRate) -> DropoutRate) -> Vec<Layer> {
    let changed = |layer: &Layer| match layer {
        Layer::Dropout(old) => Layer::Dropout(rate(*old)),
        Layer::Residual { body, shortcut } => {
            Layer::Residual { body: with_dropout(body, rate), shortcut: with_dropout(shortcut, rate) }
        }
        other => other.clone(),
    };
    layers.iter().map(changed).collect()
}

#[cfg(test)]
mod tests;
