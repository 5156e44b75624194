//! How far two ways to compute a network are apart: what it answers, and how it learns.

use super::norms::layers;
use super::optim::OptimizerKind;
use super::{NamedTensor, Network, NetworkError, NetworkState, Step};
use crate::arch::Arch;
use crate::data::Batch;

/// Networks that between them have every layer, alone or beside those that it may be fused with, and what each shows.
pub const CASES: [(&str, &str); 15] = [
    ("dense", "flatten dense10"),
    ("dense, relu", "flatten dense37 relu dense10"),
    ("convolution", "conv8:3x3 conv8:3x3 flatten dense10"),
    ("convolution, relu", "conv32:3x3 relu conv16:3x3 relu flatten dense10"),
    ("convolution, relu, pool", "conv32:3x3 relu pool2 conv64:3x3 relu pool2 flatten dense10"),
    ("kernel, stride, padding", "conv8:3x3 relu conv12:5x3:s2:p2 relu conv8:2x4:p1 flatten dense10"),
    ("odd channels", "conv5:3x3 relu pool2 conv7:4x4:p1 relu pool2 flatten dense11 relu dense10"),
    ("max pool", "conv8:3x3 pool3 relu conv6:3x3 pool2 flatten dense10"),
    ("dropout", "conv8:3x3 dropout0.3 flatten dense32 relu dropout dense10"),
    ("batch norm", "conv8:3x3 bn relu pool2 flatten dense16 bn dense10"),
    (
        "residual, average",
        "conv16:3x3:p1 relu res(conv16:3x3:p1 relu conv16:3x3:p1 | conv16:1x1) relu pool2 gap dense10",
    ),
    ("a map added to itself", "flatten dense16 relu res(res(flatten) dense16) dense10"),
    ("mlp", "mlp"),
    ("lenet5", "lenet5"),
    ("tutorial", "tutorial"),
];

/// Differences: each the L2 norm of what is between two vectors, as a share of the reference's norm.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Of the logits.
    pub forward: f64,
    /// Of the changes that a step makes, by layer: its name and what it is. All its parameters are one vector, since some may have no
    /// gradient but rounding: a bias before a batch norm.
    pub backward: Vec<(String, String, f64)>,
}

impl Difference {
    /// The largest.
    pub fn largest(&self) -> f64 {
        self.backward.iter().map(|(_, _, difference)| *difference).fold(self.forward, f64::max)
    }
}

/// Compares `network` with `reference`, both of `arch`, in one forward and one backward pass of `batch`, after `reference` has given
/// its weights to `network`. Both have taken a step then.
///
/// # Errors
/// If a device fails.
pub fn compare(
    arch: &Arch,
    network: &mut dyn Network,
    reference: &mut dyn Network,
    batch: &Batch,
) -> Result<Difference, NetworkError> {
    let before = reference.state()?;
    network.restore(&before)?;
    let (ours, theirs) = (network.logits(batch)?, reference.logits(batch)?);
    let forward = difference(ours.as_flattened(), theirs.as_flattened());
    // With this optimizer and this rate the weights lose just their gradient.
    let step = Step {
        seed: 3,
        number: 5,
        learning_rate: 1.0,
        optimizer: OptimizerKind::Sgd { momentum: 0.0, nesterov: false },
        dropout: 0.25,
        label_smoothing: 0.1,
        ..Step::default()
    };
    network.train(batch, &step)?;
    reference.train(batch, &step)?;
    let (ours, theirs) = (network.state()?, reference.state()?);
    let mut backward = Vec::new();
    for (name, text) in layers(arch) {
        let change = |after: &NetworkState| -> Vec<f32> {
            let of_layer = before.tensors.iter().zip(&after.tensors).filter(|(before, _)| is_of(&name, before));
            of_layer.flat_map(|(before, after)| before.values.iter().zip(&after.values).map(|(b, a)| b - a)).collect()
        };
        backward.push((name.clone(), text, difference(&change(&ours), &change(&theirs))));
    }
    Ok(Difference { forward, backward })
}

/// Whether `tensor` belongs to the layer called `layer`.
fn is_of(layer: &str, tensor: &NamedTensor) -> bool {
    tensor.name.rsplit_once('.').is_some_and(|(name, _)| name == layer)
}

/// The norm of `a - b` as a share of that of `b`; infinite if something is no number.
pub fn difference(a: &[f32], b: &[f32]) -> f64 {
    let norm = |squares: f64| squares.sqrt();
    let apart = norm(a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum());
    let whole = norm(b.iter().map(|&b| f64::from(b).powi(2)).sum());
    if a.len() != b.len() || !apart.is_finite() {
        f64::INFINITY
    } else if apart == 0.0 {
        0.0
    } else {
        apart / whole
    }
}

#[cfg(test)]
mod tests {
    use super::{CASES, compare, difference};
    use crate::arch::Arch;
    use crate::data::augment::Augment;
    use crate::data::{Batch, Images, PIXELS};
    use crate::nn::{self, DeviceChoice, Kernels, Setup};
    use crate::random::{Purpose, Stream};
    use std::sync::Arc;

    #[test]
    fn the_difference_is_a_share_of_the_second() {
        assert!((difference(&[3.0, 4.0], &[3.0, 3.0]) - 1.0 / 18.0_f64.sqrt()).abs() < 1e-12);
        assert!(difference(&[0.0], &[0.0]).abs() < 1e-12);
        assert!(difference(&[1.0], &[0.0]).is_infinite());
        assert!(difference(&[f32::NAN], &[1.0]).is_infinite());
        assert!(difference(&[1.0], &[1.0, 2.0]).is_infinite());
    }

    #[test]
    fn fused_and_composed_networks_differ_by_rounding_alone_and_others_by_more() {
        let mut stream = Stream::new(1, Purpose::Augment, [0, 0]);
        let pixels = (0..32 * PIXELS).map(|_| stream.below(256) as u8).collect();
        let images = Images::new(pixels, (0..32).map(|sample| sample % 10).collect());
        let batch = Batch::new(Arc::new(images), (0..32).collect()).augmented(
            Augment { noise: 0.5, ..Augment::default() },
            1,
            0,
        );
        for (name, text) in CASES {
            let arch: Arch = text.parse().unwrap();
            let network = |kernels, seed| {
                let setup = Setup { device: DeviceChoice::Cpu, kernels, threads: 2, seed, ..Setup::default() };
                nn::build(&arch, &setup).unwrap().0
            };
            let (mut fused, mut composed) = (network(Kernels::Fused, 1), network(Kernels::Composed, 2));
            let found = compare(&arch, &mut *fused, &mut *composed, &batch).unwrap();
            assert!(found.largest() < 1e-3, "{name}: {found:?}");
            // One step further they are still alike; a step of its own makes another network.
            let step = nn::Step::default();
            composed.train(&batch, &step).unwrap();
            let [ours, theirs] = [&mut fused, &mut composed].map(|network| network.logits(&batch).unwrap());
            assert!(difference(ours.as_flattened(), theirs.as_flattened()) > 1e-3, "{name}");
        }
    }
}
