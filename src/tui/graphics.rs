//! How images reach the terminal.

/// How images reach the terminal.
#[derive(Debug, Default)]
pub struct Graphics {}
