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

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::TuneError;
use super::study::Objective;
use super::template::Template;
use super::values::{Kind, Range, Scale, Values};
use crate::arch::Arch;
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
    /// Reads a space; `place` is what its errors call it.
    ///
    /// # Errors
    /// If it is no TOML, or says something that can't be searched.
    pub fn parse(text: &str, place: &str) -> Result<Self, TuneError> {
        let refuse = |problem: String| TuneError::Space(format!("{place}: {problem}"));
        let table: Table = text.parse().map_err(|error: toml::de::Error| refuse(one_line(&error)))?;
        let space = Self::read(table).map_err(refuse)?;
        space.check().map_err(refuse)?;
        Ok(space)
    }

    fn read(mut table: Table) -> Result<Self, String> {
        let arch = match table.remove("arch") {
            None => crate::arch::Arch::default().to_string(),
            Some(Value::String(text)) => preset(&text),
            Some(_) => {
                return Err("`arch` must be text: layers, with a gap for each parameter as in dense{units}".into());
            }
        };
        let arch = Template::parse(&arch).map_err(|problem| format!("in `arch` {problem}"))?;
        let objective = match table.remove("objective") {
            None => None,
            Some(Value::String(word)) => Some(word.parse()?),
            Some(_) => return Err("`objective` must be \"val_accuracy\" or \"val_loss\"".into()),
        };
        let settings = inner(table.remove("settings"), "settings")?;
        let settings = settings.into_iter().map(|(name, value)| Ok((name, scalar(&value)?)));
        let settings = settings.collect::<Result<Vec<_>, String>>()?;
        let parameters = inner(table.remove("parameters"), "parameters")?;
        let parameter = |(name, value): (String, Value)| {
            let values = values(value).map_err(|problem| format!("parameter `{name}`: {problem}"))?;
            Ok(Parameter { name, values })
        };
        let parameters = parameters.into_iter().map(parameter).collect::<Result<Vec<_>, String>>()?;
        match table.keys().next() {
            Some(key) => {
                Err(format!("`{key}` is nothing that a space has: there are arch, objective, [settings], [parameters]"))
            }
            None => Self { arch, objective, settings, parameters }.with_plain_names(),
        }
    }

    /// The same with each setting under the one name that the program writes.
    fn with_plain_names(mut self) -> Result<Self, String> {
        for (name, _) in &mut self.settings {
            let setting = name.parse::<Setting>().map_err(|error| format!("in [settings] {error}"))?;
            setting.name().clone_into(name);
        }
        for index in 0..self.parameters.len() {
            if let (false, Ok(setting)) =
                (self.fills(&self.parameters[index].name), self.parameters[index].name.parse::<Setting>())
            {
                setting.name().clone_into(&mut self.parameters[index].name);
            }
        }
        Ok(self)
    }

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
        let before = std::mem::replace(&mut self.arch, Template::parse(&preset(text)).map_err(refuse)?);
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
        _ => setting.set(&mut Settings::default(), value).map_err(|error| error.0),
    }
}

/// The layers of the preset of this name, or the text itself.
fn preset(text: &str) -> String {
    let found = crate::arch::PRESETS.iter().find(|preset| preset.name == text.trim());
    found.map_or(text, |preset| preset.text).to_owned()
}

fn inner(value: Option<Value>, name: &str) -> Result<Table, String> {
    match value {
        None => Ok(Table::new()),
        Some(Value::Table(table)) => Ok(table),
        Some(_) => Err(format!("`{name}` must be a table: a line [{name}], then NAME = … on lines of their own")),
    }
}

/// One value as the text that a person would type.
fn scalar(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => Ok(value.to_string()),
        _ => Err(format!("`{value}` is no value: use a number or text")),
    }
}

fn values(value: Value) -> Result<Values, String> {
    match value {
        Value::Array(all) => Ok(Values::Choice(all.iter().map(scalar).collect::<Result<_, _>>()?)),
        Value::Table(table) => range(table).map(Values::Range),
        _ => Err("use a list, as in [\"adam\", \"sgd\"], or a range, as in { from = 32, to = 128, step = 32 }".into()),
    }
}

fn range(mut table: Table) -> Result<Range, String> {
    let mut kind = Kind::Whole;
    let mut number = |key: &str| match table.remove(key) {
        None => Ok(None),
        Some(Value::Integer(number)) => Ok(Some(number as f64)),
        Some(Value::Float(number)) => {
            kind = Kind::Real;
            Ok(Some(number))
        }
        Some(_) => Err(format!("`{key}` must be a number")),
    };
    let (from, to, step) = (number("from")?, number("to")?, number("step")?);
    let (Some(from), Some(to)) = (from, to) else {
        return Err("a range needs `from` and `to`, as in { from = 32, to = 128, step = 32 }".into());
    };
    let scale = match table.remove("log") {
        None | Some(Value::Boolean(false)) => Scale::Linear,
        Some(Value::Boolean(true)) => Scale::Log,
        Some(_) => return Err("`log` must be true or false".into()),
    };
    if let Some(key) = table.keys().next() {
        return Err(format!("`{key}` is nothing that a range has: there are from, to, step and log"));
    }
    let every = (kind == Kind::Whole && scale == Scale::Linear).then_some(1.0);
    let range = Range { from, to, step: step.or(every), scale, kind };
    range.problem().map_or(Ok(range), |problem| Err(problem.to_owned()))
}

