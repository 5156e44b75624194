//! The layouts that other frameworks keep weights in, as permutations of ours that can be undone.

use super::NamedTensor;
use super::param::{self, Kind, Spec};
use crate::arch::{self, Arch, Layer, Shape};

/// A tensor as another framework keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Its dimensions there.
    pub shape: Vec<usize>,
    /// Our dimensions, a flattened image taken apart.
    dims: Vec<usize>,
    /// Dimension `i` there is our dimension `axes[i]`.
    axes: Vec<usize>,
}

impl Layout {
    /// The same order as ours.
    fn same(shape: &[usize]) -> Self {
        Self { shape: shape.into(), dims: shape.into(), axes: (0..shape.len()).collect() }
    }

    /// Dimension `i` there is our dimension `axes[i]`.
    fn permuted(dims: &[usize], axes: &[usize]) -> Self {
        Self { shape: axes.iter().map(|&axis| dims[axis]).collect(), dims: dims.into(), axes: axes.into() }
    }

    /// Our values in the order of the other framework.
    pub fn from_ours(&self, values: &[f32]) -> Vec<f32> {
        self.sources().map(|source| values[source]).collect()
    }

    /// Values of the other framework in our order.
    pub fn to_ours(&self, values: &[f32]) -> Vec<f32> {
        let mut ours = vec![0.0; values.len()];
        for (source, &value) in self.sources().zip(values) {
            ours[source] = value;
        }
        ours
    }

    /// Where each value there lies in ours, in the order there.
    fn sources(&self) -> impl Iterator<Item = usize> {
        let stride = |axis: usize| self.dims[axis + 1..].iter().product::<usize>();
        let steps: Vec<(usize, usize)> = self.axes.iter().map(|&axis| (self.dims[axis], stride(axis))).collect();
        (0..self.dims.iter().product()).map(move |mut position: usize| {
            let mut source = 0;
            for &(size, stride) in steps.iter().rev() {
                source += position % size * stride;
                position /= size;
            }
            source
        })
    }
}

/// Keras's layout of a tensor that has this shape here: convolutions `[row, column, channel, filter]`, dense layers
/// `[input, unit]`, flattened as ours; vectors are the same.
pub fn keras(shape: &[usize]) -> Layout {
    match shape.len() {
        4 => Layout::permuted(shape, &[1, 2, 3, 0]),
        2 => Layout::permuted(shape, &[1, 0]),
        _ => Layout::same(shape),
    }
}

/// The values of a convolution's weight as `[filter, channel, row, column]`.
pub fn channels_first(weight: &NamedTensor) -> Vec<f32> {
    Layout::permuted(&weight.shape, &[0, 3, 1, 2]).from_ours(&weight.values)
}

/// How `PyTorch` flattens an image to a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlattenOrder {
    /// `torch.nn.Flatten` on `[channel, row, column]`.
    ChannelFirst,
    /// As Keras and this program do. Needed where a residual block adds a flattened image: what is added has one order.
    ChannelLast,
}

impl FlattenOrder {
    /// The order in which the weights of `arch` are kept.
    pub fn of(arch: &Arch) -> Self {
        if adds_flattened(arch.layers(), Shape::INPUT, &mut false) { Self::ChannelLast } else { Self::ChannelFirst }
    }
}

/// Whether a residual block takes or makes an image that was flattened to another order. `flat` is whether one goes into `layers`,
/// which get `shape`, and then whether one comes out.
fn adds_flattened(layers: &[Layer], mut shape: Shape, flat: &mut bool) -> bool {
    layers.iter().any(|layer| {
        let input = shape;
        shape = arch::output(layer, input);
        match layer {
            Layer::Residual { body, shortcut } => {
                let (mut main, mut other) = (*flat, *flat);
                let is_within = adds_flattened(body, input, &mut main) || adds_flattened(shortcut, input, &mut other);
                is_within || *flat || main || other
            }
            Layer::Flatten => {
                // Of one channel, or of one position, there is one order.
                *flat |= matches!(input, Shape::Map { height, width, channels } if channels > 1 && height * width > 1);
                false
            }
            Layer::Dense { .. } | Layer::GlobalAveragePool => {
                *flat = false;
                false
            }
            _ => false,
        }
    })
}

