//! The search space: which settings are tried, and which gaps of an architecture are filled; read from TOML.
//!
//! ```toml
//! arch = "conv32:3x3 relu pool2 flatten {layers * dense{units} relu dropout} dense10"
//! objective = "val_loss"                               # val_accuracy if left out
//!
//! [settings]                                           # the same in all trials
//! schedule = "cosine"
//!
//! [parameters]
//! layers = { from = 1, to = 3 }                        # fills a gap
//! units = { from = 32, to = 128, step = 32 }
//! lr = { from = 1e-4, to = 1e-2, log = true }          # is a setting
//! optimizer = ["adam", "sgd:momentum=0.9:nesterov"]
//! ```

mod text;

use serde::{Deserialize, Serialize};

use super::TuneError;
use super::study::Objective;
use super::template::Template;
use super::values::Values;
use crate::arch::{Arch, Preset};
use crate::random::{Purpose, Stream};
use crate::train::settings::{Setting, Settings};

/// The Keras tutorial's: its CNN with 32 to 128 units in steps of 32, and what is turned first beside them.
pub const TUTORIAL: &str = r#"
arch = "conv32:3x3 relu pool2 conv64:3x3 relu pool2 conv64:3x3 relu flatten dense{units} relu dropout dense10"

[parameters]
units = { from = 32, to = 128, step = 32 }
lr = { from = 3e-4, to = 1e-2, log = true }
dropout = { from = 0.0, to = 0.5, step = 0.1 }
batch-size = [32, 64, 128]
"#;

/// More parameters than anybody can look at.
const MOST_PARAMETERS: usize = 30;
/// Draws among which one must make a network.
const TRIES: u64 = 64;

/// What is searched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Space {
    /// The layers, with a gap for each parameter that is no setting.
    pub arch: Template,
    /// What makes one trial better than another, if the file says so.
    pub objective: Option<Objective>,
    /// Settings that are the same in all trials: names and values.
    pub settings: Vec<(String, String)>,
    /// What differs from trial to trial.
    pub parameters: Vec<Parameter>,
}

/// One thing that differs from trial to trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// A setting's name, or a gap's.
    pub name: String,
    /// What it may be.
    pub values: Values,
}

impl Space {
    /// Whether a parameter of this name fills a gap; else it is a setting.
    pub fn fills(&self, name: &str) -> bool {
        self.arch.names().contains(&name)
    }

    /// Another architecture: parameters that only filled gaps of the one before are dropped.
    ///
    /// # Errors
    /// If it is none, or has gaps that no parameter fills.
    pub fn with_arch(mut self, text: &str) -> Result<Self, TuneError> {
        let refuse = |problem: String| TuneError::Space(format!("--arch: {problem}"));
        let before = std::mem::replace(&mut self.arch, Template::parse(Preset::spelled_out(text)).map_err(refuse)?);
        let gone: Vec<&str> = before.names().into_iter().filter(|name| !self.fills(name)).collect();
        self.parameters.retain(|parameter| !gone.contains(&parameter.name.as_str()));
        self.check().map_err(refuse)?;
        Ok(self)
    }

    /// The same with a setting that is not searched, because somebody said what it is.
    #[must_use]
    pub fn without(mut self, setting: Setting) -> Self {
        let fills = self.fills(setting.name());
        self.parameters.retain(|parameter| fills || parameter.name != setting.name());
        self.settings.retain(|(name, _)| name != setting.name());
        self
    }

    /// How many trials there are without one twice; `None` if more than can be counted.
    pub fn combinations(&self) -> Option<usize> {
        let counts = self.parameters.iter().map(|parameter| parameter.values.count());
        counts.into_iter().try_fold(1_usize, |product, count| product.checked_mul(count?))
    }

    /// The architecture with these values, one a parameter.
    ///
    /// # Errors
    /// If they make no network.
    pub fn arch(&self, values: &[String]) -> Result<Arch, String> {
        let value = |name: &str| {
            let index = self.parameters.iter().position(|parameter| parameter.name == name)?;
            values.get(index).cloned()
        };
        self.arch.fill(value)?.parse().map_err(|error: crate::arch::ArchError| error.0)
    }

    /// The settings with these values, one a parameter, over those of `base`.
    ///
    /// # Errors
    /// If one is no value of its setting.
    pub fn settings(&self, base: &Settings, values: &[String]) -> Result<Settings, String> {
        let mut settings = base.clone();
        let all = self.settings.iter().map(|(name, value)| (name, value));
        let searched = self.parameters.iter().zip(values).filter(|(parameter, _)| !self.fills(&parameter.name));
        for (name, value) in all.chain(searched.map(|(parameter, value)| (&parameter.name, value))) {
            let setting = name.parse::<Setting>().map_err(|error| error.0)?;
            setting.set(&mut settings, value).map_err(|error| error.0)?;
        }
        Ok(settings)
    }

