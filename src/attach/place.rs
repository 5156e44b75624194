//! The socket's file: private from its first moment, in the place of one whose run is dead, and removed at the end.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::error::Error;

/// Where a run listens if nobody says where: the folder of the user's running programs, or the temporary one.
pub fn default_socket() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder).join("mnist-lab.sock"),
        None => std::env::temp_dir().join(format!("mnist-lab-{}.sock", geteuid().as_raw())),
    }
}

/// A file that goes when its run ends.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    /// Device and number of the file: another run may have taken the path meanwhile.
    file: (u64, u64),
}

impl Place {
    /// Listens on `path`.
    ///
    /// # Errors
    /// If a run listens there, something else lies there, or the system refuses.
    pub fn claim(path: &Path) -> Result<(Self, UnixListener), Error> {
        let refused = |error| Error::Failed(format!("can't listen on {}: {error}; give another path", path.display()));
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Bound in a folder that nobody else can enter, and moved once nobody else could connect.
        let private = tempfile::Builder::new().prefix(".lab-").tempdir_in(folder).map_err(refused)?;
        let hidden = private.path().join("s");
        let listener = UnixListener::bind(&hidden).map_err(refused)?;
        fs::set_permissions(&hidden, Permissions::from_mode(0o600)).map_err(refused)?;
        let data = fs::metadata(&hidden).map_err(refused)?;
        // A link, unlike a renaming, never replaces what is there.
        match fs::hard_link(&hidden, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                clear(path)?;
                fs::hard_link(&hidden, path).map_err(refused)?;
            }
            linked => linked.map_err(refused)?,
        }
        Ok((Self { path: path.to_owned(), file: (data.dev(), data.ino()) }, listener))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|data| (data.dev(), data.ino()) == self.file);
        if ours {
            // Nobody is left to be told; a stale socket is replaced by the next run.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the socket of a dead run, and nothing else.
fn clear(path: &Path) -> Result<(), Error> {
    let place = path.display();
    let seen = fs::symlink_metadata(path);
    let is_socket = seen.as_ref().is_ok_and(|data| data.file_type().is_socket() && data.uid() == geteuid().as_raw());
    if !is_socket {
        return Err(Error::Usage(format!("{place} is there and is no socket of yours: give --listen another path")));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
        _ => {
            return Err(Error::Usage(format!(
                "a run listens on {place} already: `mnist-lab attach {place}` shows it; give --listen another path"
            )));
        }
    }
    let removed = fs::remove_file(path);
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(no_removal(path, &error)),
        _ => Ok(()),
    }
}

fn no_removal(path: &Path, error: &io::Error) -> Error {
    Error::Failed(format!("can't remove the socket of an earlier run, {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    use super::Place;

    #[test]
    fn a_place_is_private_and_goes_with_its_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lab.sock");
        let (place, _listener) = Place::claim(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(UnixStream::connect(&path).is_ok());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the private folder is gone");
        drop(place);
        assert!(!path.exists());
    }

    #[test]
    fn only_a_dead_run_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lab.sock");
        let (place, listener) = Place::claim(&path).unwrap();
        let refused = Place::claim(&path).map(drop).unwrap_err();
        assert!(refused.to_string().contains("listens") && refused.exit_code() == 2, "{refused}");
        // The run is killed: the file stays, and nobody listens.
        drop(listener);
        let (heir, _listener) = Place::claim(&path).unwrap();
        // The dead run's file is no longer this one.
        drop(place);
        assert!(UnixStream::connect(&path).is_ok());
        drop(heir);
        fs::write(&path, "a letter").unwrap();
        let refused = Place::claim(&path).map(drop).unwrap_err();
        assert!(refused.to_string().contains("no socket"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "a letter");
    }

    #[test]
    fn a_path_that_can_not_be_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["no/such/folder/lab.sock".to_owned(), format!("{}.sock", "x".repeat(300))] {
            let refused = Place::claim(&folder.path().join(name)).map(drop).unwrap_err();
            assert!(refused.to_string().contains("can't listen on"), "{refused}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    }
}
