//! safetensors: the weights with `PyTorch`'s names and layout, so that a `torch.nn.Sequential` loads them.

mod modules;

use std::collections::HashMap;

use safetensors::serialize;
use safetensors::tensor::{Dtype, TensorView};

use super::ExportError;
use crate::lab::model::Model;
use crate::nn::layout::{FlattenOrder, torch};
use crate::session::card::Card;

/// `model` as the bytes of a file. Its metadata holds the [`Card`], how vectors are flattened, and, where the network is a
/// plain sequence, the Python expression of the modules that load it.
///
/// # Errors
/// If the format can't hold it.
pub fn encode(model: &Model) -> Result<Vec<u8>, ExportError> {
    let failed = |problem| ExportError::encoding("safetensors", &problem);
    let order = FlattenOrder::of(&model.arch);
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = torch(&model.arch, order)
        .into_iter()
        .zip(&model.tensors)
        .map(|((name, layout), tensor)| {
            let bytes = layout.from_ours(&tensor.values).into_iter().flat_map(f32::to_le_bytes).collect();
            (name, layout.shape, bytes)
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    let mut metadata = HashMap::from([
        ("format".to_owned(), "pt".to_owned()),
        (Card::KEY.to_owned(), model.card.to_json()),
        ("flatten".to_owned(), if order == FlattenOrder::ChannelFirst { "chw" } else { "hwc" }.to_owned()),
    ]);
    if let Some(modules) = modules::sequential(&model.arch, model.card.dropout) {
        metadata.insert("torch".into(), modules);
    }
    serialize(views, Some(metadata)).map_err(failed)
}
