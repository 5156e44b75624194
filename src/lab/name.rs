//! The name a run is saved under, and whose it is.

use super::{Autosave, LabOptions};
use crate::session::{Claim, SessionError, Store};

/// The name a run is saved under.
pub enum Name {
    /// It is this run's: no other process saves under it.
    Held {
        /// Itself.
        name: String,
        /// Kept as long as the name.
        _claim: Claim,
    },
    /// Somebody chose it: what was there is replaced. It is held from the first save on, if that is possible in its folder.
    Chosen(String),
    /// The first free one; chosen when the run is first saved.
    Free(String),
}

impl Name {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Held { name, .. } | Self::Chosen(name) | Self::Free(name) => name,
        }
    }

    /// Whether it is `name`, and held.
    pub fn holds(&self, name: &str) -> bool {
        matches!(self, Self::Held { name: held, .. } if held == name)
    }

    /// The name for a run that begins: `options`' or a free one.
    ///
    /// # Errors
    /// If another process saves under that name.
    pub fn of_begun(options: &LabOptions) -> Result<Self, SessionError> {
        match &options.name {
            Some(name) if options.autosave == Autosave::On => Self::claimed(&options.store, name),
            Some(name) => Ok(Self::Chosen(name.clone())),
            None => Ok(Self::Free(options.store.free_name())),
        }
    }

    /// The name for a run that is loaded from `session`: that one, or a free one if another process saves under it, and a warning
    /// that says so.
    pub fn of_loaded(options: &LabOptions, session: &str) -> (Self, Option<String>) {
        // Where there is none, nothing is made for it either.
        if options.autosave == Autosave::Off || !options.store.has(session) {
            return (Self::Chosen(session.into()), None);
        }
        match Self::claimed(&options.store, session) {
            Ok(name) => (name, None),
            Err(error) => {
                let name = options.store.free_name();
                let warning = format!("{error}; here it is opened as a copy, `{name}`");
                (Self::Free(name), Some(warning))
            }
        }
    }

    /// `name`, held if that is possible in its folder.
    ///
    /// # Errors
    /// If another process saves under it, or it is none.
    pub fn claimed(store: &Store, name: &str) -> Result<Self, SessionError> {
        Ok(Self::with(name.into(), store.claim(name)?))
    }

    /// `name`, held if there is a claim to it.
    pub fn with(name: String, claim: Option<Claim>) -> Self {
        match claim {
            Some(claim) => Self::Held { name, _claim: claim },
            None => Self::Chosen(name),
        }
    }
}
