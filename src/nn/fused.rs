//! The CPU kernels as a plan: parameters and gradients stay in dfdx's storage, which on the CPU is plain memory.

use std::cell::RefCell;
use std::mem;
use std::rc::Rc;

use dfdx::tensor::{Cpu, Gradients, PutTape, SplitTape, Storage, Tape, Trace};

use super::NetworkError;
use super::backend::{Backend, Values};
use super::cpu::{Engine, Level, Parameter, Pass};
use super::optim::{Rule, Update};
use super::param::Parameters;
use super::plan::{Forward, Leaf, Part, Plan, by_class, by_sample};
use crate::arch::Arch;
use crate::data::{Batch, CLASSES};

/// A network computed by the fused kernels: to dfdx, one operation from parameters and batch to logits.
#[derive(Debug)]
pub struct Fused {
    /// Shared with the tape of a training step.
    engine: Rc<RefCell<Engine>>,
    leaves: Vec<Leaf<f32, Cpu>>,
    /// The parameters that the engine holds for inference; empty after a training step.
    loaded: Vec<f32>,
}

impl Fused {
    /// Makes `arch` ready for `threads` threads; 0 for as many as the machine has.
    pub fn new(arch: &Arch, threads: usize) -> Self {
        Self::with_level(arch, threads, Level::detect())
    }

    /// The same with the instructions of `level`, which must be among [`Level::available`].
    pub fn with_level(arch: &Arch, threads: usize, level: Level) -> Self {
        let engine = Rc::new(RefCell::new(Engine::new(arch, threads, level)));
        Self { engine, leaves: Vec::new(), loaded: Vec::new() }
    }

    /// How many threads work; see [`Engine::threads`].
    pub fn threads(&self) -> usize {
        self.engine.borrow().threads()
    }

    /// The instructions in use.
    pub fn level(&self) -> Level {
        self.engine.borrow().level()
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
            self.engine.borrow_mut().load(parameters, Pass::Inference);
            self.loaded = parameters.concat();
        }
    }
}

impl Plan<f32, Cpu> for Fused {
    fn most_samples(&self) -> usize {
        self.engine.borrow().most_samples()
    }

    fn leaves(&mut self, parameters: &Parameters<f32, Cpu>) -> Result<Vec<Leaf<f32, Cpu>>, NetworkError> {
        self.loaded.clear();
        self.engine.borrow_mut().load(&slices(parameters), Pass::Training);
        if self.leaves.is_empty() {
            // The numbers go to the engine: these only name the gradients.
            self.leaves = parameters.tensors()?;
        }
        Ok(self.leaves.clone())
    }

    fn forward(
        &mut self,
        leaves: &[Leaf<f32, Cpu>],
        part: &Part<Cpu>,
        gradients: Gradients<f32, Cpu>,
    ) -> Result<Forward<f32, Cpu>, NetworkError> {
        let (logits, statistics) = self.engine.borrow_mut().forward(part.batch, part.samples.clone(), part.step);
        let logits = part.device.tensor(&by_class(&logits), (CLASSES, logits.len())).map_err(NetworkError::device)?;
        let (key, device) = (logits.ghost(), part.device.clone());
        let (engine, leaves) = (Rc::clone(&self.engine), leaves.to_vec());
        let (logits, mut tape) = logits.traced(gradients).split_tape();
        tape.add_backward_op(move |gradients| {
            let slopes = by_sample(gradients.get_or_alloc_mut(&key)?);
            // The container lends one gradient at a time, and the kernels write to all of them.
            let taken: Result<Vec<_>, _> = leaves
                .iter()
                .map(|leaf| Ok(mem::replace(gradients.get_or_alloc_mut(leaf)?, device.try_alloc_len(0)?)))
                .collect();
            let mut taken = taken?;
            let mut sums: Vec<&mut [f32]> =
                taken.iter_mut().map(|values: &mut Values<f32, Cpu>| &mut values[..]).collect();
            engine.borrow_mut().backward(&slopes, &mut sums);
            for (leaf, values) in leaves.iter().zip(taken) {
                *gradients.get_or_alloc_mut(leaf)? = values;
            }
            Ok(())
        });
        Ok(Forward { logits: logits.put_tape(tape), statistics })
    }

    fn logits(
        &mut self,
        parameters: &Parameters<f32, Cpu>,
        batch: &Batch,
    ) -> Result<Vec<[f32; CLASSES]>, NetworkError> {
        self.load_for_inference(&slices(parameters));
        Ok(self.engine.borrow_mut().logits(batch))
    }

    fn features(&mut self, parameters: &Parameters<f32, Cpu>, batch: &Batch) -> Result<Vec<Vec<f32>>, NetworkError> {
        self.load_for_inference(&slices(parameters));
        Ok(self.engine.borrow_mut().features(batch))
    }

    fn update(&mut self, rule: Rule, updates: &mut [Update<f32, Cpu>]) -> bool {
        self.engine.borrow().update(rule, updates.iter_mut().map(part).collect());
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
