//! Optimizers with their state in our hands, so that it can be saved and resumed.

/// How gradients become updates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OptimizerKind {
    /// Adam (Kingma and Ba 2015), β 0.9 and 0.999, ε 10⁻⁷ as in Keras.
    Adam,
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    AdamW,
    /// Stochastic gradient descent with momentum.
    Sgd {
        /// Share of the last update that is kept, 0 for none.
        momentum: f64,
        /// Looks ahead along the momentum (Nesterov 1983).
        nesterov: bool,
    },
    /// RMSprop (Tieleman and Hinton 2012), ρ 0.9, ε 10⁻⁷ inside the root as in Keras.
    RmsProp,
}

/// What an optimizer remembers between steps, on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerState {
    /// The optimizer it belongs to.
    pub kind: OptimizerKind,
    /// Updates made: Adam's `t`.
    pub updates: u64,
    /// Moments `[slot][parameter][value]`, parameters in the order of the trained tensors; empty before the first step.
    pub moments: Vec<Vec<Vec<f32>>>,
}
