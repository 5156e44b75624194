//! Curves as a table: one row a step, a set of columns a run.
//!
//! The first column is `step`. Then for each run, its name in front: `loss`, `accuracy` and `learning_rate` of the step; where an
//! epoch ended `epoch`, `seconds` (of its training pass), `val_loss` and `val_accuracy`; `changed`, the settings that were
//! changed after this step; and, of every fiftieth step, `gradient`, `weight` and `update_ratio` of each trained layer, numbered from 1.
//! Numbers are written so that they read back to the bit; what was not measured is empty.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::once;

use super::Run;
use crate::nn::norms::LayerNorm;
use crate::train::history::{EpochRecord, History, NormRecord, StepRecord};

/// The columns of every run before those of its layers.
const COLUMNS: [&str; 8] =
    ["loss", "accuracy", "learning_rate", "epoch", "seconds", "val_loss", "val_accuracy", "changed"];
/// The columns of a layer.
const OF_LAYER: [&str; 3] = ["gradient", "weight", "update_ratio"];

/// A run's records by their steps.
struct Columns<'a> {
    name: String,
    steps: BTreeMap<u64, &'a StepRecord>,
    epochs: BTreeMap<u64, &'a EpochRecord>,
    changes: BTreeMap<u64, String>,
    norms: BTreeMap<u64, &'a NormRecord>,
    layers: usize,
}

/// The table of these runs.
///
/// # Errors
/// If it can't be written to memory.
pub fn table(runs: &[Run]) -> Result<Vec<u8>, csv::Error> {
    let columns: Vec<Columns> = runs.iter().enumerate().map(|(number, run)| Columns::new(runs, number, run)).collect();
    let steps: BTreeSet<u64> = columns.iter().flat_map(Columns::rows).collect();
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(once("step".to_owned()).chain(columns.iter().flat_map(Columns::heads)))?;
    for step in steps {
        table.write_record(once(step.to_string()).chain(columns.iter().flat_map(|columns| columns.cells(step))))?;
    }
    table.into_inner().map_err(|error| error.into_error().into())
}

impl<'a> Columns<'a> {
    fn new(runs: &[Run], number: usize, run: &Run<'a>) -> Self {
        let History { steps, epochs, edits, norms } = run.history;
        // A branch and a session may have the same name.
        let is_taken = runs[..number].iter().any(|other| other.name == run.name);
        let mut changes: BTreeMap<u64, String> = BTreeMap::new();
        for edit in edits {
            let change = changes.entry(edit.step).or_default();
            let separator = if change.is_empty() { "" } else { "; " };
            *change += &format!("{separator}{} {} -> {}", edit.setting, edit.from, edit.to);
        }
        Self {
            name: if is_taken { format!("{} #{}", run.name, number + 1) } else { run.name.to_owned() },
            steps: steps.iter().map(|record| (record.step, record)).collect(),
            epochs: epochs.iter().map(|record| (record.step, record)).collect(),
            changes,
            norms: norms.iter().map(|record| (record.step, record)).collect(),
            layers: norms.iter().map(|record| record.layers.len()).max().unwrap_or(0),
        }
    }

    fn rows(&self) -> impl Iterator<Item = u64> {
        let all = self.steps.keys().chain(self.epochs.keys()).chain(self.changes.keys()).chain(self.norms.keys());
        all.copied()
    }

    fn heads(&self) -> Vec<String> {
        let layers = (1..=self.layers).flat_map(|layer| OF_LAYER.map(|name| format!("{} {name} {layer}", self.name)));
        COLUMNS.iter().map(|name| format!("{} {name}", self.name)).chain(layers).collect()
    }

    fn cells(&self, step: u64) -> Vec<String> {
        let (record, epoch) = (self.steps.get(&step), self.epochs.get(&step));
        let validation = epoch.and_then(|epoch| epoch.validation);
        let mut cells = vec![
            cell(record.map(|record| record.loss)),
            cell(record.map(|record| record.accuracy)),
            cell(record.map(|record| record.learning_rate)),
            cell(epoch.map(|epoch| epoch.epoch)),
            cell(epoch.map(|epoch| epoch.seconds)),
            cell(validation.map(|measured| measured.loss)),
            cell(validation.map(|measured| measured.accuracy)),
            cell(self.changes.get(&step)),
        ];
        for layer in 0..self.layers {
            let norm = self.norms.get(&step).and_then(|record| record.layers.get(layer));
            cells.push(cell(norm.map(|norm| norm.gradient)));
            cells.push(cell(norm.map(|norm| norm.weight)));
            cells.push(cell(norm.map(LayerNorm::ratio)));
        }
        cells
    }
}

