//! Small files that are whole or not there: a checksum, then one line of JSON.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::tune::TuneError;

/// Writes a file that must not be there yet; whether it was not. A crash leaves it whole or not there.
pub fn write_new(folder: &Path, name: &str, text: &str) -> io::Result<bool> {
    match prepare(folder, text)?.persist_noclobber(folder.join(name)) {
        Ok(_) => sync(folder).map(|()| true),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.error),
    }
}

/// Writes a file in the place of one that may be there.
pub fn replace(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    prepare(folder, text)?.persist(folder.join(name))?;
    Ok(())
}

fn prepare(folder: &Path, text: &str) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix(".writing-").tempfile_in(folder)?;
    writeln!(file, "{}\n{text}", checksum(text))?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// The name itself is only durable once the folder is synced.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The text of a file; `None` if there is none.
///
/// # Errors
/// If it is not whole, or the file system refuses.
pub fn read(path: &Path) -> Result<Option<String>, TuneError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(TuneError::Io { path: path.into(), action: "read it", source }),
    };
    let damaged = |problem: &str| TuneError::Damaged { path: path.into(), problem: problem.into() };
    let text = String::from_utf8(bytes).map_err(|_| damaged("it is no text"))?;
    let (seal, text) = text.split_once('\n').ok_or_else(|| damaged("it was cut off"))?;
    let text = text.strip_suffix('\n').ok_or_else(|| damaged("it was cut off"))?;
    if checksum(text) != seal {
        return Err(damaged("its checksum does not match"));
    }
    Ok(Some(text.to_owned()))
}

fn checksum(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..32].to_owned()
}
