//! safetensors: weights with `PyTorch`'s names and layout, written by this program or saved from a `torch.nn.Sequential`.

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use super::{Imported, fold_epsilon, tensors};
use crate::arch::Arch;
use crate::nn::layout::{FlattenOrder, Layout, torch};
use crate::nn::param::{Kind, specs};
use crate::session::card::Card;

/// Batch norm's ε in `PyTorch`, unless somebody says another.
const TORCH_EPSILON: f64 = 1e-5;

/// The model that `bytes` hold; `arch` says the layers where the file's metadata does not.
pub fn decode(bytes: &[u8], arch: Option<&Arch>) -> Result<Imported, String> {
    let broken = |problem| format!("this is no whole safetensors file: {problem}");
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(broken)?;
    let said = metadata.metadata().clone().unwrap_or_default();
    let file = SafeTensors::deserialize(bytes).map_err(broken)?;
    let card = said.get(Card::KEY).and_then(|text| Card::from_json(text));
    let arch: Arch = match (&card, arch) {
        (Some(card), _) => {
            card.arch.parse().map_err(|problem| format!("the architecture in its metadata: {problem}"))?
        }
        (None, Some(arch)) => arch.clone(),
        (None, None) => {
            return Err("the file holds weights but no layers: say them with --arch, as in \
                        --arch \"conv32:3x3 relu pool2 flatten dense10\", one for each module of the torch.nn.Sequential"
                .into());
        }
    };
    let order = match (said.get("flatten").map(String::as_str), FlattenOrder::of(&arch)) {
        (Some("hwc"), _) => FlattenOrder::ChannelLast,
        (_, FlattenOrder::ChannelFirst) => FlattenOrder::ChannelFirst,
        (_, FlattenOrder::ChannelLast) => {
            return Err(format!(
                "in `{arch}` a residual block adds to a flattened image, which PyTorch flattens in another order than this \
                 program: such weights can't be taken over from PyTorch"
            ));
        }
    };
    let read = |(name, layout): &(String, Layout)| {
        let view = file.tensor(name).map_err(|_| {
            let mut there: Vec<&str> = file.names();
            there.sort_unstable();
            there.truncate(20);
            format!("`{arch}` needs a tensor `{name}`, and the file has none of this name; it has {}", there.join(", "))
        })?;
        if view.shape() != layout.shape {
            return Err(format!("tensor `{name}` has the shape {:?} instead of {:?}", view.shape(), layout.shape));
        }
        if view.dtype() != Dtype::F32 {
            return Err(format!("tensor `{name}` holds {:?}: save it as float32", view.dtype()));
        }
        let (numbers, _) = view.data().as_chunks::<4>();
        Ok(layout.to_ours(&numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect::<Vec<_>>()))
    };
    let needed = torch(&arch, order);
    let mut values = needed.iter().map(read).collect::<Result<Vec<Vec<f32>>, _>>()?;
    // PyTorch counts batches beside its running statistics.
    let is_left = |name: &&str| !name.ends_with("num_batches_tracked") && needed.iter().all(|(other, _)| other != name);
    if let Some(name) = file.names().into_iter().filter(is_left).min() {
        return Err(format!(
            "the file has a tensor `{name}`, and `{arch}` no layer for it: say all layers that it has"
        ));
    }
    if card.is_none() {
        for (index, spec) in specs(&arch).iter().enumerate() {
            if spec.kind == Kind::Scale
                && let Some([scale, _, _, variance]) = values.get_mut(index..index + 4)
            {
                fold_epsilon(TORCH_EPSILON, scale, variance);
            }
        }
    }
    let tensors = tensors(&arch, values)?;
    let dropout = card.as_ref().map_or(0.0, |card| card.dropout);
    Ok(Imported { arch, tensors, dropout, card })
}
