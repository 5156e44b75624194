//! The trained network as other programs get it, and the way to whoever writes it.

use std::path::Path;
use std::sync::Arc;

use super::engine::Engine;
use crate::arch::Arch;
use crate::command::ExportArgs;
use crate::data::Images;
use crate::error::Error;
use crate::nn::NamedTensor;
use crate::reply::{Exported, Plotted, Reply};
use crate::session::card::Card;
use crate::state::LabState;
use crate::train::settings::Settings;

/// A network with all that a model file holds of it.
#[derive(Clone, Debug)]
pub struct Model {
    /// The layers.
    pub arch: Arch,
    /// Weights, biases and running statistics, in the order of [`specs`](crate::nn::param::specs).
    pub tensors: Vec<NamedTensor>,
    /// The settings that training would go on with.
    pub settings: Settings,
    /// What the file says of itself.
    pub card: Card,
    /// Images to measure the range of activations on.
    pub train: Arc<Images>,
    /// Images to measure accuracy on.
    pub test: Arc<Images>,
}

/// Writes the curves of a lab as a picture or a table. Brought by whoever starts the lab, too.
pub type Plotter = fn(&LabState, &Path) -> Result<Plotted, Error>;

/// Writes a model as a file for other programs. The lab does not know the formats: whoever starts it brings them.
pub type Exporter = fn(&Model, &ExportArgs) -> Result<Exported, Error>;

impl Engine<'_> {
    /// Writes the network as it is for other programs.
    pub(super) fn export(&mut self, args: &ExportArgs) -> Result<Reply, Error> {
        // A wrong flag is told before the test set is measured.
        args.format()?;
        let test_accuracy = self.test()?.confusion.accuracy();
        let state = self.trainer.state()?;
        let dataset = self.trainer.dataset();
        let card = Card {
            mnist_lab: env!("CARGO_PKG_VERSION").into(),
            arch: state.config.arch.to_string(),
            dropout: state.settings.dropout,
            input: "float32, grey values divided by 255, 0 for the background".into(),
            classes: dataset.classes.map(String::from).into(),
            data: dataset.name.clone(),
            test_accuracy,
        };
        let model = Model {
            arch: state.config.arch,
            tensors: state.network.tensors,
            settings: state.settings,
            card,
            train: dataset.train.clone(),
            test: dataset.test.clone(),
        };
        (self.options.exporter)(&model, args).map(Reply::Exported)
    }

    /// Writes the curves as they are.
    pub(super) fn plot(&self, file: &Path) -> Result<Reply, Error> {
        (self.options.plotter)(self.publisher.state(), file).map(Reply::Plotted)
    }
}
