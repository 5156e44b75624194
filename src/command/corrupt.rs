//! How `eval` corrupts images first.

use std::str::FromStr;

use crate::data::corrupt::{self, Corruption};

/// One corruption, or each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corrupt {
    /// This one.
    One(Corruption),
    /// All kinds at this severity.
    All(u8),
}

impl FromStr for Corrupt {
    type Err = String;

    /// `fog`, `fog:5`, `all`, `all:5`
    fn from_str(text: &str) -> Result<Self, String> {
        match corrupt::split(text)? {
            ("all", severity) => Corruption::each(severity).map(|_| Self::All(severity)),
            _ => text.parse().map(Self::One).map_err(|problem: String| problem + "; `all` takes each kind"),
        }
    }
}
