//! Spaces as TOML: reading them, with errors that say what stands where and what to write instead.

use toml::{Table, Value};

use super::{Parameter, Space};
use crate::arch::{Arch, Preset};
use crate::train::settings::Setting;
use crate::tune::TuneError;
use crate::tune::template::Template;
use crate::tune::values::{Kind, Range, Scale, Values};

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
            None => Arch::default().to_string(),
            Some(Value::String(text)) => Preset::spelled_out(&text).to_owned(),
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