/// `PyTorch`: the name of each parameter of `arch` in a `torch.nn.Sequential` with one module for each layer, and its layout:
/// convolutions `[filter, channel, row, column]`, dense layers `[unit, input]` with the input in the given order.
pub fn torch(arch: &Arch, order: FlattenOrder) -> Vec<(String, Layout)> {
    let specs = param::specs(arch);
    let mut flattened: Option<[usize; 3]> = None;
    let mut layouts = Vec::with_capacity(specs.len());
    for place in arch.places() {
        if let (Layer::Flatten, Shape::Map { height, width, channels }, FlattenOrder::ChannelFirst) =
            (place.layer, place.input, order)
        {
            flattened = Some([height, width, channels]);
        }
        let own = |spec: &&Spec| spec.name.rsplit_once('.').is_some_and(|(layer, _)| layer == place.name);
        for spec in specs.iter().filter(own) {
            let layout = match (spec.kind, spec.shape.as_slice(), flattened) {
                (Kind::Weight, shape @ [_, _, _, _], _) => Layout::permuted(shape, &[0, 3, 1, 2]),
                (Kind::Weight, shape @ [units, _], Some([h, w, c])) => {
                    Layout { shape: shape.into(), ..Layout::permuted(&[*units, h, w, c], &[0, 3, 1, 2]) }
                }
                (Kind::Scale | Kind::Shift | Kind::Mean | Kind::Variance, shape, Some(dims)) => {
                    Layout { shape: shape.into(), ..Layout::permuted(&dims, &[2, 0, 1]) }
                }
                (_, shape, _) => Layout::same(shape),
            };
            layouts.push((torch_name(spec), layout));
        }
        if let Layer::Dense { .. } = place.layer {
            flattened = None;
        }
    }
    layouts
}

/// `4.body.2.scale` as `3.body.1.weight`: modules are counted from 0, and batch norm's tensors have names of their own.
fn torch_name(spec: &Spec) -> String {
    let (layer, _) = spec.name.rsplit_once('.').unwrap_or_default();
    let module =
        layer.split('.').map(|part| part.parse::<usize>().map_or_else(|_| part.into(), |n| (n - 1).to_string()));
    let kind = match spec.kind {
        Kind::Weight | Kind::Scale => "weight",
        Kind::Bias | Kind::Shift => "bias",
        Kind::Mean => "running_mean",
        Kind::Variance => "running_var",
    };
    module.chain([kind.to_owned()]).collect::<Vec<String>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::{FlattenOrder, Layout, keras, torch};

    #[test]
    fn a_permutation_is_what_numpy_makes_of_it_and_can_be_undone() {
        let values: Vec<f32> = (0..24_u8).map(f32::from).collect();
        let layout = Layout::permuted(&[2, 3, 4], &[2, 0, 1]);
        let there = layout.from_ours(&values);
        assert_eq!(layout.shape, [4, 2, 3]);
        assert_eq!(there[..7], [0.0, 4.0, 8.0, 12.0, 16.0, 20.0, 1.0]);
        assert_eq!(layout.to_ours(&there), values);
    }

    #[test]
    fn layouts_follow_the_layers() {
        let arch = "conv2:3x5 flatten bn dense10".parse().unwrap();
        let names: Vec<(String, Vec<usize>)> =
            torch(&arch, FlattenOrder::of(&arch)).into_iter().map(|(name, layout)| (name, layout.shape)).collect();
        assert_eq!(names[0], ("0.weight".into(), vec![2, 1, 3, 5]));
        assert_eq!(names[4], ("2.running_mean".into(), vec![26 * 24 * 2]));
        assert_eq!(names[6], ("3.weight".into(), vec![10, 26 * 24 * 2]));
        assert_eq!(keras(&[2, 3, 5, 1]).shape, [3, 5, 1, 2]);
    }

    #[test]
    fn what_is_added_to_a_flattened_image_has_its_order() {
        for (arch, order) in [
            ("conv2:3x3 flatten res(dense1352) dense10", FlattenOrder::ChannelLast),
            ("conv2:3x3 res(flatten | flatten dense1352) dense10", FlattenOrder::ChannelLast),
            ("conv2:3x3 res(res(flatten | flatten) | flatten) dense10", FlattenOrder::ChannelLast),
            ("conv2:3x3 flatten bn dense7 relu res(dense7 relu) dense10", FlattenOrder::ChannelFirst),
            ("conv2:3x3 res(flatten dense7 | gap dense7) dense10", FlattenOrder::ChannelFirst),
            ("conv2:3x3 gap flatten res(dense2) dense10", FlattenOrder::ChannelFirst),
            ("flatten res(dense784) dense10", FlattenOrder::ChannelFirst),
            ("conv2:7x7 pool22 flatten res(dense2) dense10", FlattenOrder::ChannelFirst),
        ] {
            assert_eq!(FlattenOrder::of(&arch.parse().unwrap()), order, "{arch}");
        }
    }
}
