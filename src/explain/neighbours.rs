//! The training digits that a network can hardly tell from a digit: its neighbours by the network's features.

use std::ops::Range;
use std::sync::Arc;

use crate::data::{Batch, Image, Images};
use crate::nn::{Network, NetworkError};

/// Digits that go through the network at a time.
const CHUNK: usize = 500;

/// A training digit near another digit.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Neighbour {
    /// Its index in the training set.
    pub index: u32,
    /// Its label.
    pub label: u8,
    /// How far away it is: the L2 norm of the difference of their features.
    pub distance: f32,
    /// Its pixels.
    #[serde(with = "crate::data::pixels")]
    pub image: Box<Image>,
}

/// The `count` digits among those numbered `range` of `train` whose features are nearest to those of `image`, the nearest first
/// (Papernot and `McDaniel` 2018, arXiv:1803.04765, for the features of one layer alone).
///
/// # Errors
/// If the network's device fails.
pub fn nearest(
    network: &mut dyn Network,
    image: &Image,
    train: &Arc<Images>,
    range: Range<usize>,
    count: usize,
) -> Result<Vec<Neighbour>, NetworkError> {
    let alone = Batch::new(Arc::new(Images::new(image.to_vec(), vec![0])), vec![0]);
    let wanted = network.features(&alone)?.pop().unwrap_or_default();
    let mut near: Vec<(f32, u32)> = Vec::with_capacity(count + CHUNK);
    for start in range.clone().step_by(CHUNK) {
        let indices: Vec<u32> = (start as u32..(start + CHUNK).min(range.end) as u32).collect();
        let features = network.features(&Batch::new(train.clone(), indices.clone()))?;
        let distances = features.iter().map(|features| distance(features, &wanted));
        near.extend(distances.zip(indices).filter(|(distance, _)| distance.is_finite()));
        near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        near.truncate(count);
    }
    let neighbour = |(distance, index): (f32, u32)| {
        let (image, label) = (Box::new(*train.image(index as usize)), train.label(index as usize));
        Neighbour { index, label, distance, image }
    };
    Ok(near.into_iter().map(neighbour).collect())
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt()
}
