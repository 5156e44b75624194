//! What can be done with a drawing.

use clap::ValueEnum;

/// How a drawing is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Keep {
    /// As a PNG file of that name
    Save,
    /// With its true digit among the own drawings, to try later networks on
    Add,
}

impl Keep {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Save => "save",
            Self::Add => "add",
        }
    }
}
