//! Attaching: the dashboard of a run that another process trains, over a Unix socket of the same machine and user.
//!
//! ```text
//! process that trains                                     process with the dashboard
//! Lab ◀── lines ─────────── server ◀─ socket ─ client ◀── Request ── Lab (handle)
//!  └── watch<LabState> ────▶ Update, Answer ────▶ client ──▶ watch<LabState> ──▶ dashboard
//! ```
//!
//! Commands travel as the lines that a person would type, so that nothing can be asked that could not be typed. The state
//! travels as what a client does not have yet, worked out when there is room for it in the socket: a client that lags or stalls
//! skips states and never has a backlog, and training knows nothing of it. Both ends are the same version of the program.

mod client;
pub mod frame;
mod parts;
mod place;
mod server;
pub mod update;
pub mod wire;

pub use client::{Attached, Ended, Line, Outcome};
pub use place::default_socket;
pub use server::Server;

/// What both ends say first; the number counts changes of what travels.
const GREETING: &str = concat!("mnist-lab ", env!("CARGO_PKG_VERSION"), "/6");

#[cfg(test)]
mod tests;
