//! Saved runs: a folder of `NAME.mlab` files, each whole or not there at all.

pub mod card;
mod claim;
mod file;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use claim::SAVING;

pub use claim::Claim;
pub use file::{FileError, VERSION, decode, encode};

use crate::train::RunState;
use crate::train::tree::Tree;

/// The ending of a session's file.
const ENDING: &str = "mlab";

/// A saved run.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// What the run is made of.
    pub run: RunState,
    /// What it can go back to, and its other branches.
    pub tree: Tree,
    /// The data it was trained on: what the screen calls it, and its fingerprint.
    pub data: DataMark,
}

/// Which data a run was trained on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataMark {
    /// What the data set is called.
    pub name: String,
    /// [`Dataset::fingerprint`](crate::data::Dataset::fingerprint).
    pub fingerprint: u64,
}

/// Why a session could not be saved or loaded.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// There is none of this name.
    #[error("there is no session `{name}` in {}: `mnist-lab sessions list` shows what is there", folder.display())]
    Missing {
        /// The name asked for.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// The name can't be a file's.
    #[error(
        "`{0}` is no name for a session: use letters, digits, `-`, `_` and `.`, at most 100, and no `.` at the start"
    )]
    Name(String),
    /// Another process saves under this name.
    #[error(
        "session `{name}` is open in another mnist-lab{}: go on there, or save this run under another name",
        process.map_or_else(String::new, |process| format!(" (process {process})"))
    )]
    Taken {
        /// The name.
        name: String,
        /// The other process, if it said which it is.
        process: Option<u32>,
    },
    /// The file is not a whole session.
    #[error("{}: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        problem: FileError,
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
}

/// A session in the folder, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name without the ending.
    pub name: String,
    /// When it was last written.
    pub modified: SystemTime,
    /// Size of the file in bytes.
    pub bytes: u64,
}

