//! What a search is asked for with: the same words in the shell and in the lab.

use std::fmt;
use std::path::PathBuf;

use clap::Args;

use crate::tune::study::{Algorithm, Objective, Stopping};

/// How a search is made; all that is left out is as it was begun, or as it is usual.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct TuneArgs {
    /// How many trials; 20 if not given. A search by random or tpe can be given more of them later
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub trials: Option<u32>,
    /// random, tpe (near to what was good), halving or hyperband (the best go on); random if not given
    #[arg(long, value_name = "HOW")]
    pub algorithm: Option<Algorithm>,
    /// What is searched: a TOML file; the tutorial's units, lr, dropout and batch-size if not given
    #[arg(long, value_name = "FILE")]
    pub space: Option<PathBuf>,
    /// What to optimise on the validation split; what the space says if not given, else `val_accuracy`
    #[arg(long, value_name = "val_accuracy|val_loss")]
    pub objective: Option<Objective>,
    /// What becomes of bad trials: median (they are given up) or none
    #[arg(long, value_name = "RULE")]
    pub stop: Option<Stopping>,
    /// The search's name; its best trial is saved as the session of this name. A search that is there goes on
    #[arg(long, value_name = "NAME")]
    pub save: Option<String>,
    /// Trials at a time in this process; one a core if not given, on a GPU one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// How many trials may run at a time on all machines together; 4 if not given. What is tried depends on it, not on who is faster
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub lag: Option<u32>,
}

/// What is asked of a search that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfSearch {
    /// To end; it can go on later.
    Off,
    /// This trial, as a session.
    Open(u32),
}

impl fmt::Display for OfSearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Open(number) => write!(f, "{number}"),
        }
    }
}

/// `off`, `7`
pub fn parse(text: &str) -> Result<OfSearch, String> {
    match text {
        "off" => Ok(OfSearch::Off),
        _ => text.parse().map(OfSearch::Open).map_err(|_| "use the number of a trial, or off".into()),
    }
}

impl TuneArgs {
    /// Whether they say what is searched, beyond how much of it and by whom.
    pub fn defines(&self) -> bool {
        let Self { algorithm, space, objective, stop, lag, .. } = self;
        algorithm.is_some() || space.is_some() || objective.is_some() || stop.is_some() || lag.is_some()
    }
}

impl fmt::Display for TuneArgs {
    /// As they are typed, a space before each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trials, algorithm, space, objective, stop, save, jobs, lag } = self;
        let space = space.as_ref().map(|path| path.to_string_lossy());
        let quoted = |word: &str| shlex::try_quote(word).unwrap_or_default().into_owned();
        let flags = [
            ("trials", trials.map(|n| n.to_string())),
            ("algorithm", algorithm.map(|word| word.to_string())),
            ("space", space.map(|path| quoted(&path))),
            ("objective", objective.map(|word| word.to_string())),
            ("stop", stop.map(|word| word.to_string())),
            ("save", save.as_ref().map(|name| quoted(name))),
            ("jobs", jobs.map(|n| n.to_string())),
            ("lag", lag.map(|n| n.to_string())),
        ];
        // With `=` a value that begins with `-` is no option.
        flags
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .try_for_each(|(name, value)| write!(f, " --{name}={value}"))
    }
}
