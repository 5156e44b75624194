//! Who saves under which name: one process at a time, held by a lock on a hidden file beside the session.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{SessionError, Store};

/// What the names of files begin with that are being written.
pub(super) const SAVING: &str = ".saving-";
/// A file that is being written is younger, or locked by who writes it.
const LEFT: Duration = Duration::from_mins(1);

/// A name that no other process saves under while this is held. The kernel gives it back when the process ends, however it ends.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    /// Locked.
    _file: File,
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Still locked: whoever waits for this file sees that it is no longer the one at its path.
        let _ = fs::remove_file(&self.path);
    }
}

impl Store {
    /// Claims `name`, and clears away what processes that were killed left half written. `None` where there can be no lock: in a
    /// folder that can't be written to, or on a file system without locks.
    ///
    /// # Errors
    /// If another process has claimed it, or it is no name.
    pub fn claim(&self, name: &str) -> Result<Option<Claim>, SessionError> {
        Self::check_name(name)?;
        let path = self.folder.join(format!(".{name}.lock"));
        // Should it not be possible, saving will say so.
        let _ = fs::create_dir_all(&self.folder);
        // Each turn finds a file that its owner is just removing.
        for _ in 0..1000 {
            let Ok(mut file) = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)
            else {
                return Ok(None);
            };
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => {
                    // Only for the sentence that others show.
                    let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
                    self.clear();
                    return Ok(Some(Claim { path, _file: file }));
                }
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut process = String::new();
                    let _ = file.read_to_string(&mut process);
                    return Err(SessionError::Taken { name: name.into(), process: process.parse().ok() });
                }
                Err(TryLockError::Error(_)) => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Claims the first of `run-1`, `run-2`, … that is neither saved nor claimed.
    pub fn claim_free(&self) -> (String, Option<Claim>) {
        let mut number = 0;
        loop {
            let name = self.free_name_after(&mut number);
            match self.claim(&name) {
                Err(_) => {}
                // Another may have saved and left since.
                Ok(Some(_)) if self.has(&name) => {}
                Ok(claim) => return (name, claim),
            }
        }
    }

    /// Deletes the files of saves that were cut off.
    fn clear(&self) {
        let Ok(files) = fs::read_dir(&self.folder) else { return };
        let left = files.flatten().filter(|file| file.file_name().to_string_lossy().starts_with(SAVING));
        for path in left.map(|file| file.path()) {
            if is_left(&path).unwrap_or(false) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Whether nobody writes to this file any more.
fn is_left(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    // One from the future was written before the clock was put right.
    let is_old = file.metadata()?.modified()?.elapsed().map_or(true, |age| age > LEFT);
    Ok(is_old && file.try_lock().is_ok())
}

/// Whether what lies at `path` is this file, and not a link that leads to it: where others can write to the folder, it might lead
/// to anything.
fn is_at(file: &File, path: &Path) -> bool {
    let of = |data: &fs::Metadata| (data.dev(), data.ino());
    matches!((file.metadata(), path.symlink_metadata()), (Ok(file), Ok(path)) if of(&file) == of(&path))
}
