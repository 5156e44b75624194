//! Optimizers over slices, in parallel, to the bit what dfdx's kernels do.

use super::simd::{Kernel, Level, Simd};
use super::team::Team;
use crate::nn::optim::{BETAS, EPSILON, OptimizerKind, RHO, Rule};

/// One parameter's part in an update; all slices but unused moments are equally long.
#[derive(Debug)]
pub struct Parameter<'a> {
    /// The parameter.
    pub values: &'a mut [f32],
    /// Its gradient.
    pub gradient: &'a [f32],
    /// As many as the optimizer's kind has, the rest empty.
    pub moments: [&'a mut [f32]; 2],
    /// Weight decay, if it is for this parameter.
    pub decay: Option<f64>,
}

/// Values that a thread updates at a time.
const BLOCK: usize = 8192;

/// Updates all `parameters`.
pub fn update(team: &Team, level: Level, rule: Rule, parameters: Vec<Parameter>) {
    let blocks: Vec<Parameter> = parameters.into_iter().flat_map(blocks).collect();
    team.run(blocks.into_iter(), |_, parameter| level.run(Update { rule, parameter }));
}

/// `parameter` in pieces.
fn blocks(parameter: Parameter) -> impl Iterator<Item = Parameter> {
    let Parameter { values, gradient, moments: [first, second], decay } = parameter;
    // Moments that are not there give empty pieces for ever.
    let mut moments = [first.chunks_mut(BLOCK), second.chunks_mut(BLOCK)];
    values.chunks_mut(BLOCK).zip(gradient.chunks(BLOCK)).map(move |(values, gradient)| {
        let moments = moments.each_mut().map(|moment| moment.next().unwrap_or_default());
        Parameter { values, gradient, moments, decay }
    })
}

struct Update<'a> {
    rule: Rule,
    parameter: Parameter<'a>,
}

impl Kernel for Update<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Rule { kind, learning_rate, .. } = self.rule;
        let l2 = self.parameter.decay.unwrap_or(0.0) as f32;
        match kind {
            OptimizerKind::Adam => self.adam(l2, 0.0),
            OptimizerKind::AdamW => {
                let decoupled = (self.parameter.decay.unwrap_or(0.0) * learning_rate) as f32;
                self.adam(0.0, decoupled);
            }
            OptimizerKind::Sgd { momentum, nesterov } => self.sgd(l2, momentum as f32, nesterov),
            OptimizerKind::RmsProp => self.rms_prop(l2),
        }
    }
}

impl Update<'_> {
    #[inline(always)]
    fn adam(self, l2: f32, decoupled: f32) {
        let Parameter { values, gradient, moments: [first, second], .. } = self.parameter;
        let betas = BETAS.map(|beta| beta as f32);
        let corrections = betas.map(|beta| (1.0 - beta.powi(self.rule.updates)).recip());
        let (rate, epsilon) = (self.rule.learning_rate as f32, EPSILON as f32);
        for (((p, &g), m), v) in values.iter_mut().zip(gradient).zip(first).zip(second) {
            let g = g + l2 * *p;
            *m = *m * betas[0] + g * (1.0 - betas[0]);
            *v = *v * betas[1] + g * g * (1.0 - betas[1]);
            let change = rate * (*m * corrections[0]) / ((*v * corrections[1]).sqrt() + epsilon);
            *p -= change + decoupled * *p;
        }
    }

    #[inline(always)]
    fn sgd(self, l2: f32, momentum: f32, nesterov: bool) {
        let Parameter { values, gradient, moments: [velocity, _], .. } = self.parameter;
        let rate = self.rule.learning_rate as f32;
        if momentum == 0.0 && !nesterov {
            for (p, &g) in values.iter_mut().zip(gradient) {
                *p -= (g + l2 * *p) * rate;
            }
            return;
        }
        for ((p, &g), v) in values.iter_mut().zip(gradient).zip(velocity) {
            let g = g + l2 * *p;
            *v = g + momentum * *v;
            *p -= if nesterov { g + momentum * *v } else { *v } * rate;
        }
    }

    #[inline(always)]
    fn rms_prop(self, l2: f32) {
        let Parameter { values, gradient, moments: [square, _], .. } = self.parameter;
        let (rate, epsilon, rho) = (self.rule.learning_rate as f32, EPSILON as f32, RHO as f32);
        for ((p, &g), s) in values.iter_mut().zip(gradient).zip(square) {
            let g = g + l2 * *p;
            *s += (1.0 - rho) * (g * g - *s);
            *p -= g / (*s + epsilon).sqrt() * rate;
        }
    }
}
