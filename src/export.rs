//! Files for other programs: each format turns what it is given into bytes, and this writes them where they belong.

pub mod plot;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why a file could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file's name tells no format.
    #[error("{}: the name must end with {possible}, which says what to write", path.display())]
    Ending {
        /// The file asked for.
        path: PathBuf,
        /// The endings that are known.
        possible: &'static str,
    },
    /// The content could not be drawn or encoded.
    #[error("can't make the {format} file: {problem}")]
    Encoding {
        /// What was to be made.
        format: &'static str,
        /// What went wrong.
        problem: String,
    },
    /// The file system said no.
    #[error("{}: can't write this file: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Writes `bytes` to `path`, in the place of what was there; gives their number.
fn write_bytes(path: &Path, bytes: &[u8]) -> Result<u64, ExportError> {
    fs::write(path, bytes).map_err(|source| ExportError::Io { path: path.into(), source })?;
    Ok(bytes.len() as u64)
}
