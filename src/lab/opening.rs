//! Where runs come from: built fresh, or read from a session.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::LabOptions;
use super::publisher::Publisher;
use crate::data::teacher::Teacher;
use crate::data::{Dataset, Split};
use crate::error::Error;
use crate::nn::{self, DeviceInfo, Network, Setup};
use crate::reply::{SessionContent, SessionRow};
use crate::session::{Entry, Store};
use crate::state::{Level, Saved};
use crate::train::settings::Settings;
use crate::train::tree::Tree;
use crate::train::{RunConfig, Trainer};

fn build(options: &LabOptions, config: &RunConfig) -> Result<(Box<dyn Network>, DeviceInfo), Error> {
    let setup = Setup {
        device: options.device,
        kernels: options.kernels,
        threads: options.threads.unwrap_or(0),
        seed: config.seed,
        ..Setup::default()
    };
    Ok(nn::build(&config.arch, &setup)?)
}

/// A run with fresh weights, which is taught by the networks of the sessions `teachers` if there are any.
///
/// # Errors
/// If the device or the kernels are not there, or fail; or if a teacher can't be loaded.
pub fn fresh(
    options: &LabOptions,
    mut config: RunConfig,
    settings: Settings,
    teachers: &[String],
    dataset: Dataset,
    publisher: &mut Publisher,
) -> Result<(Trainer, DeviceInfo), Error> {
    if !teachers.is_empty() {
        let split = Split::new(dataset.train.len(), config.validation_split);
        config.teacher = Some(Arc::new(teacher(options, teachers, &split, &dataset, publisher)?));
    }
    let (network, device) = build(options, &config)?;
    Ok((Trainer::new(config, settings, dataset, network)?, device))
}

/// What the networks of these sessions say of the digits that a run with this split is trained on.
fn teacher(
    options: &LabOptions,
    sessions: &[String],
    split: &Split,
    dataset: &Dataset,
    publisher: &mut Publisher,
) -> Result<Teacher, Error> {
    let mut teacher = Teacher::default();
    for session in sessions {
        publisher.log(Level::Info, format!("asking `{session}` about the training digits"));
        publisher.show();
        let (mut trainer, ..) = load(options, session, dataset.clone())?;
        let seen = if trainer.progress().step == 0 {
            Some("comes from elsewhere: if it was trained on")
        } else if trainer.split().train.end > split.train.end {
            Some("was trained on")
        } else {
            None
        };
        if let (Some(seen), false) = (seen, split.validation.is_empty()) {
            let flattered = "digits that this run validates on, the accuracy there is flattered";
            publisher.log(Level::Warning, format!("`{session}` {seen} {flattered}"));
        }
        teacher.join(session.clone(), trainer.answers(split.train.clone())?);
        // Of several networks the mean may be none where each answer is a number.
        if !teacher.logits.as_flattened().iter().all(|logit| logit.is_finite()) {
            return Err(Error::Usage(format!(
                "session `{session}` can't teach: what it makes of the digits are no numbers"
            )));
        }
    }
    Ok(teacher)
}

/// The tree of a run that has just begun.
pub fn begun(trainer: &Trainer) -> Tree {
    let mut tree = Tree::default();
    if let Some(start) = trainer.last_checkpoint() {
        tree.keep(start, trainer.settings().keep);
    }
    tree
}

/// The saved run `name`.
///
/// # Errors
/// If there is none, it is damaged, or was trained on other data.
pub fn load(options: &LabOptions, name: &str, dataset: Dataset) -> Result<(Trainer, Tree, DeviceInfo, Saved), Error> {
    let session = options.store.load(name)?;
    if session.data.fingerprint != dataset.fingerprint() {
        return Err(Error::Usage(format!(
            "session `{name}` was trained on {} but the data here is {}: start with the --data it was trained on",
            session.data.name, dataset.name
        )));
    }
    let (network, device) = build(options, &session.run.config)?;
    let saved = Saved::of(name.into(), &session.run);
    Ok((Trainer::resume(&session.run, dataset, network)?, session.tree, device, saved))
}

/// The saved sessions and what each holds.
///
/// # Errors
/// If the folder can't be read; a session that can't be is a row that says so.
pub fn session_rows(store: &Store) -> Result<Vec<SessionRow>, Error> {
    let row = |entry: Entry| {
        let content = store.load(&entry.name).map(|session| SessionContent {
            arch: session.run.config.arch.to_string(),
            epoch: session.run.progress.epoch,
            step: session.run.progress.step,
            val_accuracy: session.run.history.epochs.last().and_then(|e| e.validation).map(|v| v.accuracy),
            data: session.data.name,
        });
        SessionRow {
            name: entry.name,
            modified: entry.modified.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs()),
            bytes: entry.bytes,
            content: content.map_err(|error| error.to_string()),
        }
    };
    Ok(store.list()?.into_iter().map(row).collect())
}
