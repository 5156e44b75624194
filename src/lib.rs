//! mnist-lab: a terminal lab for image classification.

pub mod arch;
pub mod data;
pub mod nn;
pub mod random;
