//! Searching hyperparameters: which settings to try next, which trials to give up, and a journal that survives all who write it.
//!
//! ```text
//! Space ─┐
//!        ├─ Study ── plan: which Task is open? ── propose: with which values? ──▶ work: train, measure ──▶ Journal
//! flags ─┘                 ▲                              ▲                                                 │
//!                          └────────────── Trials: what came of those before ◀──────────────────────────────┘
//! ```
//!
//! What is tried, how long and in which order of rank is a pure function of the study and of the results of certain earlier trials:
//! never of who finished first. A search with the same seed therefore makes the same trials whether one worker does it or many,
//! in one go or after having been killed; on one kind of machine with the same results, bit for bit. The test set is never looked at.

pub mod brackets;
pub mod importance;
pub mod journal;
pub mod median;
pub mod plan;
pub mod propose;
pub mod space;
pub mod study;
pub mod template;
pub mod trial;
pub mod values;
pub mod work;

use std::io;
use std::path::PathBuf;

use crate::nn::NetworkError;
use crate::session::SessionError;

/// Why a search can't begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// The space makes no sense.
    #[error("{0}")]
    Space(String),
    /// What was asked for can't be searched.
    #[error("{0}")]
    Study(String),
    /// Another search is in the folder.
    #[error(
        "{} holds another search: {difference}; take another name, or delete the folder", folder.display()
    )]
    Other {
        /// The folder.
        folder: PathBuf,
        /// What differs.
        difference: String,
    },
    /// There is no search in the folder.
    #[error("there is no search in {}: `mnist-lab tune --save NAME` begins one", .0.display())]
    Missing(PathBuf),
    /// The file that says what is searched is not whole, or of a later version: without it the results mean nothing.
    #[error("{}: {problem}: the search can't go on; take another name", path.display())]
    DamagedStudy {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Another file of the journal is not whole.
    #[error("{}: {problem}: delete this file, and what it held is done again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The file system said no.
    #[error("{}: can't {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A trial's session can't be saved or loaded.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The device failed.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

#[cfg(test)]
mod tests;
