//! What a model file says of itself: where it is from, what it expects and how good it was.

use serde::{Deserialize, Serialize};

use crate::train::settings::{Setting, Settings};

/// Written into every exported file as JSON, and read again when one is imported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// The program's version.
    pub mnist_lab: String,
    /// The architecture as text.
    pub arch: String,
    /// The rate of its `dropout` layers that have none of their own.
    pub dropout: f32,
    /// What the model expects.
    pub input: String,
    /// What the classes are called, in the order of the outputs.
    pub classes: Vec<String>,
    /// The data it was trained on.
    pub data: String,
    /// Accuracy on the test set, in floating point.
    pub test_accuracy: f64,
}

impl Card {
    /// The name under which files keep it.
    pub const KEY: &str = "mnist_lab";

    /// As JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// From JSON; `None` if it is no card, or says a rate that the `dropout` setting can't have.
    pub fn from_json(text: &str) -> Option<Self> {
        let card: Self = serde_json::from_str(text).ok()?;
        Setting::Dropout.set(&mut Settings::default(), &card.dropout.to_string()).ok()?;
        Some(card)
    }
}
