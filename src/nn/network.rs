//! The network that trains: parameters, a plan that computes, and an optimizer.

use dfdx::dtypes::Dtype;

use super::average::Average;
use super::backend::{Backend, Values};
use super::norms::{Before, LayerNorm};
use super::optim::Optimizer;
use super::param::{Parameters, from_f32, to_f32};
use super::plan::{BATCH_NORM_MOMENTUM, Outcome, Plan};
use super::{BatchResult, Network, NetworkError, NetworkState, Step};
use crate::arch::Arch;
use crate::data::{Batch, CLASSES};
use crate::metrics::argmax;

/// A network on device `D`, computed by plan `P`.
#[derive(Debug)]
pub struct PlanNetwork<E: Dtype, D: Backend<E>, P> {
    parameters: Parameters<E, D>,
    gradients: Vec<Values<E, D>>,
    optimizer: Optimizer<E, D>,
    /// What answers in place of the parameters, if there is one.
    average: Option<Average<E, D>>,
    plan: P,
}

/// Whether a step tells how large it was.
#[derive(Clone, Copy)]
enum Norms {
    Unknown,
    Measured,
}

impl<E: Dtype, D: Backend<E>, P: Plan<E, D>> PlanNetwork<E, D, P> {
    /// The network of `arch` before training; `plan` must be made for the same architecture and device.
    ///
    /// # Errors
    /// If the device fails.
    pub fn new(arch: &Arch, device: D, plan: P, seed: u64) -> Result<Self, NetworkError> {
        let parameters = Parameters::new(arch, device, seed)?;
        let gradients = parameters.zeros()?;
        Ok(Self { parameters, gradients, optimizer: Optimizer::default(), average: None, plan })
    }

    /// Relu turns NaN into 0, so that a finite loss alone does not show that an update would leave the weights finite.
    fn gradients_are_finite(&self) -> Result<bool, NetworkError> {
        for gradient in &self.gradients {
            if !self.parameters.device.all_finite(gradient)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Moves the running statistics of batch norm towards those of the batch.
    fn follow(&mut self, outcome: &Outcome) -> Result<(), NetworkError> {
        let Parameters { device, values, .. } = &mut self.parameters;
        for (index, batch) in &outcome.statistics {
            let mut running = to_f32(&device.download(&values[*index])?);
            for (running, batch) in running.iter_mut().zip(batch) {
                *running = BATCH_NORM_MOMENTUM as f32 * *running + (1.0 - BATCH_NORM_MOMENTUM) as f32 * batch;
            }
            device.upload(&from_f32(&running), &mut values[*index])?;
        }
        Ok(())
    }

    fn advance(
        &mut self,
        batch: &Batch,
        step: &Step,
        norms: Norms,
    ) -> Result<(BatchResult, Vec<LayerNorm>), NetworkError> {
        if batch.is_empty() {
            return Ok((BatchResult { loss: 0.0, predictions: Vec::new() }, Vec::new()));
        }
        let mut outcome = self.plan.gradients(&self.parameters, batch, step, &mut self.gradients)?;
        if !self.gradients_are_finite()? {
            outcome.loss = f64::NAN;
        }
        let mut measured = Vec::new();
        if outcome.loss.is_finite() {
            let before = match norms {
                Norms::Measured => Some(Before::new(&self.parameters)?),
                Norms::Unknown => None,
            };
            self.optimizer.update(step, &mut self.parameters, &self.gradients, &mut self.plan)?;
            if let Some(before) = before {
                measured = before.compare(&self.parameters, &self.gradients)?;
            }
            self.follow(&outcome)?;
            Average::follow(&mut self.average, &self.parameters, step)?;
        }
        let predictions = outcome.logits.iter().map(argmax).collect();
        Ok((BatchResult { loss: outcome.loss as f32, predictions }, measured))
    }
}

/// The parameters that answer.
fn answering<'a, E: Dtype, D: Backend<E>>(
    average: Option<&'a Average<E, D>>,
    trained: &'a Parameters<E, D>,
) -> &'a Parameters<E, D> {
    average.map_or(trained, Average::parameters)
}

impl<E: Dtype, D: Backend<E>, P: Plan<E, D>> Network for PlanNetwork<E, D, P> {
    fn train(&mut self, batch: &Batch, step: &Step) -> Result<BatchResult, NetworkError> {
        Ok(self.advance(batch, step, Norms::Unknown)?.0)
    }

    fn train_measured(&mut self, batch: &Batch, step: &Step) -> Result<(BatchResult, Vec<LayerNorm>), NetworkError> {
        self.advance(batch, step, Norms::Measured)
    }

    fn logits(&mut self, batch: &Batch) -> Result<Vec<[f32; CLASSES]>, NetworkError> {
        self.plan.logits(answering(self.average.as_ref(), &self.parameters), batch)
    }

    fn features(&mut self, batch: &Batch) -> Result<Vec<Vec<f32>>, NetworkError> {
        self.plan.features(answering(self.average.as_ref(), &self.parameters), batch)
    }

    fn state(&self) -> Result<NetworkState, NetworkError> {
        state(&self.parameters, self.average.as_ref(), &self.optimizer)
    }

    fn restore(&mut self, state: &NetworkState) -> Result<(), NetworkError> {
        (self.parameters, self.average, self.optimizer) = restored(&self.parameters, state)?;
        Ok(())
    }
}

/// A copy of all that training changes, on the host.
pub(super) fn state<E: Dtype, D: Backend<E>>(
    parameters: &Parameters<E, D>,
    average: Option<&Average<E, D>>,
    optimizer: &Optimizer<E, D>,
) -> Result<NetworkState, NetworkError> {
    let optimizer = optimizer.save(parameters)?;
    let trained = parameters.save()?;
    Ok(match average {
        None => NetworkState { tensors: trained, trained: None, optimizer },
        Some(average) => NetworkState { tensors: average.parameters().save()?, trained: Some(trained), optimizer },
    })
}

/// What `state` holds, on the device of `parameters`, whose architecture it must have.
pub(super) fn restored<E: Dtype, D: Backend<E>>(
    parameters: &Parameters<E, D>,
    state: &NetworkState,
) -> Result<Trained<E, D>, NetworkError> {
    let answering = parameters.with(&state.tensors)?;
    let (parameters, average) = match &state.trained {
        None => (answering, None),
        Some(trained) => (parameters.with(trained)?, Some(Average::new(answering))),
    };
    let optimizer = Optimizer::load(&state.optimizer, &parameters)?;
    Ok((parameters, average, optimizer))
}

/// Parameters, what answers in place of them, and the optimizer.
type Trained<E, D> = (Parameters<E, D>, Option<Average<E, D>>, Optimizer<E, D>);
