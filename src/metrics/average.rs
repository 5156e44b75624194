//! An exponential moving average without the bias of its beginning.

/// The average of the values until now, in which one counts `keep` times the next: `Σ kⁿ⁻ⁱ yᵢ / Σ kⁿ⁻ⁱ`, as Adam's moments are
/// corrected (Kingma and Ba 2015).
#[derive(Clone, Copy, Debug)]
pub struct MovingAverage {
    keep: f64,
    sum: f64,
    weight: f64,
}

impl MovingAverage {
    /// One of no value yet; `keep` is from 0, where it is the last value, to below 1.
    pub const fn new(keep: f64) -> Self {
        Self { keep, sum: 0.0, weight: 0.0 }
    }

    /// The average with `value`, which is to be finite, as the newest.
    pub fn add(&mut self, value: f64) -> f64 {
        self.sum = self.keep * self.sum + value;
        self.weight = self.keep * self.weight + 1.0;
        self.sum / self.weight
    }
}
