//! Which dropout layers of an imported network follow the `dropout` setting, so that it can be changed while training goes on.

use crate::arch::{Arch, DropoutRate, Layer};
use crate::session::card::Card;

/// No setting is higher.
const MOST: f32 = 0.95;

/// The architecture as the card says it, if it is the same; else one whose dropout layers follow the setting, if they have one
/// rate. And the setting.
pub fn follow_setting(arch: Arch, card: Option<&Card>) -> (Arch, f32) {
    let written = card.and_then(|card| Some((card.arch.parse::<Arch>().ok()?, card.dropout)));
    if let Some((written, dropout)) = written {
        let fixed = written.with_dropout(|rate| match rate {
            DropoutRate::Setting => DropoutRate::Fixed(dropout),
            fixed @ DropoutRate::Fixed(_) => fixed,
        });
        if fixed == arch {
            return (written, dropout);
        }
    }
    let rates: Vec<f32> = arch.places().iter().filter_map(|place| rate(place.layer)).collect();
    match rates.as_slice() {
        [first, rest @ ..] if *first <= MOST && rest.iter().all(|rate| rate.to_bits() == first.to_bits()) => {
            (arch.with_dropout(|_| DropoutRate::Setting), *first)
        }
        _ => (arch, 0.0),
    }
}

fn rate(layer: &Layer) -> Option<f32> {
    match layer {
        Layer::Dropout(DropoutRate::Fixed(rate)) => Some(*rate),
        _ => None,
    }
}
