//! A person's home for one test: sessions, configuration, environment.

use std::path::Path;

use mnist_lab::session::Store;
use tempfile::TempDir;

use crate::digits;

/// A network that makes an epoch of the test's digits in a moment.
pub const SMALL: &str = "conv4:5x5:s2 relu flatten dropout dense10";

/// A folder for sessions and configuration that lives as long as the test; several terminals can share it.
pub struct Home {
    folder: TempDir,
}

impl Home {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The sessions that were saved in it.
    pub fn store(&self) -> Store {
        Store::new(self.path().join("sessions"))
    }

    /// What the program finds in its environment, and nothing else.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let path = |name: &str| self.path().join(name).to_string_lossy().into_owned();
        vec![
            ("PATH", "/usr/local/bin:/usr/bin:/bin".into()),
            ("LANG", "C.UTF-8".into()),
            ("TERM", "xterm-256color".into()),
            ("COLORTERM", "truecolor".into()),
            ("HOME", path("")),
            ("XDG_CONFIG_HOME", path("config")),
            ("XDG_DATA_HOME", path("data")),
            ("MNIST_LAB_DATA", digits::folder().to_string_lossy().into_owned()),
            ("MNIST_LAB_SESSIONS", path("sessions")),
        ]
    }
}