/// TOML's error, which draws the place over several lines, as one.
fn one_line(error: &toml::de::Error) -> String {
    error.to_string().lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::any;
    use proptest::{prop_assert_eq, proptest};

    use super::{Space, TUTORIAL};
    use crate::train::settings::{Setting, Settings};

    fn parse(text: &str) -> Result<Space, String> {
        Space::parse(text, "space.toml").map_err(|error| error.to_string())
    }

    #[test]
    fn the_tutorials_space_is_what_it_says() {
        let space = parse(TUTORIAL).unwrap();
        let names: Vec<&str> = space.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        assert_eq!(names, ["units", "lr", "dropout", "batch-size"], "in the order of the file");
        let values = space.values(&[0.4, 0.5, 0.9, 0.9]);
        assert_eq!(values, ["64", "0.00173", "0.5", "128"]);
        assert_eq!(space.arch(&values).unwrap().preset(), Some("tutorial"));
        let settings = space.settings(&Settings::default(), &values).unwrap();
        assert_eq!((settings.learning_rate, settings.dropout, settings.batch_size), (0.00173, 0.5, 128));
        assert_eq!(space.values(&space.places(&values)), values);
        assert_eq!(space.combinations(), None);
    }

    #[test]
    fn a_flag_takes_a_parameter_out() {
        let space = parse(TUTORIAL).unwrap().without(Setting::LearningRate);
        assert_eq!(space.combinations(), Some(4 * 6 * 3));
        let space = space.with_arch("mlp").unwrap();
        assert_eq!(space.combinations(), Some(6 * 3));
        assert!(space.with_arch("flatten dense{wide} dense10").unwrap_err().to_string().contains("{wide}"));
    }

    #[test]
    fn what_can_not_be_searched_is_refused_with_a_sentence() {
        let in_parameters = |line: &str| format!("[parameters]\n{line}");
        for (text, words) in [
            ("arch = 3".to_owned(), "`arch` must be text"),
            ("arch = \"dense{units\"".into(), "not closed"),
            ("objective = \"test_accuracy\"".into(), "val_accuracy"),
            ("[parameters]".into(), "nothing is searched"),
            ("speed = 3".into(), "`speed`"),
            ("parameters = 3".into(), "must be a table"),
            ("[settings]\nepochs = 3\n[parameters]\nlr = [0.1]".into(), "--epochs"),
            ("[settings]\ndropot = 3\n[parameters]\nlr = [0.1]".into(), "dropout"),
            (in_parameters("lr = 0.1"), "use a list"),
            (in_parameters("lr = []"), "empty"),
            (in_parameters("lr = [\"fast\"]"), "`fast` is no lr"),
            (in_parameters("lr = { from = 1e-3 }"), "`from` and `to`"),
            (in_parameters("lr = { from = 1e-2, to = 1e-3 }"), "less than"),
            (in_parameters("lr = { from = 0.0, to = 1e-3, log = true }"), "above 0"),
            (in_parameters("lr = { from = 1e-3, to = 1e-2, log = 1 }"), "true or false"),
            (in_parameters("lr = { from = 1e-3, to = 1e-2, steps = 1 }"), "`steps`"),
            (in_parameters("batch-size = { from = 1, to = 9, step = 0 }"), "above 0"),
            (in_parameters("batch-size = { from = 1, to = 9000 }"), "batch-size"),
            (in_parameters("units = [32]"), "fills no gap"),
            (in_parameters("lr = [0.1]\nlr = [0.2]"), "duplicate key"),
            (in_parameters("lr = [0.1]\nlearning-rate = [0.2]"), "twice"),
            ("arch = \"flatten dense{units}\"\n[parameters]\nunits = [32]".into(), "no values make a network"),
        ] {
            let sentence = parse(&text).unwrap_err();
            assert!(sentence.starts_with("space.toml: ") && sentence.contains(words), "{text}: {sentence}");
            assert!(!sentence.contains('\n'), "{sentence}");
        }
    }

    proptest! {
        /// No text makes the reader panic, near to a space or not.
        #[test]
        fn any_text_is_a_space_or_refused(text in any::<String>(), from in any::<f64>(), to in any::<f64>(), step in any::<f64>()) {
            let _ = parse(&text);
            let _ = parse(&format!("arch = \"flatten {{n * dense{text}}} dense10\"\n[parameters]\nn = [1]"));
            let _ = parse(&format!("[parameters]\nlr = {{ from = {from:?}, to = {to:?}, step = {step:?} }}"));
            let _ = parse(&format!("[parameters]\nlr = {{ from = {from:?}, to = {to:?}, log = true }}"));
        }

        /// What was drawn is found again in the space.
        #[test]
        fn a_value_has_its_place(from in -1e3..1e3_f64, width in 1e-3..1e3_f64, place in 0.0..1.0_f64) {
            let text = format!("arch = \"dense{{x}} flatten dense10\"\n[parameters]\nx = {{ from = {from:?}, to = {:?} }}", from + width);
            // The network is none, the values are checked without it.
            prop_assert_eq!(parse(&text).is_err(), true);
            let range = super::Range { from, to: from + width, step: None, scale: super::Scale::Linear, kind: super::Kind::Real };
            let values = super::Values::Range(range);
            let text = values.at(place);
            prop_assert_eq!(values.at(values.place(&text).unwrap()), text);
        }
    }
}
