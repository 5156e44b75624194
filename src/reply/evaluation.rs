//! How a network does on a split.

use std::fmt;

use serde_json::{Value, json};

use crate::data::corrupt::Corruption;
use crate::metrics::Confusion;
use crate::metrics::calibration::Calibration;

/// What was measured of a split.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluationReport {
    /// Which split.
    pub split: &'static str,
    /// What was done to its images before.
    pub corruption: Option<Corruption>,
    /// How many networks answered together.
    pub networks: usize,
    /// How often each saw each image.
    pub views: u16,
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Accuracy on those whose label is not in doubt; `None` where nobody knows of doubts.
    pub accuracy_without_label_errors: Option<f64>,
    /// Confidence against accuracy.
    pub calibration: Calibration,
    /// Label against prediction.
    pub confusion: Confusion,
    /// How long it took.
    pub seconds: f64,
}

impl EvaluationReport {
    /// The `evaluated` object.
    pub fn to_json(&self) -> Value {
        let total = self.confusion.total();
        json!({
            "event": "evaluated",
            "split": self.split,
            "corruption": self.corruption.map(|corruption| corruption.kind.name()),
            "severity": self.corruption.map(Corruption::severity),
            "networks": self.networks,
            "views": self.views,
            "loss": self.loss,
            "accuracy": self.confusion.accuracy(),
            "correct": self.confusion.correct(),
            "total": total,
            "accuracy_without_label_errors": self.accuracy_without_label_errors,
            "confusion": self.confusion.counts,
            "per_class": self.confusion.per_class(),
            "calibration": self.calibration,
            "seconds": self.seconds,
            "images_per_second": f64::from(total) / self.seconds.max(1e-9),
        })
    }
}

impl fmt::Display for EvaluationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (correct, total) = (self.confusion.correct(), self.confusion.total());
        f.write_str(self.split)?;
        if let Some(corruption) = self.corruption {
            write!(f, ", {corruption}")?;
        }
        if self.networks > 1 {
            write!(f, ", {} networks", self.networks)?;
        }
        if self.views > 1 {
            write!(f, ", {} views", self.views)?;
        }
        write!(f, ": accuracy {:.2} % ({correct} of {total})", self.confusion.accuracy() * 100.0)?;
        write!(
            f,
            ", loss {:.4}, calibration error {:.2} %",
            self.loss,
            self.calibration.expected_calibration_error * 100.0
        )?;
        if let Some(accuracy) = self.accuracy_without_label_errors {
            write!(f, "; without doubtful labels {:.2} %", accuracy * 100.0)?;
        }
        write!(f, "; {:.0} images/s", f64::from(total) / self.seconds.max(1e-9))
    }
}
