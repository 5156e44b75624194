//! Files for other programs: each format turns what it is given into bytes, and this writes them where they belong.

mod graph;
pub mod h5;
pub mod keras;
pub mod onnx;
pub mod plot;
pub mod safetensors;
pub mod tflite;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::command::{ExportArgs, ModelFormat};
use crate::error::Error;
use crate::lab::model::Model;
use crate::reply::Exported;

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

impl ExportError {
    /// The content of `format` could not be encoded.
    fn encoding(format: &'static str, problem: &dyn std::fmt::Display) -> Self {
        Self::Encoding { format, problem: problem.to_string() }
    }
}

impl From<ExportError> for Error {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Ending { .. } => Self::Usage(error.to_string()),
            ExportError::Encoding { .. } | ExportError::Io { .. } => Self::Failed(error.to_string()),
        }
    }
}

/// Writes `model` as `args` say.
///
/// # Errors
/// If the format is none or can't hold the model, or the file system refuses.
pub fn model(model: &Model, args: &ExportArgs) -> Result<Exported, Error> {
    let format = args.format()?;
    let mut quantized = None;
    let bytes = match format {
        ModelFormat::Safetensors => safetensors::encode(model)?,
        ModelFormat::H5 => h5::encode(model)?,
        ModelFormat::Keras => keras::encode(model)?,
        ModelFormat::Onnx => onnx::encode(model),
        ModelFormat::Tflite => {
            let encoded = tflite::encode(model, args.quantize);
            quantized = encoded.accuracy.map(|accuracy| (args.quantize.word(), accuracy));
            encoded.bytes
        }
    };
    let bytes = write_bytes(&args.output, &bytes)?;
    Ok(Exported {
        format: format.word(),
        path: args.output.display().to_string(),
        bytes,
        test_accuracy: model.card.test_accuracy,
        quantized,
    })
}

/// Writes `bytes` to `path`, in the place of what was there; gives their number. A crash leaves the old file or the new one.
fn write_bytes(path: &Path, bytes: &[u8]) -> Result<u64, ExportError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        // What is no plain file, such as /dev/stdout, can't be replaced.
        if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            return fs::write(path, bytes);
        }
        // Others may read what was exported, as far as the umask lets them; a temporary file alone would be private.
        let everyone = fs::Permissions::from_mode(0o666);
        let mut temporary = tempfile::Builder::new().prefix(".writing-").permissions(everyone).tempfile_in(folder)?;
        temporary.write_all(bytes)?;
        temporary.as_file().sync_all()?;
        temporary.persist(path)?;
        Ok(())
    };
    write().map_err(|source: io::Error| ExportError::Io { path: path.into(), source })?;
    Ok(bytes.len() as u64)
}
