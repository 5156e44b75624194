//! The CPU kernels as a plan: parameters and gradients stay in dfdx's storage, which on the CPU is plain memory.

use dfdx::tensor::Cpu;

use super::backend::Values;
use super::cpu::{Engine, Parameter, Pass};
use super::optim::{Rule, Update};
use super::param::Parameters;
use super::plan::{Outcome, Plan};
use super::{NetworkError, Step};
use crate::arch::Arch;
use crate::data::{Batch, CLASSES};

/// A network computed by the fused kernels.
#[derive(Debug)]
pub struct Fused {
    engine: Engine,
    /// The parameters that the engine holds for inference; empty after a training step.
    loaded: Vec<f32>,
}

impl Fused {
    /// Makes `arch` ready for `threads` threads; 0 for as many as the machine has.
    pub fn new(arch: &Arch, threads: usize) -> Self {
        Self { engine: Engine::new(arch, threads), loaded: Vec::new() }
    }

    /// The engine that computes.
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Rearranging the parameters takes longer than a few samples do, so it is left out if they are what they were.
    fn load_for_inference(&mut self, parameters: &[&[f32]]) {
        let mut rest = &*self.loaded;
        let same = parameters.iter().all(|values| {
            let (before, after) = rest.split_at(values.len().min(rest.len()));
            rest = after;
            same_bits(before, values)
        });
        if !same {
            self.engine.load(parameters, Pass::Inference);
            self.loaded = parameters.concat();
        }
    }
}

impl Plan<f32, Cpu> for Fused {
    fn gradients(
        &mut self,
        parameters: &Parameters<f32, Cpu>,
        batch: &Batch,
        step: &Step,
        gradients: &mut [Values<f32, Cpu>],
    ) -> Result<Outcome, NetworkError> {
        self.loaded.clear();
        self.engine.load(&slices(parameters), Pass::Training);
        let mut gradients: Vec<&mut [f32]> = gradients.iter_mut().map(|values| &mut values[..]).collect();
        Ok(self.engine.train(batch, step, &mut gradients))
    }

    fn logits(
        &mut self,
        parameters: &Parameters<f32, Cpu>,
        batch: &Batch,
    ) -> Result<Vec<[f32; CLASSES]>, NetworkError> {
        self.load_for_inference(&slices(parameters));
        Ok(self.engine.logits(batch))
    }

    fn update(&mut self, rule: Rule, updates: &mut [Update<f32, Cpu>]) -> bool {
        self.engine.update(rule, updates.iter_mut().map(part).collect());
        true
    }
}

/// Whether two slices are equal to the bit; without an early exit, so that it becomes vector code.
fn same_bits(a: &[f32], b: &[f32]) -> bool {
    let differing = |bits: u32, (a, b): (&f32, &f32)| bits | (a.to_bits() ^ b.to_bits());
    a.len() == b.len() && a.iter().zip(b).fold(0, differing) == 0
}

fn part<'a>(update: &'a mut Update<f32, Cpu>) -> Parameter<'a> {
    let mut moments = update.moments.iter_mut().map(|moment| &mut moment[..]);
    let moments = [moments.next().unwrap_or_default(), moments.next().unwrap_or_default()];
    Parameter { values: &mut update.values[..], gradient: &update.gradient[..], moments, decay: update.decay }
}

fn slices(parameters: &Parameters<f32, Cpu>) -> Vec<&[f32]> {
    parameters.values.iter().map(|values| &values[..]).collect()
}

#[cfg(test)]
mod tests;
