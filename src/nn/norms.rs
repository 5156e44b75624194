//! How large a training step is, layer by layer: the norms of the gradient, of the weights and of what the update changed.
//!
//! Summed in f64 in the order of the values, on one thread: the figures don't depend on the number of threads.

use dfdx::dtypes::Dtype;

use super::NetworkError;
use super::backend::{Backend, Values};
use super::param::{Parameters, Spec, specs};
use crate::arch::Arch;

/// What one step was for one layer: L2 norms over all its trained parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LayerNorm {
    /// Of the gradient of the batch's mean loss.
    pub gradient: f32,
    /// Of the parameters before the update.
    pub weight: f32,
    /// Of the difference that the update made, weight decay included.
    pub update: f32,
}

impl LayerNorm {
    /// The update beside the weights: about a thousandth where a network learns well. 0 where the weights are 0.
    pub fn ratio(&self) -> f32 {
        if self.weight > 0.0 { self.update / self.weight } else { 0.0 }
    }
}

/// The layers of `arch` that have a norm, in order: their names and what they are.
pub fn layers(arch: &Arch) -> Vec<(String, String)> {
    let places = arch.places();
    let trained: Vec<String> = groups(&specs(arch)).into_iter().map(|(layer, _)| layer).collect();
    let text = |name: &String| places.iter().find(|place| place.name == *name).map(|place| place.layer.to_string());
    trained.iter().map(|name| (name.clone(), text(name).unwrap_or_default())).collect()
}

/// The trained parameters of each layer by their numbers, in the order of the layers.
fn groups(specs: &[Spec]) -> Vec<(String, Vec<usize>)> {
    let mut groups: Vec<(String, Vec<usize>)> = Vec::new();
    for (index, spec) in specs.iter().enumerate().filter(|(_, spec)| spec.kind.is_trained()) {
        let layer = spec.name.rsplit_once('.').map_or(spec.name.as_str(), |(layer, _)| layer);
        match groups.last_mut() {
            Some((last, members)) if last == layer => members.push(index),
            _ => groups.push((layer.to_owned(), vec![index])),
        }
    }
    groups
}

/// Parameters before an update, until the update is done.
pub(super) struct Before<E>(Vec<Vec<E>>);

impl<E: Dtype> Before<E> {
    /// Takes what an update will change.
    pub fn new<D: Backend<E>>(parameters: &Parameters<E, D>) -> Result<Self, NetworkError> {
        let download = |values| parameters.device.download(values);
        Ok(Self(parameters.values.iter().map(download).collect::<Result<_, _>>()?))
    }

    /// The norms of the layers, now that the update by `gradients` is done.
    pub fn compare<D: Backend<E>>(
        &self,
        parameters: &Parameters<E, D>,
        gradients: &[Values<E, D>],
    ) -> Result<Vec<LayerNorm>, NetworkError> {
        let device = &parameters.device;
        let mut squares = Vec::new();
        for ((before, after), gradient) in self.0.iter().zip(&parameters.values).zip(gradients) {
            let (after, gradient) = (device.download(after)?, device.download(gradient)?);
            squares.push([
                sum_of_squares(&gradient, &gradient, |value, _| wide(value)),
                sum_of_squares(before, before, |value, _| wide(value)),
                sum_of_squares(before, &after, |old, new| wide(new) - wide(old)),
            ]);
        }
        Ok(of(&parameters.specs, &squares))
    }
}

/// The norms of the layers from the sums of the squares of each parameter's gradient, values and change.
pub(super) fn of(specs: &[Spec], squares: &[[f64; 3]]) -> Vec<LayerNorm> {
    let norm = |(_, members): (String, Vec<usize>)| {
        let whole = |which: usize| members.iter().map(|&member| squares[member][which]).sum::<f64>().sqrt() as f32;
        LayerNorm { gradient: whole(0), weight: whole(1), update: whole(2) }
    };
    groups(specs).into_iter().map(norm).collect()
}

fn wide<E: Dtype>(value: E) -> f64 {
    value.to_f64().unwrap_or(f64::NAN)
}

/// The sum of the squares of `term` over both, in eight sums side by side, which become vector code.
fn sum_of_squares<E: Dtype>(a: &[E], b: &[E], term: impl Fn(E, E) -> f64) -> f64 {
    let mut sums = [0.0; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest = a.remainder().iter().zip(b.remainder());
    for (sum, (&a, &b)) in sums.iter_mut().zip(rest) {
        *sum += term(a, b) * term(a, b);
    }
    for (a, b) in a.zip(b) {
        for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            *sum += term(a, b) * term(a, b);
        }
    }
    sums.iter().sum()
}
