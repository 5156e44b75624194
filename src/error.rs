//! Everything that can go wrong, as one type with an exit code; its sentence is written once, at the edge.

use crate::arch::ArchError;
use crate::command::CommandError;
use crate::data::DataError;
use crate::nn::NetworkError;
use crate::session::SessionError;
use crate::train::settings::SettingError;
use crate::train::tree::TreeError;
use crate::tune::TuneError;

/// Why the lab can't go on: an error that many may be told of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[error("{sentence}")]
pub struct Failure {
    /// What, where and what to do.
    pub sentence: String,
    /// The exit code that stands for it.
    pub exit_code: u8,
}

/// Why something that was asked for was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line, a flag or a value can't be understood.
    #[error("{0}")]
    Usage(String),
    /// Something failed while running.
    #[error("{0}")]
    Failed(String),
    /// A data set or an image file can't be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A session can't be saved or loaded.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A model file of another program can't be read.
    #[error("{0}")]
    ModelFile(String),
    /// The network's device failed.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A search can't begin or go on.
    #[error(transparent)]
    Tune(TuneError),
    /// The lab could not be opened, or broke.
    #[error(transparent)]
    Lab(Failure),
    /// The lab was asked to end.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// The exit code that stands for it: 1 failed, 2 usage, 3 bad data, snapshot or file, 130 interrupted.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_)
            | Self::Network(NetworkError::Unavailable(_))
            | Self::Session(SessionError::Name(_) | SessionError::Taken { .. })
            | Self::Tune(TuneError::Space(_) | TuneError::Study(_) | TuneError::Other { .. } | TuneError::Missing(_)) => {
                2
            }
            Self::Failed(_) | Self::Network(NetworkError::Device(_)) | Self::Session(SessionError::Io { .. }) => 1,
            Self::Data(_)
            | Self::ModelFile(_)
            | Self::Session(_)
            | Self::Network(NetworkError::Mismatch(_))
            | Self::Tune(TuneError::DamagedStudy { .. } | TuneError::Damaged { .. }) => 3,
            Self::Tune(_) => 1,
            Self::Lab(failure) => failure.exit_code,
            Self::Interrupted => 130,
        }
    }

    /// The same as a value that can be told to many.
    pub fn failure(&self) -> Failure {
        Failure { sentence: self.to_string(), exit_code: self.exit_code() }
    }
}

impl From<SettingError> for Error {
    fn from(error: SettingError) -> Self {
        Self::Usage(error.0)
    }
}

impl From<TreeError> for Error {
    fn from(error: TreeError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<TuneError> for Error {
    fn from(error: TuneError) -> Self {
        match error {
            TuneError::Session(error) => Self::Session(error),
            TuneError::Network(error) => Self::Network(error),
            error => Self::Tune(error),
        }
    }
}

impl From<ArchError> for Error {
    fn from(error: ArchError) -> Self {
        Self::Usage(error.0)
    }
}

impl From<CommandError> for Error {
    fn from(error: CommandError) -> Self {
        Self::Usage(error.0)
    }
}
