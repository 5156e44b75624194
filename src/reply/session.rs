//! Saved sessions in a list.

use std::fmt;

use serde_json::{Value, json};

/// One saved session in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRow {
    /// Its name.
    pub name: String,
    /// Seconds since 1970 when it was written.
    pub modified: u64,
    /// Size of the file.
    pub bytes: u64,
    /// What it holds, or why it can't be read.
    pub content: Result<SessionContent, String>,
}

/// What a saved session holds, in a few words.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionContent {
    /// The layers.
    pub arch: String,
    /// Epochs done.
    pub epoch: u32,
    /// Steps made.
    pub step: u64,
    /// Validation accuracy of the last epoch.
    pub val_accuracy: Option<f64>,
    /// The data set's name.
    pub data: String,
}

impl SessionRow {
    /// The `session` object.
    pub fn to_json(&self) -> Value {
        let mut object = json!({
            "event": "session",
            "name": self.name,
            "modified": self.modified,
            "bytes": self.bytes,
        });
        match &self.content {
            Ok(content) => {
                object["arch"] = json!(content.arch);
                object["epoch"] = json!(content.epoch);
                object["step"] = json!(content.step);
                object["val_accuracy"] = json!(content.val_accuracy);
                object["data"] = json!(content.data);
            }
            Err(error) => object["error"] = json!(error),
        }
        object
    }
}

impl fmt::Display for SessionRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<20} {:>8.1} MB", self.name, self.bytes as f64 / 1e6)?;
        match &self.content {
            Ok(SessionContent { arch, epoch, step, val_accuracy, data }) => {
                write!(f, "  {data}, epoch {epoch}, step {step}")?;
                if let Some(accuracy) = val_accuracy {
                    write!(f, ", val {:.2} %", accuracy * 100.0)?;
                }
                write!(f, ", {arch}")
            }
            Err(error) => write!(f, "  {error}"),
        }
    }
}
