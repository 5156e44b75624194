//! Learning-rate schedules: a factor on the learning rate for each step.

/// How the learning rate changes over the run; each schedule gives a factor on the `lr` setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// 1.
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
}
