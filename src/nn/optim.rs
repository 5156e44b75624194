//! Optimizers with their state in our hands, so that it can be saved and resumed.

use std::fmt;
use std::mem::discriminant;
use std::str::FromStr;

use dfdx::dtypes::Dtype;
use dfdx::optim::{AdamConfig, Momentum, RMSpropConfig, SgdConfig, WeightDecay};

use super::backend::{Backend, Values};
use super::names::nearest;
use super::param::{Parameters, from_f32, to_f32};
use super::plan::Plan;
use super::{NetworkError, Step};

/// How gradients become updates.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum OptimizerKind {
    /// Adam (Kingma and Ba 2015), β 0.9 and 0.999, ε 10⁻⁷ as in Keras.
    #[default]
    Adam,
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    AdamW,
    /// Stochastic gradient descent with momentum: `v ← g + momentum·v`, `w ← w − lr·v`.
    Sgd {
        /// Share of the last update that is kept, 0 for none.
        momentum: f64,
        /// Looks ahead along the momentum (Nesterov 1983).
        nesterov: bool,
    },
    /// Root mean square propagation (Tieleman and Hinton 2012), ρ 0.9, ε 10⁻⁷ inside the root as in Keras.
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

/// Why a text names no optimizer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OptimizerError(pub String);

pub(super) const EPSILON: f64 = 1e-7;
pub(super) const BETAS: [f64; 2] = [0.9, 0.999];
pub(super) const RHO: f64 = 0.9;

impl OptimizerKind {
    /// How many numbers it remembers for each parameter.
    const fn slots(self) -> usize {
        match self {
            Self::Adam | Self::AdamW => 2,
            Self::Sgd { .. } | Self::RmsProp => 1,
        }
    }
}

impl fmt::Display for OptimizerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adam => f.write_str("adam"),
            Self::AdamW => f.write_str("adamw"),
            Self::Sgd { momentum, nesterov } => {
                f.write_str("sgd")?;
                if *momentum != 0.0 {
                    write!(f, ":momentum={momentum}")?;
                }
                f.write_str(if *nesterov { ":nesterov" } else { "" })
            }
            Self::RmsProp => f.write_str("rmsprop"),
        }
    }
}

impl FromStr for OptimizerKind {
    type Err = OptimizerError;

    fn from_str(text: &str) -> Result<Self, OptimizerError> {
        let mut parts = text.trim().split(':');
        let name = parts.next().unwrap_or_default();
        let kind = match name {
            "adam" => Self::Adam,
            "adamw" => Self::AdamW,
            "rmsprop" => Self::RmsProp,
            "sgd" => return sgd(parts),
            _ => return Err(unknown(name)),
        };
        match parts.next() {
            None => Ok(kind),
            Some(option) => Err(OptimizerError(format!("{name} has no options, but got `{option}`"))),
        }
    }
}

fn unknown(name: &str) -> OptimizerError {
    OptimizerError(match nearest(name, &["adam", "adamw", "sgd", "rmsprop"]) {
        Some(near) => format!("`{name}` is no optimizer: did you mean `{near}`?"),
        None => format!(
            "`{name}` is no optimizer: there are adam, adamw, sgd, sgd:momentum=0.9, sgd:momentum=0.9:nesterov and rmsprop"
        ),
    })
}

fn sgd<'a>(options: impl Iterator<Item = &'a str>) -> Result<OptimizerKind, OptimizerError> {
    let (mut momentum, mut nesterov) = (0.0, false);
    for option in options {
        if option == "nesterov" {
            nesterov = true;
        } else if let Some(value) = option.strip_prefix("momentum=") {
            momentum = value.parse().ok().filter(|share| (0.0..1.0).contains(share)).ok_or_else(|| {
                OptimizerError(format!("momentum must be a number from 0 to below 1, but is `{value}`"))
            })?;
        } else {
            return Err(OptimizerError(format!("`{option}` is no option of sgd: there are momentum=0.9 and nesterov")));
        }
    }
    if nesterov && momentum == 0.0 {
        return Err(OptimizerError("nesterov needs a momentum: sgd:momentum=0.9:nesterov".into()));
    }
    Ok(OptimizerKind::Sgd { momentum, nesterov })
}

