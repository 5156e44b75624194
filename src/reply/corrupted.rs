//! How a network does on each kind of corrupted images.

use std::fmt;

use serde_json::{Value, json};

use crate::data::corrupt::Corruption;

/// A split, corrupted in every way.
#[derive(Clone, Debug, PartialEq)]
pub struct CorruptedReport {
    /// Which split.
    pub split: &'static str,
    /// Accuracy on it as it is.
    pub clean: f64,
    /// Each corruption, with accuracy and mean cross-entropy in nats.
    pub rows: Vec<(Corruption, f64, f64)>,
    /// How long it took.
    pub seconds: f64,
}

impl CorruptedReport {
    /// Mean of the accuracies.
    pub fn mean(&self) -> f64 {
        self.rows.iter().map(|(_, accuracy, _)| accuracy).sum::<f64>() / self.rows.len().max(1) as f64
    }

    /// A `corrupted` object for each row, and the mean.
    pub fn to_json(&self) -> Vec<Value> {
        let row = |(corruption, accuracy, loss): &(Corruption, f64, f64)| {
            json!({
                "event": "corrupted",
                "split": self.split,
                "corruption": corruption.kind.name(),
                "severity": corruption.severity(),
                "accuracy": accuracy,
                "loss": loss,
            })
        };
        let mean = json!({
            "event": "corrupted_mean",
            "split": self.split,
            "accuracy": self.mean(),
            "accuracy_clean": self.clean,
            "seconds": self.seconds,
        });
        self.rows.iter().map(row).chain([mean]).collect()
    }
}

impl fmt::Display for CorruptedReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<18} {:>8}   loss", self.split, "accuracy")?;
        for (corruption, accuracy, loss) in &self.rows {
            writeln!(f, "{:<18} {:>6.2} %   {loss:.3}", corruption.to_string(), accuracy * 100.0)?;
        }
        let (mean, clean) = (self.mean() * 100.0, self.clean * 100.0);
        write!(f, "mean {mean:.2} %, not corrupted {clean:.2} %; {:.1} s", self.seconds)
    }
}
