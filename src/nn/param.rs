//! The parameters of a network: what there is, how it starts, and where it lives.
//!
//! Memory layouts, on which every plan relies: a convolution's weight is `[filter, kernel row, kernel column, channel]`, a
//! dense layer's `[unit, input]` with the input flattened in the order height, width, channel.

use dfdx::dtypes::Dtype;
use dfdx::tensor::Tensor;

use super::backend::{Backend, Values};
use super::{NamedTensor, NetworkError};
use crate::arch::{Arch, Layer};
use crate::random::{Purpose, Stream};

/// What a parameter does in its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The matrix of a convolution or a dense layer.
    Weight,
    /// What is added to each output of them.
    Bias,
    /// Batch norm's factor for each channel.
    Scale,
    /// What batch norm adds to each channel.
    Shift,
    /// Batch norm's running mean: follows the batches, no gradient.
    Mean,
    /// Batch norm's running variance: follows the batches, no gradient.
    Variance,
}

impl Kind {
    /// The last part of the parameter's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Bias => "bias",
            Self::Scale => "scale",
            Self::Shift => "shift",
            Self::Mean => "mean",
            Self::Variance => "variance",
        }
    }

    /// Whether the optimizer changes it.
    pub const fn is_trained(self) -> bool {
        !matches!(self, Self::Mean | Self::Variance)
    }

    /// Whether weight decay pulls at it.
    pub const fn decays(self) -> bool {
        matches!(self, Self::Weight)
    }
}

/// One parameter of an architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The layer's name in [`Arch::places`] and the kind: `4.weight`, `5.body.1.bias`.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Inputs that reach one output, and outputs that one input reaches (Keras's fan-in and fan-out).
    fans: [usize; 2],
}

impl Spec {
    /// How many numbers it has.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no numbers; no architecture has such a parameter.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values before training: weights uniform within ±√(6 / (fan-in + fan-out)) (Glorot and Bengio 2010), scales and
    /// variances 1, all else 0. `index` is the parameter's place in [`specs`].
    pub fn initial(&self, index: usize, seed: u64) -> Vec<f32> {
        match self.kind {
            Kind::Weight => {
                let limit = (6.0 / (self.fans[0] + self.fans[1]) as f64).sqrt() as f32;
                let mut stream = Stream::new(seed, Purpose::Initialise, [index as u64, 0]);
                (0..self.len()).map(|_| stream.uniform(-limit, limit)).collect()
            }
            Kind::Scale | Kind::Variance => vec![1.0; self.len()],
            Kind::Bias | Kind::Shift | Kind::Mean => vec![0.0; self.len()],
        }
    }
}

/// All parameters of `arch`, in the order of [`Arch::places`].
pub fn specs(arch: &Arch) -> Vec<Spec> {
    let mut specs = Vec::new();
    for place in arch.places() {
        let mut add = |kind: Kind, shape: Vec<usize>, fans| {
            specs.push(Spec { name: format!("{}.{}", place.name, kind.name()), kind, shape, fans });
        };
        match *place.layer {
            Layer::Conv { filters, kernel: [height, width], .. } => {
                let (channels, area) = (place.input.channels(), height * width);
                add(Kind::Weight, vec![filters, height, width, channels], [area * channels, area * filters]);
                add(Kind::Bias, vec![filters], [0, 0]);
            }
            Layer::Dense { units } => {
                add(Kind::Weight, vec![units, place.input.len()], [place.input.len(), units]);
                add(Kind::Bias, vec![units], [0, 0]);
            }
            Layer::BatchNorm => {
                for kind in [Kind::Scale, Kind::Shift, Kind::Mean, Kind::Variance] {
                    add(kind, vec![place.input.channels()], [0, 0]);
                }
            }
            _ => {}
        }
    }
    specs
}

/// The parameters of one network on a device.
#[derive(Debug)]
pub struct Parameters<E: Dtype, D: Backend<E>> {
    /// Where they live.
    pub device: D,
    /// What each is.
    pub specs: Vec<Spec>,
    /// The numbers of each.
    pub values: Vec<Values<E, D>>,
}

