//! The layers of an architecture with the indices that their gathers need, made once for each network.

use dfdx::dtypes::Dtype;
use dfdx::tensor::{Storage, Tensor};

use super::super::backend::Backend;
use super::super::param::{from_f32, specs};
use crate::arch::{Arch, DropoutRate, Layer, Place, Shape};

/// Rows to gather.
pub(super) type Rows<D> = Tensor<(usize,), usize, D>;

/// One layer. The numbers of its parameters are places in [`specs`], their order there is that of their kinds.
#[derive(Debug)]
pub(super) enum Node<E: Dtype, D: Backend<E>> {
    Conv {
        parameter: usize,
        filters: usize,
        /// Values under the kernel: rows · columns · channels.
        patch: usize,
        padding: Option<Padding<E, D>>,
        /// `[patch, position]`.
        rows: Rows<D>,
        /// Whether the images go in, which need no gradient.
        first: bool,
    },
    MaxPool {
        windows: Windows<D>,
    },
    Relu,
    BatchNorm {
        parameter: usize,
        channels: usize,
    },
    Dropout {
        /// Index in [`Arch::places`].
        place: usize,
        rate: DropoutRate,
        shape: Shape,
    },
    /// The rows in the order height, width, channel; nothing to do for a vector.
    Flatten {
        rows: Option<Rows<D>>,
    },
    Dense {
        parameter: usize,
        units: usize,
    },
    GlobalAveragePool {
        channels: usize,
    },
    Residual {
        body: Vec<Node<E, D>>,
        shortcut: Vec<Node<E, D>>,
    },
}

/// For each place in a pool's window the rows that lie there, where the pool needs them.
#[derive(Debug)]
pub(super) enum Windows<D: Storage<usize>> {
    Host(Vec<Vec<usize>>),
    Device(Vec<Rows<D>>),
}

/// A border of zeros: the rows of the padded image, and 0 for those outside of the image, 1 for those inside.
#[derive(Debug)]
pub(super) struct Padding<E: Dtype, D: Backend<E>> {
    pub rows: Rows<D>,
    pub inside: Tensor<(usize,), E, D>,
}

/// Compiles all layers of `arch`.
pub(super) fn nodes<E: Dtype, D: Backend<E>>(arch: &Arch, device: &D) -> Result<Vec<Node<E, D>>, D::Err> {
    let places = arch.places();
    let names = specs(arch).into_iter().map(|spec| spec.name).collect();
    Compiler { device, places, names, next: 0 }.layers(arch.layers())
}

struct Compiler<'a, D> {
    device: &'a D,
    places: Vec<Place<'a>>,
    names: Vec<String>,
    next: usize,
}

