//! mnist-lab: a terminal lab for image classification.

pub mod arch;
pub mod command;
pub mod data;
pub mod error;
pub mod lab;
pub mod metrics;
pub mod nn;
mod pending;
pub mod random;
pub mod reply;
pub mod session;
pub mod state;
pub mod train;
pub mod tui;
