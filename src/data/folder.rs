//! A folder with four IDX files, raw or gzipped, under the names that are common for them.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::idx::unreadable;
use super::load::{FILES, Source, load};
use super::{DataError, Dataset};

/// Reads the four IDX files in `folder`: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte`,
/// `t10k-labels-idx1-ubyte`, each also as `.gz` and with a dot (`train-images.idx3-ubyte`). Any number of 28×28 images.
///
/// # Errors
/// If one is missing or is not a whole IDX file of the right kind.
pub fn read_folder(folder: &Path) -> Result<Dataset, DataError> {
    let wrong = |problem: String| DataError { path: folder.into(), problem };
    match folder.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(wrong("there is no such folder: give the one that holds the four IDX files".into()));
        }
        Err(error) => return Err(wrong(unreadable(&error))),
        Ok(metadata) if !metadata.is_dir() => {
            return Err(wrong("it is no folder: give the one that holds the four IDX files".into()));
        }
        Ok(_) => {}
    }
    let [a, b, c, d] = FILES.map(|(name, _)| open(folder, name));
    // The whole path, so that `--data .` has a name too.
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.into());
    let name = whole.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
    load(name, [a?, b?, c?, d?])
}

fn open(folder: &Path, name: &str) -> Result<Source, DataError> {
    let path = find(folder, name)?;
    let wrong = |problem| DataError { path: path.clone(), problem };
    // Asked before it is opened, since opening a pipe waits for somebody who writes to it.
    let metadata = path.metadata().map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            wrong("it leads to a file that is not there: put the file or a working link there".into())
        }
        _ => wrong(unreadable(&error)),
    })?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "a folder" } else { "a device or a pipe" };
        return Err(wrong(format!("it is {what}, but a file belongs there")));
    }
    let file = File::open(&path).map_err(|error| wrong(unreadable(&error)))?;
    Ok(Source { len: metadata.len(), reader: Box::new(file), path })
}

/// The first spelling of `name` that is there.
fn find(folder: &Path, name: &str) -> Result<PathBuf, DataError> {
    let dotted = name.replace("-idx", ".idx");
    for spelling in [name.to_owned(), format!("{name}.gz"), dotted.clone(), format!("{dotted}.gz")] {
        let path = folder.join(spelling);
        match path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(DataError { problem: unreadable(&error), path }),
            Ok(_) => return Ok(path),
        }
    }
    Err(DataError {
        path: folder.join(name),
        problem: "it is missing, raw and as .gz: the folder needs all four IDX files".into(),
    })
}
