//! How `eval` corrupts images first.

use std::str::FromStr;

use crate::data::corrupt::{Corruption, Kind, SEVERITY};

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
        let severity = match text {
            "all" => return Ok(Self::All(SEVERITY)),
            _ => text.strip_prefix("all:"),
        };
        let Some(severity) = severity else {
            return text.parse().map(Self::One).map_err(|problem: String| problem + "; `all` takes each kind");
        };
        let corruption: Corruption = format!("{}:{severity}", Kind::Fog.name()).parse()?;
        Ok(Self::All(corruption.severity()))
    }
}