fn cell(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop};
    use proptest::{prop_assert_eq, proptest};

    use super::{COLUMNS, Run, table};
    use crate::nn::norms::LayerNorm;
    use crate::train::history::{Edit, EpochRecord, History, Measured, NormRecord, StepRecord};

    /// The table as another program reads it: lines of cells.
    fn lines(runs: &[Run]) -> Vec<Vec<String>> {
        let text = table(runs).expect("there is memory");
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_slice());
        let line = |record: csv::StringRecord| record.iter().map(String::from).collect();
        reader.records().map(|record| line(record.expect("as many cells as in the first line"))).collect()
    }

    fn history(losses: &[f32], seconds: f64) -> History {
        let steps = losses.iter().zip(1..);
        let steps = steps.map(|(&loss, step)| StepRecord { step, loss, accuracy: loss / 3.0, learning_rate: 1e-3 });
        let epoch = |(index, step): (usize, u64)| EpochRecord {
            epoch: index as u32 + 1,
            step,
            train_loss: 0.1,
            train_accuracy: 0.9,
            validation: (index > 0).then_some(Measured { loss: seconds / 7.0, accuracy: 0.1 + 0.2 }),
            learning_rate: 1e-3,
            seconds,
            samples: 10,
        };
        let edit = |to: &str| Edit { step: 2, setting: "augment".into(), from: "none".into(), to: to.into() };
        let norm = LayerNorm { gradient: 0.1, weight: losses[0], update: 1e-5 };
        History {
            steps: steps.collect(),
            epochs: [3, 6].into_iter().enumerate().map(epoch).collect(),
            edits: vec![edit("rotate=10,shift=0.1"), edit("a \"b\"")],
            norms: [NormRecord { step: 1, layers: [norm, norm].into() }].into_iter().collect(),
        }
    }

    #[test]
    fn runs_stand_side_by_side() {
        let (own, other) = (history(&[1.0, f32::NAN, 0.5], 1.5), History::default());
        let lines = lines(&[Run { name: "run-1", history: &own }, Run { name: "run-1", history: &other }]);
        assert_eq!(lines[0][..3], ["step", "run-1 loss", "run-1 accuracy"]);
        assert_eq!(lines[0][9..12], ["run-1 gradient 1", "run-1 weight 1", "run-1 update_ratio 1"]);
        assert_eq!(lines[0][15], "run-1 #2 loss");
        assert_eq!(lines.iter().map(|line| line[0].as_str()).collect::<Vec<_>>(), ["step", "1", "2", "3", "6"]);
        assert_eq!(lines[2][1], "NaN");
        assert_eq!(lines[2][8], "augment none -> rotate=10,shift=0.1; augment none -> a \"b\"");
        assert!(lines.iter().all(|line| line.len() == lines[0].len()));
        assert_eq!(table(&[]).ok(), Some(b"step\n".to_vec()));
    }

    proptest! {
        /// Read back, the table is the history, to the bit.
        #[test]
        fn it_reads_back(losses in prop::collection::vec(any::<f32>(), 6..20), seconds in any::<f64>()) {
            let history = history(&losses, seconds);
            let lines = lines(&[Run { name: "a", history: &history }]).split_off(1);
            prop_assert_eq!(lines.len(), losses.len());
            // NaN comes in many bits and goes as one word.
            let bits = |value: f64| if value.is_nan() { None } else { Some(value.to_bits()) };
            let of_text = |text: &str| text.parse::<f64>().map(bits).ok();
            let narrow = |text: &str| text.parse::<f32>().map(|value| bits(value.into())).ok();
            for (line, record) in lines.iter().zip(history.steps.iter()) {
                prop_assert_eq!(line[0].parse().ok(), Some(record.step));
                let numbers = [record.loss, record.accuracy, record.learning_rate];
                for (text, number) in line[1..4].iter().zip(numbers) {
                    prop_assert_eq!(narrow(text), Some(bits(number.into())));
                }
                let epoch = history.epochs.iter().find(|epoch| epoch.step == record.step);
                prop_assert_eq!(line[4].parse().ok(), epoch.map(|epoch| epoch.epoch));
                prop_assert_eq!(of_text(&line[5]), epoch.map(|epoch| bits(epoch.seconds)));
                let validation = epoch.and_then(|epoch| epoch.validation);
                prop_assert_eq!(of_text(&line[6]), validation.map(|measured| bits(measured.loss)));
                let norm = history.norms.iter().find(|norm| norm.step == record.step);
                for (at, text) in line[1 + COLUMNS.len()..].iter().enumerate() {
                    let norm = norm.map(|norm| norm.layers[at / 3]);
                    let number = norm.map(|norm| [norm.gradient, norm.weight, norm.ratio()][at % 3]);
                    prop_assert_eq!(narrow(text), number.map(|number| bits(number.into())));
                }
            }
        }
    }
}
