//! The conditions of `find`, as text and as values.

use crate::data::CLASSES;

/// A condition on a test digit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Filter {
    /// Its label is this.
    True(u8),
    /// The network takes it for this.
    Predicted(u8),
    /// Its label is this, or the network takes it for this.
    Class(u8),
    /// The network gives its prediction more than this probability.
    Surer(f32),
    /// The network gives its prediction this probability at most.
    LessSure(f32),
    /// The network is wrong.
    Wrong,
    /// The network is right.
    Right,
    /// Its label is in doubt.
    Doubtful,
}

/// Reads one condition of `find`.
pub(super) fn parse(text: &str) -> Result<Filter, String> {
    let class = |value: &str| {
        let class = value.parse::<u8>().ok().filter(|&class| usize::from(class) < CLASSES);
        class.ok_or_else(|| format!("`{value}` is no class: use 0 to {}", CLASSES - 1))
    };
    let confidence = |value: &str| {
        let confidence = value.parse::<f32>().ok().filter(|share| (0.0..=1.0).contains(share));
        confidence.ok_or_else(|| format!("`{value}` is no confidence: use 0 to 1"))
    };
    for (sign, filter) in [('>', Filter::Surer as fn(f32) -> Filter), ('<', Filter::LessSure)] {
        if let Some(("conf" | "confidence", value)) = text.split_once(sign) {
            return confidence(value).map(filter);
        }
    }
    match text.split_once('=') {
        Some(("true" | "label", value)) => class(value).map(Filter::True),
        Some(("pred" | "predicted", value)) => class(value).map(Filter::Predicted),
        Some(("class", value)) => class(value).map(Filter::Class),
        None if text == "wrong" => Ok(Filter::Wrong),
        None if text == "right" => Ok(Filter::Right),
        None if text == "doubtful" => Ok(Filter::Doubtful),
        _ => Err("use true=N, pred=N, class=N, conf>0.9, conf<0.6, wrong, right or doubtful".into()),
    }
}

impl std::fmt::Display for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::True(class) => write!(f, "true={class}"),
            Self::Predicted(class) => write!(f, "pred={class}"),
            Self::Class(class) => write!(f, "class={class}"),
            Self::Surer(confidence) => write!(f, "conf>{confidence}"),
            Self::LessSure(confidence) => write!(f, "conf<{confidence}"),
            Self::Wrong => f.write_str("wrong"),
            Self::Right => f.write_str("right"),
            Self::Doubtful => f.write_str("doubtful"),
        }
    }
}
