//! The study as it is written: settings as the text that a person would type, so that reading them back checks them.

use serde::{Deserialize, Serialize};

use super::{Algorithm, Objective, Stopping, Study};
use crate::session::DataMark;
use crate::train::settings::{Setting, Settings};
use crate::tune::space::Space;

/// The version that this program writes and reads.
const VERSION: u32 = 1;

/// What the journal and an attached dashboard get.
#[derive(Serialize, Deserialize)]
pub struct FileStudy {
    version: u32,
    algorithm: Algorithm,
    objective: Objective,
    stopping: Stopping,
    trials: u32,
    epochs: u32,
    lag: u32,
    seed: u64,
    validation_split: f64,
    data_name: String,
    data_fingerprint: String,
    settings: Vec<(String, String)>,
    space: Space,
}

impl From<Study> for FileStudy {
    fn from(study: Study) -> Self {
        Self {
            version: VERSION,
            algorithm: study.algorithm,
            objective: study.objective,
            stopping: study.stopping,
            trials: study.trials,
            epochs: study.epochs,
            lag: study.lag,
            seed: study.seed,
            validation_split: study.validation_split,
            data_name: study.data.name,
            data_fingerprint: format!("{:016x}", study.data.fingerprint),
            settings: Setting::followed(false)
                .into_iter()
                .map(|setting| (setting.name().to_owned(), setting.get(&study.settings)))
                .collect(),
            space: study.space,
        }
    }
}

impl TryFrom<FileStudy> for Study {
    type Error = String;

    fn try_from(file: FileStudy) -> Result<Self, String> {
        if file.version != VERSION {
            return Err(format!("version {} is none that this program reads", file.version));
        }
        let mut settings = Settings::default();
        for (name, value) in &file.settings {
            let setting = name.parse::<Setting>().map_err(|error| error.0)?;
            setting.set(&mut settings, value).map_err(|error| error.0)?;
        }
        file.space.check()?;
        let fingerprint = u64::from_str_radix(&file.data_fingerprint, 16).map_err(|error| error.to_string())?;
        Ok(Self {
            space: file.space,
            objective: file.objective,
            algorithm: file.algorithm,
            stopping: file.stopping,
            trials: file.trials,
            epochs: file.epochs,
            lag: file.lag,
            seed: file.seed,
            validation_split: file.validation_split,
            settings,
            data: DataMark { name: file.data_name, fingerprint },
        })
    }
}