/// The folder that sessions are kept in. It is made when the first one is saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The sessions in `folder`, which need not exist yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where the sessions are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes `session` under `name`, in the place of one that was there: to a temporary file beside it, which is synced and
    /// renamed, so that a crash at any moment leaves the old or the new one whole. Gives the file's path and size.
    ///
    /// # Errors
    /// If the name is none, or the file system refuses.
    pub fn save(&self, name: &str, session: &Session) -> Result<(PathBuf, u64), SessionError> {
        let path = self.path(name)?;
        let bytes = encode(session).map_err(|problem| SessionError::Damaged { path: path.clone(), problem })?;
        fs::create_dir_all(&self.folder).map_err(|source| io_error(&self.folder, "make this folder", source))?;
        let write = || {
            let mut temporary = tempfile::Builder::new().prefix(SAVING).tempfile_in(&self.folder)?;
            // So that nobody takes it for one that was left; where there are no locks, its age says so.
            let _ = temporary.as_file().try_lock();
            temporary.write_all(&bytes)?;
            temporary.as_file().sync_all()?;
            temporary.persist(&path)?;
            // The rename itself is only durable once the folder is synced.
            fs::File::open(&self.folder)?.sync_all()
        };
        write().map_err(|source| io_error(&path, "save the session", source))?;
        Ok((path, bytes.len() as u64))
    }

    /// Reads the session `name`.
    ///
    /// # Errors
    /// If there is none, or its file is not whole.
    pub fn load(&self, name: &str) -> Result<Session, SessionError> {
        let path = self.path(name)?;
        let bytes = match fs::File::open(&path) {
            Ok(file) => file::read_limited(file).map_err(|source| io_error(&path, "read the session", source))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SessionError::Missing { name: name.into(), folder: self.folder.clone() });
            }
            Err(source) => return Err(io_error(&path, "open the session", source)),
        };
        decode(&bytes).map_err(|problem| SessionError::Damaged { path, problem })
    }

    /// When the session `name` was last written, and its size.
    ///
    /// # Errors
    /// If there is none, or the file system refuses.
    pub fn entry(&self, name: &str) -> Result<Entry, SessionError> {
        let path = self.path(name)?;
        let data = path.metadata().map_err(|source| io_error(&path, "look at the session", source))?;
        let modified = data.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        Ok(Entry { name: name.into(), modified, bytes: data.len() })
    }

    /// Deletes the session `name`.
    ///
    /// # Errors
    /// If there is none, or the file system refuses.
    pub fn remove(&self, name: &str) -> Result<(), SessionError> {
        let path = self.path(name)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(SessionError::Missing { name: name.into(), folder: self.folder.clone() })
            }
            result => result.map_err(|source| io_error(&path, "delete the session", source)),
        }
    }

    /// The sessions that are there, the last written first.
    ///
    /// # Errors
    /// If the folder can't be read; one that does not exist holds none.
    pub fn list(&self) -> Result<Vec<Entry>, SessionError> {
        let refused = |source| io_error(&self.folder, "list the sessions in this folder", source);
        let files = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files.map_err(refused)?,
        };
        let mut entries = Vec::new();
        for file in files {
            let file = file.map_err(refused)?;
            let path = file.path();
            let name = path.file_stem().and_then(|stem| stem.to_str());
            if let (Some(name), true) = (name, path.extension().is_some_and(|ending| ending == ENDING)) {
                let data = file.metadata().map_err(refused)?;
                let modified = data.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                entries.push(Entry { name: name.into(), modified, bytes: data.len() });
            }
        }
        entries.sort_by(|a, b| b.modified.cmp(&a.modified).then(a.name.cmp(&b.name)));
        Ok(entries)
    }

    /// Writes `session` to the system's folder for temporary files, for when its own can't be written to. Gives the file's path.
    ///
    /// # Errors
    /// If that can't be written to either.
    pub fn rescue(name: &str, session: &Session) -> Result<PathBuf, SessionError> {
        let folder = std::env::temp_dir();
        let refused = |source| io_error(&folder, "rescue the session", source);
        let bytes = encode(session).map_err(|problem| SessionError::Damaged { path: folder.clone(), problem })?;
        let prefix = format!("mnist-lab-{name}-");
        let file = tempfile::Builder::new().prefix(&prefix).suffix(&format!(".{ENDING}")).tempfile_in(&folder);
        let mut file = file.map_err(refused)?;
        file.write_all(&bytes).and_then(|()| file.as_file().sync_all()).map_err(refused)?;
        file.keep().map(|(_, path)| path).map_err(|error| refused(error.error))
    }

    /// The first of `run-1`, `run-2`, … that is not taken.
    pub fn free_name(&self) -> String {
        self.free_name_after(&mut 0)
    }

    /// The first of `run-N` that is not taken after this number, which becomes its own.
    fn free_name_after(&self, number: &mut u32) -> String {
        loop {
            *number += 1;
            let name = format!("run-{number}");
            if !self.has(&name) {
                return name;
            }
        }
    }

    /// Whether there is a session of this name, or something in its place.
    pub fn has(&self, name: &str) -> bool {
        self.file(name).exists()
    }

    /// Whether a session of this name would be lost to another, even one that can't be read.
    pub fn is_taken(&self, name: &str) -> bool {
        self.file(name).is_file()
    }

    /// Whether `name` can be a session's.
    ///
    /// # Errors
    /// If it can't.
    pub fn check_name(name: &str) -> Result<(), SessionError> {
        let plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.chars().all(plain) {
            return Err(SessionError::Name(name.into()));
        }
        Ok(())
    }

    /// Where a session of this name is, whatever the name.
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.{ENDING}"))
    }

    fn path(&self, name: &str) -> Result<PathBuf, SessionError> {
        Self::check_name(name)?;
        Ok(self.file(name))
    }
}

fn io_error(path: &Path, action: &'static str, source: io::Error) -> SessionError {
    SessionError::Io { path: path.into(), action, source }
}