    /// The values at these places, one a parameter.
    pub fn values(&self, places: &[f64]) -> Vec<String> {
        self.parameters.iter().zip(places).map(|(parameter, place)| parameter.values.at(*place)).collect()
    }

    /// The places of these values.
    pub fn places(&self, values: &[String]) -> Vec<f64> {
        let place = |(parameter, value): (&Parameter, &String)| parameter.values.place(value).unwrap_or(0.5);
        self.parameters.iter().zip(values).map(place).collect()
    }

    /// Checks that all of it can be searched.
    ///
    /// # Errors
    /// What can't be, where it stands and what to do.
    pub fn check(&self) -> Result<(), String> {
        if self.parameters.is_empty() {
            return Err("nothing is searched: [parameters] needs at least one, such as lr = { from = 1e-4, to = 1e-2, log = true }".into());
        }
        if self.parameters.len() > MOST_PARAMETERS {
            return Err(format!(
                "{} parameters are more than the {MOST_PARAMETERS} that can be searched",
                self.parameters.len()
            ));
        }
        for (index, parameter) in self.parameters.iter().enumerate() {
            if self.parameters[..index].iter().any(|other| other.name == parameter.name) {
                return Err(format!("parameter `{}` is there twice", parameter.name));
            }
            self.check_parameter(parameter).map_err(|problem| format!("parameter `{}`: {problem}", parameter.name))?;
        }
        let unknown = |name: &&str| self.parameters.iter().all(|parameter| parameter.name != **name);
        if let Some(name) = self.arch.names().into_iter().find(unknown) {
            return Err(format!("`arch` has a gap {{{name}}} but [parameters] has no `{name}`: add it"));
        }
        for (name, value) in &self.settings {
            check_setting(name, value).map_err(|problem| format!("in [settings] {problem}"))?;
        }
        self.check_networks()
    }

    fn check_parameter(&self, parameter: &Parameter) -> Result<(), String> {
        match &parameter.values {
            Values::Range(range) => range.problem().map_or(Ok(()), |problem| Err(problem.to_owned()))?,
            Values::Choice(all) if all.is_empty() => return Err("its list of values is empty".into()),
            Values::Choice(_) => {}
        }
        if self.fills(&parameter.name) {
            return Ok(());
        }
        if let Err(error) = parameter.name.parse::<Setting>() {
            let gap = &parameter.name;
            return Err(format!("it fills no gap of `arch` ({{{gap}}}) and {error}"));
        }
        parameter.values.examples().iter().try_for_each(|value| check_setting(&parameter.name, value))
    }

    /// Some values must make a network; those that don't are passed over in the search.
    fn check_networks(&self) -> Result<(), String> {
        let count = self.parameters.len();
        let mut draws = Stream::new(0, Purpose::Search, [u64::MAX, 0]);
        let corners = [0.0, 0.5, 1.0].map(|place| vec![place; count]);
        let random = (0..TRIES).map(|_| (0..count).map(|_| f64::from(draws.unit())).collect());
        let mut first = None;
        for places in corners.into_iter().chain(random) {
            let values = self.values(&places);
            match self.arch(&values) {
                Ok(_) => return Ok(()),
                Err(problem) => first = first.or(Some((values, problem))),
            }
        }
        let (values, problem) = first.unwrap_or_default();
        let described: Vec<String> = self
            .parameters
            .iter()
            .zip(&values)
            .map(|(parameter, value)| format!("{}={value}", parameter.name))
            .collect();
        Err(format!("no values make a network; with {} {problem}", described.join(" ")))
    }
}

/// Checks that a setting has this value, and that a trial may have it.
fn check_setting(name: &str, value: &str) -> Result<(), String> {
    let setting = name.parse::<Setting>().map_err(|error| error.0)?;
    match setting {
        Setting::Epochs => Err("the epochs of a trial are the search's budget: give them as --epochs".into()),
        Setting::Keep => Err("`keep` changes no result".into()),
        _ if setting.needs_teacher() => Err(format!("`{}` is a teacher's, which trials have none of", setting.name())),
        _ => setting.set(&mut Settings::default(), value).map_err(|error| error.0),
    }
}

#[cfg(test)]
mod tests;
