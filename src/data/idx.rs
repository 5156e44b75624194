//! IDX files: our own check of every byte that the `mnist` crate would stumble over, then its parse.

use std::path::Path;

use super::{DataError, Dataset};

/// Reads the four IDX files in `folder`, raw or gzipped.
///
/// # Errors
/// If one is missing or is not a whole IDX file of the right kind.
pub fn read_folder(folder: &Path) -> Result<Dataset, DataError> {
    Err(DataError { path: folder.into(), problem: "not yet".into() })
}
