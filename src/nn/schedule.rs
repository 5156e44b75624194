//! Learning-rate schedules: a factor on the learning rate for each step.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use super::names::nearest;

/// How the learning rate changes over the run; each schedule gives a factor on the `lr` setting.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Schedule {
    /// 1.
    #[default]
    Constant,
    /// Times `factor` every `epochs` epochs.
    Step {
        /// Epochs between two drops.
        epochs: u32,
        /// What each drop multiplies by.
        factor: f64,
    },
    /// Half a cosine from 1 to 0 over the run (Loshchilov and Hutter 2017).
    Cosine,
    /// Up from 1/25 over the first 30 %, then down to 1/250,000, both as half cosines (Smith 2018).
    OneCycle,
    /// Linear from 0 to 1 over the first `epochs` epochs, then 1.
    WarmUp {
        /// Length of the ramp.
        epochs: f64,
    },
    /// Linear from 0 to 1 over the first `epochs` epochs, then half a cosine to 0 over the rest of the run.
    WarmUpCosine {
        /// Length of the ramp.
        epochs: f64,
    },
}

/// Why a text names no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScheduleError(pub String);

impl Schedule {
    /// The factor on the learning rate of a step that begins `done` epochs (2.5 in the middle of the third) into a run of
    /// `epochs` epochs. Always finite and never negative.
    pub fn factor(self, done: f64, epochs: u32) -> f64 {
        let total = f64::from(epochs);
        let done = if done.is_finite() { done.max(0.0) } else { 0.0 };
        let factor = match self {
            Self::Constant => 1.0,
            Self::Step { epochs, factor } => factor.powf((done / f64::from(epochs.max(1))).floor()),
            Self::Cosine => half_cosine(1.0, 0.0, share(done, total)),
            Self::OneCycle => match share(done, total) {
                rising @ ..0.3 => half_cosine(1.0 / 25.0, 1.0, rising / 0.3),
                falling => half_cosine(1.0, 1.0 / 250_000.0, (falling - 0.3) / 0.7),
            },
            Self::WarmUp { epochs } => share(done, epochs),
            Self::WarmUpCosine { epochs } if done < epochs => share(done, epochs),
            Self::WarmUpCosine { epochs } => half_cosine(1.0, 0.0, share(done - epochs, total - epochs)),
        };
        if factor.is_finite() { factor.max(0.0) } else { 1.0 }
    }
}

/// How much of `total` is done, 0 to 1; all of nothing.
fn share(done: f64, total: f64) -> f64 {
    if total > 0.0 { (done / total).clamp(0.0, 1.0) } else { 1.0 }
}

fn half_cosine(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) * (1.0 + (PI * share).cos()) / 2.0
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant => f.write_str("constant"),
            Self::Step { epochs, factor } => write!(f, "step:{epochs}:{factor}"),
            Self::Cosine => f.write_str("cosine"),
            Self::OneCycle => f.write_str("onecycle"),
            Self::WarmUp { epochs } => write!(f, "warmup:{epochs}"),
            Self::WarmUpCosine { epochs } => write!(f, "warmup:{epochs}:cosine"),
        }
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let fail = |problem: &str| ScheduleError(format!("`{text}` is no schedule: {problem}"));
        let warm_up = |text: &str| {
            let epochs = text.parse().ok().filter(|epochs| (0.0..=10_000.0).contains(epochs));
            epochs.ok_or_else(|| fail("the warm-up takes 0 to 10000 epochs, as in warmup:2"))
        };
        let parts: Vec<&str> = text.trim().split(':').collect();
        match parts[..] {
            ["constant"] => Ok(Self::Constant),
            ["cosine"] => Ok(Self::Cosine),
            ["onecycle"] => Ok(Self::OneCycle),
            ["step", epochs, factor] => {
                let epochs = epochs.parse().ok().filter(|epochs| (1..=10_000).contains(epochs));
                let factor = factor.parse().ok().filter(|factor| (0.0..=1.0).contains(factor));
                Ok(Self::Step {
                    epochs: epochs.ok_or_else(|| fail("a drop comes every 1 to 10000 epochs, as in step:5:0.5"))?,
                    factor: factor.ok_or_else(|| fail("a drop multiplies by 0 to 1, as in step:5:0.5"))?,
                })
            }
            ["warmup", epochs] => Ok(Self::WarmUp { epochs: warm_up(epochs)? }),
            ["warmup", epochs, "cosine"] => Ok(Self::WarmUpCosine { epochs: warm_up(epochs)? }),
            [name] if name != "step" && name != "warmup" => {
                Err(match nearest(name, &["constant", "cosine", "onecycle"]) {
                    Some(near) => fail(&format!("did you mean `{near}`?")),
                    None => fail(FORMS),
                })
            }
            _ => Err(fail(FORMS)),
        }
    }
}

const FORMS: &str = "there are constant, step:EPOCHS:FACTOR, cosine, onecycle, warmup:EPOCHS and warmup:EPOCHS:cosine";

#[cfg(test)]
mod tests;
