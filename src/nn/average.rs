//! The moving average of the weights: smoother than the weights themselves, and mostly better at digits it has not seen.

use dfdx::dtypes::Dtype;

use super::backend::Backend;
use super::param::Parameters;
use super::{NetworkError, Step};

/// An exponential moving average of all parameters, the running statistics of batch norm among them (Polyak and Juditsky
/// 1992): `a ← d·a + (1 − d)·w` after each step, with `d = min(ema, (1 + n) / (10 + n))` in step `n` of the run, so that the
/// random start is soon forgotten.
#[derive(Debug)]
pub(super) struct Average<E: Dtype, D: Backend<E>>(Parameters<E, D>);

/// The share of the average that step `number` of the run keeps.
pub(super) fn kept(decay: f64, number: u64) -> f64 {
    let made = number as f64;
    decay.min((1.0 + made) / (10.0 + made))
}

impl<E: Dtype, D: Backend<E>> Average<E, D> {
    /// The average that has come to `parameters` so far.
    pub const fn new(parameters: Parameters<E, D>) -> Self {
        Self(parameters)
    }

    /// After a step: moves `average` on to `parameters`. It begins as a copy of them, and goes when the step wants none.
    pub fn follow(average: &mut Option<Self>, parameters: &Parameters<E, D>, step: &Step) -> Result<(), NetworkError> {
        match (step.ema, average.as_mut()) {
            (None, _) => *average = None,
            (Some(_), None) => *average = Some(Self(parameters.copy()?)),
            (Some(decay), Some(Self(average))) => {
                let share = 1.0 - kept(decay, step.number);
                for (average, values) in average.values.iter_mut().zip(&parameters.values) {
                    parameters.device.approach(average, values, share)?;
                }
            }
        }
        Ok(())
    }

    /// The averaged numbers.
    pub const fn parameters(&self) -> &Parameters<E, D> {
        &self.0
    }
}
