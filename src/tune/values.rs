//! The values that a parameter may take: a range of numbers, or a list; each value has a place between 0 and 1.

use serde::{Deserialize, Serialize};

use crate::train::settings::Number;

/// Values further than this from each other by a step are too many to be told apart on any machine.
const MOST_STEPS: f64 = 1e6;

/// What one parameter may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Values {
    /// Numbers between two ends, which both belong to it.
    Range(Range),
    /// One of these, in no order.
    Choice(Vec<String>),
}

/// Numbers between two ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// The smallest.
    pub from: f64,
    /// The largest.
    pub to: f64,
    /// From one to the next; `None` for all that lie between.
    pub step: Option<f64>,
    /// Where the numbers lie dense.
    pub scale: Scale,
    /// Which numbers there are.
    pub kind: Kind,
}

/// How numbers are spread between the ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// As many between 0.001 and 0.01 as between 0.01 and 0.1.
    Log,
}

/// Which numbers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Whole ones.
    Whole,
    /// All, with three digits.
    Real,
}

impl Values {
    /// How many values there are; `None` if more than can be listed.
    pub fn count(&self) -> Option<usize> {
        match self {
            Self::Choice(all) => Some(all.len()),
            Self::Range(range) => range.count(),
        }
    }

    /// The value at `place`, 0 to 1, as text that a setting takes.
    pub fn at(&self, place: f64) -> String {
        match self {
            Self::Choice(all) => all[cell(place, all.len())].clone(),
            Self::Range(range) => range.at(place),
        }
    }

    /// The place of a value that [`Values::at`] gave: of one among several the middle of its share. `None` for another text.
    pub fn place(&self, text: &str) -> Option<f64> {
        match self {
            Self::Choice(all) => Some(middle(all.iter().position(|value| value == text)?, all.len())),
            Self::Range(range) => range.place(text.parse().ok()?),
        }
    }

    /// All values if they are listed or few, else some from end to end.
    pub fn examples(&self) -> Vec<String> {
        if let Self::Choice(all) = self {
            return all.clone();
        }
        let some = self.count().unwrap_or(5).min(25);
        (0..some).map(|index| self.at(if some > 1 { index as f64 / (some - 1) as f64 } else { 0.5 })).collect()
    }
}

impl Range {
    /// Why these are no numbers to choose from, if they are none.
    pub fn problem(&self) -> Option<&'static str> {
        let Self { from, to, step, scale, .. } = *self;
        if !from.is_finite() || !to.is_finite() || from.abs() > 1e12 || to.abs() > 1e12 {
            return Some("its ends must be numbers of common size");
        }
        if from >= to {
            return Some("`from` must be less than `to`");
        }
        if scale == Scale::Log && from <= 0.0 {
            return Some("on a logarithmic scale `from` must be above 0");
        }
        match step {
            Some(_) if scale == Scale::Log => Some("a step and a logarithmic scale don't go together: leave one out"),
            Some(step) if !step.is_finite() || step <= 0.0 => Some("`step` must be above 0"),
            Some(step) if (to - from) / step > MOST_STEPS => Some("`step` is too small beside the range"),
            _ => None,
        }
    }

    fn count(&self) -> Option<usize> {
        let step = self.step?;
        // The small addition keeps 0.0 … 0.5 in steps of 0.1 from losing its end to rounding.
        Some(((self.to - self.from) / step + 1e-6).floor() as usize + 1)
    }

    fn at(&self, place: f64) -> String {
        let place = place.clamp(0.0, 1.0);
        if let (Some(count), Some(step)) = (self.count(), self.step) {
            return self.text(self.from + cell(place, count) as f64 * step);
        }
        self.text(match self.scale {
            Scale::Linear => self.from + (self.to - self.from) * place,
            Scale::Log => (self.from.ln() + (self.to.ln() - self.from.ln()) * place).exp(),
        })
    }

    /// Rounded to what a person would write, and not beyond the ends.
    fn text(&self, value: f64) -> String {
        let rounded = match self.kind {
            Kind::Whole => value.round(),
            Kind::Real if self.step.is_some() => significant(value, 9),
            Kind::Real => significant(value, 3),
        };
        Number(rounded.clamp(self.from, self.to)).to_string()
    }

    fn place(&self, value: f64) -> Option<f64> {
        if !(self.from..=self.to).contains(&value) {
            return None;
        }
        if let (Some(count), Some(step)) = (self.count(), self.step) {
            let index = ((value - self.from) / step).round();
            return (self.text(self.from + index * step).parse() == Ok(value)).then(|| middle(index as usize, count));
        }
        Some(match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Log => (value.ln() - self.from.ln()) / (self.to.ln() - self.from.ln()),
        })
    }
}

/// Which of `count` equal shares `place` lies in.
fn cell(place: f64, count: usize) -> usize {
    ((place * count as f64) as usize).min(count.saturating_sub(1))
}

/// The middle of share `index` of `count`.
fn middle(index: usize, count: usize) -> f64 {
    (index as f64 + 0.5) / count as f64
}

/// `value` with so many significant digits.
fn significant(value: f64, digits: usize) -> f64 {
    format!("{value:.*e}", digits - 1).parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::{Kind, Range, Scale, Values};

    const LINEAR: Range = Range { from: 32.0, to: 128.0, step: Some(32.0), scale: Scale::Linear, kind: Kind::Whole };

    /// Checks the values at five places, and that each of them knows its place.
    #[track_caller]
    fn check(values: &Values, expected: [&str; 5]) {
        let found = [0.0, 0.25, 0.5, 0.75, 1.0].map(|place| values.at(place));
        assert_eq!(found, expected);
        for text in found {
            let place = values.place(&text).unwrap();
            assert_eq!(values.at(place), text, "{place}");
        }
    }

    #[test]
    fn a_place_has_a_value_and_a_value_its_place() {
        check(&Values::Range(LINEAR), ["32", "64", "96", "128", "128"]);
        let log = Range { from: 1e-4, to: 1.0, step: None, scale: Scale::Log, kind: Kind::Real };
        check(&Values::Range(log), ["1e-4", "0.001", "0.01", "0.1", "1"]);
        let tenths = Range { from: 0.0, to: 0.5, step: Some(0.1), scale: Scale::Linear, kind: Kind::Real };
        check(&Values::Range(tenths), ["0", "0.1", "0.3", "0.4", "0.5"]);
        let share = Range { from: 0.0, to: 0.3, step: None, scale: Scale::Linear, kind: Kind::Real };
        check(&Values::Range(share), ["0", "0.075", "0.15", "0.225", "0.3"]);
        check(&Values::Choice(["adam", "sgd"].map(String::from).into()), ["adam", "adam", "sgd", "sgd", "sgd"]);
        assert_eq!(Values::Range(LINEAR).place("40"), None);
        assert_eq!(Values::Range(LINEAR).examples(), ["32", "64", "96", "128"]);
        assert_eq!(Values::Range(share).examples().len(), 5);
    }
}
