//! mnist-lab: a terminal lab for image classification.
//!
//! The layers, each using only those above it (`tests/tidy.rs` holds them to it):
//!
//! | layer | modules | knows nothing of |
//! |---|---|---|
//! | domain | [`random`], [`data`], [`arch`], [`metrics`], [`nn`], [`explain`], [`train`], [`session`], [`tune`] | channels, terminals, arguments |
//! | lab | [`command`], [`reply`], [`error`], [`state`], [`advice`], [`search`], [`signals`], [`lab`] | terminals |
//! | adapters | [`export`], [`import`], [`serve`], [`attach`], [`gpu`], [`tui`], [`cli`] | each other, but that `cli` starts the others |
//!
//! One road in, one road out: whatever a person asks for is a [`command::Command`]; whatever happens is a
//! [`state::LabEvent`], applied to the one [`state::LabState`] that all screens and printers read.

pub mod advice;
pub mod arch;
pub mod attach;
pub mod cli;
pub mod command;
pub mod data;
pub mod error;
pub mod explain;
pub mod export;
pub mod gpu;
pub mod import;
pub mod lab;
pub mod metrics;
pub mod nn;
pub mod random;
pub mod reply;
pub mod search;
pub mod serve;
pub mod session;
pub mod signals;
pub mod state;
pub mod train;
pub mod tui;
pub mod tune;