impl<E: Dtype, D: Backend<E>> Parameters<E, D> {
    /// The parameters of `arch` before training, the same on every device.
    ///
    /// # Errors
    /// If the device fails.
    pub fn new(arch: &Arch, device: D, seed: u64) -> Result<Self, NetworkError> {
        let specs = specs(arch);
        let start = |(index, spec): (usize, &Spec)| device.store(&from_f32(&spec.initial(index, seed)));
        let values = specs.iter().enumerate().map(start).collect::<Result<_, _>>()?;
        Ok(Self { device, specs, values })
    }

    /// Copies of all parameters as flat tensors on the device.
    ///
    /// # Errors
    /// If the device fails.
    pub fn tensors(&self) -> Result<Vec<Tensor<(usize,), E, D>>, NetworkError> {
        self.values.iter().map(|values| self.device.tensor_of(values)).collect()
    }

    /// Zeros in the shape of every parameter, for gradients and moments.
    ///
    /// # Errors
    /// If the device fails.
    pub fn zeros(&self) -> Result<Vec<Values<E, D>>, NetworkError> {
        self.specs.iter().map(|spec| self.device.zeros_of(spec.len())).collect()
    }

    /// The same numbers a second time.
    ///
    /// # Errors
    /// If the device fails.
    pub fn copy(&self) -> Result<Self, NetworkError> {
        let again = |values: &Values<E, D>| self.device.store(&self.device.download(values)?);
        let values = self.values.iter().map(again).collect::<Result<_, _>>()?;
        Ok(Self { device: self.device.clone(), specs: self.specs.clone(), values })
    }

    /// The same parameters with the numbers of `tensors`.
    ///
    /// # Errors
    /// If their names, shapes or lengths differ, or the device fails.
    pub fn with(&self, tensors: &[NamedTensor]) -> Result<Self, NetworkError> {
        self.check(tensors)?;
        let store = |tensor: &NamedTensor| self.device.store(&from_f32(&tensor.values));
        let values = tensors.iter().map(store).collect::<Result<_, _>>()?;
        Ok(Self { device: self.device.clone(), specs: self.specs.clone(), values })
    }

    /// All of them on the host.
    ///
    /// # Errors
    /// If the device fails.
    pub fn save(&self) -> Result<Vec<NamedTensor>, NetworkError> {
        let named = |(spec, values): (&Spec, &Values<E, D>)| {
            let values = to_f32(&self.device.download(values)?);
            Ok(NamedTensor { name: spec.name.clone(), shape: spec.shape.clone(), values })
        };
        self.specs.iter().zip(&self.values).map(named).collect()
    }

    /// Says how `tensors` differ from what this network has, if they do.
    fn check(&self, tensors: &[NamedTensor]) -> Result<(), NetworkError> {
        let fail = |problem| Err(NetworkError::Mismatch(problem));
        if tensors.len() != self.specs.len() {
            return fail(format!("{} tensors instead of {}", tensors.len(), self.specs.len()));
        }
        for (spec, tensor) in self.specs.iter().zip(tensors) {
            if tensor.name != spec.name {
                return fail(format!("`{}` stands where `{}` belongs", tensor.name, spec.name));
            }
            if tensor.shape != spec.shape {
                return fail(format!("`{}` has the shape {:?} instead of {:?}", spec.name, tensor.shape, spec.shape));
            }
            if tensor.values.len() != spec.len() {
                return fail(format!("`{}` has {} values instead of {}", spec.name, tensor.values.len(), spec.len()));
            }
        }
        Ok(())
    }
}

/// To the network's own kind of number.
pub(super) fn from_f32<E: Dtype>(values: &[f32]) -> Vec<E> {
    values.iter().map(|&value| number(f64::from(value))).collect()
}

/// From the network's own kind of number.
pub(super) fn to_f32<E: Dtype>(values: &[E]) -> Vec<f32> {
    values.iter().map(|&value| value.to_f32().expect("networks compute in f32 or f64")).collect()
}

/// `value` as the network's own kind of number.
pub(super) fn number<E: Dtype>(value: f64) -> E {
    E::from_f64(value).expect("networks compute in f32 or f64")
}