/// An optimizer at work on a device.
#[derive(Debug)]
pub(super) struct Optimizer<E: Dtype, D: Backend<E>> {
    kind: OptimizerKind,
    updates: u64,
    /// `[slot][trained parameter]`.
    moments: Vec<Vec<Values<E, D>>>,
    /// What dfdx's `RMSprop` wants for its momentum and centring, which are off: it neither reads nor writes them.
    unused: Vec<[Values<E, D>; 2]>,
}

impl<E: Dtype, D: Backend<E>> Default for Optimizer<E, D> {
    fn default() -> Self {
        Self { kind: OptimizerKind::default(), updates: 0, moments: Vec::new(), unused: Vec::new() }
    }
}

impl<E: Dtype, D: Backend<E>> Optimizer<E, D> {
    /// One update of the trained `parameters`; `gradients` has one entry for each parameter, trained or not. Computed by `plan`
    /// if it has kernels for it, else by dfdx's.
    pub fn update(
        &mut self,
        step: &Step,
        parameters: &mut Parameters<E, D>,
        gradients: &[Values<E, D>],
        plan: &mut impl Plan<E, D>,
    ) -> Result<(), NetworkError> {
        self.prepare(step.optimizer, parameters)?;
        self.updates += 1;
        let Parameters { device, specs, values } = parameters;
        let rule = Rule {
            kind: self.kind,
            learning_rate: step.learning_rate,
            updates: i32::try_from(self.updates).unwrap_or(i32::MAX),
        };
        let mut moments: Vec<_> = self.moments.iter_mut().map(|slot| slot.iter_mut()).collect();
        let trained = specs.iter().zip(values).zip(gradients).filter(|((spec, _), _)| spec.kind.is_trained());
        let mut updates: Vec<Update<E, D>> = trained
            .map(|((spec, values), gradient)| Update {
                values,
                gradient,
                moments: moments.iter_mut().filter_map(Iterator::next).collect(),
                decay: (spec.kind.decays() && step.weight_decay != 0.0).then_some(step.weight_decay),
            })
            .collect();
        if plan.update(rule, &mut updates) {
            return Ok(());
        }
        for (index, update) in updates.iter_mut().enumerate() {
            apply(device, rule, update, self.unused.get_mut(index)).map_err(NetworkError::device)?;
        }
        Ok(())
    }

    /// Starts anew if the kind changed or momentum comes back, and makes room before the first update.
    pub fn prepare(&mut self, kind: OptimizerKind, parameters: &Parameters<E, D>) -> Result<(), NetworkError> {
        // A velocity of long ago says nothing of now.
        let without_momentum = |kind| matches!(kind, OptimizerKind::Sgd { momentum, .. } if momentum == 0.0);
        let momentum_returns = without_momentum(self.kind) && !without_momentum(kind);
        if discriminant(&kind) != discriminant(&self.kind) || momentum_returns {
            *self = Self::default();
        }
        self.kind = kind;
        let room = || trained(parameters).map(|len| parameters.device.zeros_of(len)).collect::<Result<Vec<_>, _>>();
        while self.moments.len() < kind.slots() {
            self.moments.push(room()?);
        }
        if kind == OptimizerKind::RmsProp && self.unused.is_empty() {
            self.unused = room()?.into_iter().zip(room()?).map(|(momentum, average)| [momentum, average]).collect();
        }
        Ok(())
    }

    /// `[slot][trained parameter]`: as many slots as the kind has, or none before the first update.
    #[cfg(feature = "cuda")]
    pub fn moments(&self) -> &[Vec<Values<E, D>>] {
        &self.moments
    }

    /// Updates made.
    #[cfg(feature = "cuda")]
    pub const fn updates(&self) -> u64 {
        self.updates
    }

    /// Counts `updates` in that were made by other means.
    #[cfg(feature = "cuda")]
    pub const fn count(&mut self, updates: u64) {
        self.updates += updates;
    }