impl<D> Compiler<'_, D> {
    fn layers<E: Dtype>(&mut self, layers: &[Layer]) -> Result<Vec<Node<E, D>>, D::Err>
    where
        D: Backend<E>,
    {
        layers.iter().map(|layer| self.layer(layer)).collect()
    }

    /// The next of the places, which is `layer`.
    fn layer<E: Dtype>(&mut self, layer: &Layer) -> Result<Node<E, D>, D::Err>
    where
        D: Backend<E>,
    {
        let index = self.next;
        self.next += 1;
        let Place { ref name, input, output, .. } = self.places[index];
        let prefix = format!("{name}.");
        let parameter = self.names.iter().position(|name| name.starts_with(&prefix)).unwrap_or_default();
        Ok(match *layer {
            Layer::Conv { filters, kernel, stride, padding } => {
                let padded = grow(input, padding);
                let patch = kernel[0] * kernel[1] * input.channels();
                let padding = (padding > 0).then(|| self.padding(input, padding)).transpose()?;
                let rows = self.device.rows(&patches(padded, kernel, stride, output))?;
                Node::Conv { parameter, filters, patch, padding, rows, first: index == 0 }
            }
            Layer::MaxPool { size, stride } => {
                let places = (0..size).flat_map(|y| (0..size).map(move |x| [y, x]));
                let windows = places.map(|place| window(input, place, stride, output));
                Node::MaxPool {
                    windows: if D::ON_HOST {
                        Windows::Host(windows.collect())
                    } else {
                        Windows::Device(windows.map(|rows| self.device.rows(&rows)).collect::<Result<_, _>>()?)
                    },
                }
            }
            Layer::Relu => Node::Relu,
            Layer::BatchNorm => Node::BatchNorm { parameter, channels: input.channels() },
            Layer::Dropout(rate) => Node::Dropout { place: index, rate, shape: input },
            Layer::Flatten => {
                let map = matches!(input, Shape::Map { .. });
                Node::Flatten { rows: map.then(|| self.device.rows(&channels_last(input))).transpose()? }
            }
            Layer::Dense { units } => Node::Dense { parameter, units },
            Layer::GlobalAveragePool => Node::GlobalAveragePool { channels: input.channels() },
            Layer::Residual { ref body, ref shortcut } => {
                Node::Residual { body: self.layers(body)?, shortcut: self.layers(shortcut)? }
            }
        })
    }

    fn padding<E: Dtype>(&self, input: Shape, padding: usize) -> Result<Padding<E, D>, D::Err>
    where
        D: Backend<E>,
    {
        let rows = bordered(input, padding);
        let inside: Vec<f32> = rows.iter().map(|row| f32::from(u8::from(row.is_some()))).collect();
        let rows: Vec<usize> = rows.into_iter().map(Option::unwrap_or_default).collect();
        let inside = self.device.tensor(&from_f32::<E>(&inside), (inside.len(),))?;
        Ok(Padding { rows: self.device.rows(&rows)?, inside })
    }
}

/// Height, width and channels; the shape check lets layers that ask for an image have nothing else.
fn map(shape: Shape) -> [usize; 3] {
    match shape {
        Shape::Map { height, width, channels } => [height, width, channels],
        Shape::Vector(len) => [1, 1, len],
    }
}

fn grow(shape: Shape, padding: usize) -> Shape {
    let [height, width, channels] = map(shape);
    Shape::Map { height: height + 2 * padding, width: width + 2 * padding, channels }
}

/// The row of each value of the padded image, none for the border.
fn bordered(input: Shape, padding: usize) -> Vec<Option<usize>> {
    let [height, width, channels] = map(input);
    let inside = |at: usize, size: usize| at.checked_sub(padding).filter(|&at| at < size);
    let mut rows = Vec::new();
    for channel in 0..channels {
        for y in 0..height + 2 * padding {
            for x in 0..width + 2 * padding {
                let row = |y, x| (channel * height + y) * width + x;
                rows.push(inside(y, height).and_then(|y| inside(x, width).map(|x| row(y, x))));
            }
        }
    }
    rows
}

/// The row under each place of the kernel (row, column, channel) at each position of the output.
fn patches(input: Shape, kernel: [usize; 2], stride: usize, output: Shape) -> Vec<usize> {
    let [height, width, channels] = map(input);
    let [rows, columns, _] = map(output);
    let mut indices = Vec::with_capacity(kernel[0] * kernel[1] * channels * rows * columns);
    for ky in 0..kernel[0] {
        for kx in 0..kernel[1] {
            for channel in 0..channels {
                for y in 0..rows {
                    let start = (channel * height + y * stride + ky) * width + kx;
                    indices.extend((0..columns).map(|x| start + x * stride));
                }
            }
        }
    }
    indices
}

/// The row at `place` (row, column) in each window of a pool.
fn window(input: Shape, place: [usize; 2], stride: usize, output: Shape) -> Vec<usize> {
    let [height, width, channels] = map(input);
    let [rows, columns, _] = map(output);
    let mut indices = Vec::with_capacity(channels * rows * columns);
    for channel in 0..channels {
        for y in 0..rows {
            let start = (channel * height + y * stride + place[0]) * width + place[1];
            indices.extend((0..columns).map(|x| start + x * stride));
        }
    }
    indices
}

/// The row of each value in the order height, width, channel.
pub(super) fn channels_last(input: Shape) -> Vec<usize> {
    let [height, width, channels] = map(input);
    (0..height * width).flat_map(|position| (0..channels).map(move |c| c * height * width + position)).collect()
}
