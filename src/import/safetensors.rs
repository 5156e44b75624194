//! safetensors: weights with `PyTorch`'s names and layout, written by this program or saved from a `torch.nn.Sequential`.

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use super::{Imported, tensors};
use crate::arch::Arch;
use crate::nn::layout::{FlattenOrder, torch};
use crate::session::card::Card;

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
    let order = match said.get("flatten").map(String::as_str) {
        Some("hwc") => FlattenOrder::ChannelLast,
        Some("chw") => FlattenOrder::ChannelFirst,
        _ => FlattenOrder::of(&arch),
    };
    let read = |(name, layout): &(String, crate::nn::layout::Layout)| {
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
    let values = torch(&arch, order).iter().map(read).collect::<Result<_, _>>()?;
    let tensors = tensors(&arch, values)?;
    let dropout = card.as_ref().map_or(0.0, |card| card.dropout);
    Ok(Imported { arch, tensors, dropout, card })
}