    /// A copy on the host.
    pub fn save(&self, parameters: &Parameters<E, D>) -> Result<OptimizerState, NetworkError> {
        let download = |values: &Values<E, D>| Ok(to_f32(&parameters.device.download(values)?));
        let slot = |slot: &Vec<Values<E, D>>| slot.iter().map(download).collect::<Result<_, _>>();
        let moments = self.moments.iter().map(slot).collect::<Result<_, NetworkError>>()?;
        Ok(OptimizerState { kind: self.kind, updates: self.updates, moments })
    }

    /// From a copy on the host, if it has the right shape for `parameters`.
    pub fn load(state: &OptimizerState, parameters: &Parameters<E, D>) -> Result<Self, NetworkError> {
        let right_length = |slot: &Vec<Vec<f32>>| slot.iter().map(Vec::len).eq(trained(parameters));
        let right_slots = state.moments.is_empty() || state.moments.len() == state.kind.slots();
        if !right_slots || !state.moments.iter().all(right_length) {
            return Err(NetworkError::Mismatch(format!("the state of {} has another shape", state.kind)));
        }
        let upload = |values: &Vec<f32>| parameters.device.store(&from_f32(values));
        let slot = |slot: &Vec<Vec<f32>>| slot.iter().map(upload).collect::<Result<_, _>>();
        let moments = state.moments.iter().map(slot).collect::<Result<_, _>>()?;
        Ok(Self { kind: state.kind, updates: state.updates, moments, unused: Vec::new() })
    }
}

/// What all parameters have in common in one update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Which optimizer.
    pub kind: OptimizerKind,
    /// After the schedule.
    pub learning_rate: f64,
    /// Updates made, this one included: Adam's `t`.
    pub updates: i32,
}

/// One parameter's part in an update.
#[derive(Debug)]
pub struct Update<'a, E: Dtype, D: Backend<E>> {
    /// The parameter.
    pub values: &'a mut Values<E, D>,
    /// Its gradient.
    pub gradient: &'a Values<E, D>,
    /// As many as the optimizer's kind has slots.
    pub moments: Vec<&'a mut Values<E, D>>,
    /// Weight decay, if it is for this parameter.
    pub decay: Option<f64>,
}

/// Updates one parameter by dfdx's kernels.
fn apply<E: Dtype, D: Backend<E>>(
    device: &D,
    rule: Rule,
    update: &mut Update<E, D>,
    unused: Option<&mut [Values<E, D>; 2]>,
) -> Result<(), D::Err> {
    let Rule { kind, learning_rate: lr, updates } = rule;
    let Update { values, gradient, moments, decay } = update;
    let l2 = decay.map(WeightDecay::L2);
    match (kind, moments.as_mut_slice(), unused) {
        (OptimizerKind::Adam, [first, second], _) => {
            let config = AdamConfig { lr, betas: BETAS, eps: EPSILON, weight_decay: l2 };
            device.adam_kernel(updates, &config, values, first, second, gradient)
        }
        (OptimizerKind::AdamW, [first, second], _) => {
            let weight_decay = decay.map(WeightDecay::Decoupled);
            let config = AdamConfig { lr, betas: BETAS, eps: EPSILON, weight_decay };
            device.adam_kernel(updates, &config, values, first, second, gradient)
        }
        (OptimizerKind::Sgd { momentum, nesterov }, [velocity], _) => {
            let momentum = if nesterov {
                Some(Momentum::Nesterov(momentum))
            } else {
                (momentum != 0.0).then_some(Momentum::Classic(momentum))
            };
            let config = SgdConfig { lr, momentum, weight_decay: l2 };
            device.sgd_kernel(&config, values, velocity, gradient)
        }
        (OptimizerKind::RmsProp, [square], Some([momentum, average])) => {
            let config =
                RMSpropConfig { lr, alpha: RHO, eps: EPSILON, momentum: None, centered: false, weight_decay: l2 };
            device.rmsprop_kernel(&config, values, momentum, square, average, gradient)
        }
        _ => unreachable!("prepare made as many slots as the kind has"),
    }
}

/// Lengths of the trained parameters.
fn trained<E: Dtype, D: Backend<E>>(parameters: &Parameters<E, D>) -> impl Iterator<Item = usize> {
    parameters.specs.iter().filter(|spec| spec.kind.is_trained()).map(super::param::Spec::len)
}

#[cfg(test)]
mod tests;
