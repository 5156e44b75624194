//! What the lab answers to a command: as text for people, as one JSON object for programs.

mod corrupted;
mod evaluation;
mod session;

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::advice::Advice;
use crate::data::{CLASSES, SIDE};
use crate::explain::{Evidence, LayerMaps, Map, Neighbour};
use crate::metrics::argmax;
use crate::state::DigitView;
use crate::train::tree::{Branch, Tree};
use crate::train::{Goal, Progress};

pub use corrupted::CorruptedReport;
pub use evaluation::EvaluationReport;
pub use session::{SessionContent, SessionRow};

/// The answer to one command.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// It was done; the sentence says what.
    Done(String),
    /// Training began and goes on until the goal.
    Started(Goal),
    /// Settings: name, value and what it takes.
    Settings(Vec<(String, String, String)>),
    /// Digits and what the network says of them.
    Digits(Vec<Arc<DigitView>>),
    /// A digit and why it is taken for what it is.
    Explained(Arc<DigitView>),
    /// A digit and the training digits nearest to it.
    Nearest(Arc<DigitView>),
    /// What the network says of images that were brought.
    Classified(Classified),
    /// A split was measured.
    Evaluated(Box<EvaluationReport>),
    /// A split was corrupted in every way, and measured.
    Corrupted(Box<CorruptedReport>),
    /// What is wrong, if anything is.
    Advice(Vec<Advice>),
    /// The run was saved.
    Saved {
        /// Under which name.
        name: String,
        /// The file.
        path: String,
        /// Its size.
        bytes: u64,
    },
    /// The run went back.
    Rewound {
        /// To the end of which epoch.
        epoch: u32,
        /// Steps made there.
        step: u64,
        /// On which branch.
        branch: String,
        /// The end of that branch, if the run is not there.
        ahead: Option<Progress>,
    },
    /// Branches of the run.
    Branches(Vec<BranchRow>),
    /// A file for other programs was written.
    Exported(Exported),
    /// The curves were written.
    Plotted(Plotted),
    /// Saved sessions.
    Sessions(Vec<SessionRow>),
    /// Lines of help.
    Help(String),
    /// The lab is about to end.
    Closing,
}

/// What the network, as it was after `step`, says of images.
#[derive(Clone, Debug, PartialEq)]
pub struct Classified {
    /// Of each image the probability of each class.
    pub probabilities: Vec<[f32; CLASSES]>,
    /// Of each image which pixels spoke for the predicted class, if that was asked.
    pub saliency: Vec<Map>,
    /// Epochs done.
    pub epoch: u32,
    /// Steps made.
    pub step: u64,
}

/// One branch in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct BranchRow {
    /// Its name.
    pub name: String,
    /// Whether the run is on it.
    pub current: bool,
    /// Which branch it left, and after how many epochs.
    pub from: Option<(String, u32)>,
    /// Epochs done at its end.
    pub epoch: u32,
    /// Steps made there.
    pub step: u64,
    /// How far the run is, if it went back on this branch.
    pub back: Option<Progress>,
    /// Epochs that can be gone back to.
    pub kept: Vec<u32>,
}

/// A file that was written for other programs.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// Its format.
    pub format: &'static str,
    /// Where it is.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Test accuracy of the network.
    pub test_accuracy: f64,
    /// How its numbers are kept, and the test accuracy that this leaves, if they are not kept whole.
    pub quantized: Option<(&'static str, f64)>,
}

/// A file with curves that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plotted {
    /// Where it is.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// The runs in it, the lab's own first.
    pub runs: Vec<String>,
}

impl Reply {
    /// The objects that programs get, one for each line.
    pub fn to_json(&self) -> Vec<Value> {
        match self {
            Self::Done(text) => vec![json!({"event": "done", "text": text})],
            Self::Started(goal) => vec![match goal {
                Goal::Epoch(epoch) => json!({"event": "training", "until_epoch": epoch}),
                Goal::Step(step) => json!({"event": "training", "until_step": step}),
            }],
            Self::Settings(rows) => {
                let object = |(name, value, _): &(String, String, String)| json!({"event": "setting", "name": name, "value": value});
                rows.iter().map(object).collect()
            }
            Self::Digits(digits) => digits.iter().map(|digit| digit_json(digit)).collect(),
            Self::Explained(digit) => vec![explained_json(digit)],
            Self::Nearest(digit) => vec![nearest_json(digit)],
            Self::Classified(answer) => {
                let object = |probabilities: &[f32; CLASSES]| json!({"event": "classified", "digit": argmax(probabilities), "probabilities": probabilities, "step": answer.step});
                answer.probabilities.iter().map(object).collect()
            }
            Self::Evaluated(report) => vec![report.to_json()],
            Self::Corrupted(report) => report.to_json(),
            Self::Advice(all) => all.iter().map(advice_json).collect(),
            Self::Saved { name, path, bytes } => {
                vec![json!({"event": "saved", "session": name, "path": path, "bytes": bytes})]
            }
            Self::Rewound { epoch, step, branch, ahead } => {
                let ahead = ahead.map(|end| end.epoch);
                vec![json!({"event": "rewound", "epoch": epoch, "step": step, "branch": branch, "ahead": ahead})]
            }
            Self::Branches(rows) => rows.iter().map(BranchRow::to_json).collect(),
            Self::Exported(exported) => vec![exported.to_json()],
            Self::Plotted(Plotted { path, bytes, runs }) => {
                vec![json!({"event": "plotted", "path": path, "bytes": bytes, "runs": runs})]
            }
            Self::Sessions(rows) => rows.iter().map(SessionRow::to_json).collect(),
            Self::Help(text) => vec![json!({"event": "help", "text": text})],
            Self::Closing => vec![json!({"event": "closing"})],
        }
    }
}

fn advice_json(advice: &Advice) -> Value {
    json!({
        "event": "advice",
        "finding": advice.finding.words(),
        "evidence": advice.evidence,
        "commands": advice.commands,
    })
}

fn digit_json(digit: &DigitView) -> Value {
    json!({
        "event": "predicted",
        "input": digit.source.to_string(),
        "digit": digit.predicted,
        "confidence": digit.confidence(),
        "probabilities": digit.probabilities,
        "true": digit.label,
        "loss": digit.loss,
        "label_in_doubt": digit.doubtful,
        "preprocess": digit.preprocess,
        "step": digit.step,
        "epochs": past_json(&digit.past),
    })
}

/// What it was taken for after earlier epochs; null if that was not measured.
fn past_json(past: &[(u32, u8)]) -> Value {
    let object = |(epoch, class): &(u32, u8)| json!({"epoch": epoch, "digit": class});
    if past.is_empty() { Value::Null } else { past.iter().map(object).collect() }
}

fn explained_json(digit: &DigitView) -> Value {
    let mut object = digit_json(digit);
    object["event"] = json!("explained");
    if let Some(explanation) = &digit.explanation {
        let rows = |map: &[f32]| map.chunks(SIDE).map(<[f32]>::to_vec).collect::<Vec<_>>();
        let layer = |maps: &LayerMaps| json!({"layer": maps.layer, "maps": maps.pictures.len()});
        object["class"] = json!(explanation.class);
        object["saliency"] = json!(rows(&explanation.saliency[..]));
        object["occlusion"] = json!(rows(&explanation.occlusion[..]));
        object["evidence"] = json!(explanation.evidence);
        object["layers"] = explanation.layers.iter().map(layer).collect();
    }
    object
}

fn nearest_json(digit: &DigitView) -> Value {
    let object = |Neighbour { index, label, distance, .. }: &Neighbour| json!({"train_index": index, "label": label, "distance": distance});
    let mut all = digit_json(digit);
    all["event"] = json!("nearest");
    all["neighbours"] = digit.neighbours.iter().map(object).collect();
    all
}

impl BranchRow {
    /// All branches of a run that is as far as `now` on the one that it is on.
    pub fn all(tree: &Tree, now: Progress) -> Vec<Self> {
        let row = |(number, branch): (usize, &Branch)| {
            let progress = branch.tip.as_ref().map_or(now, |tip| tip.progress);
            let current = number == tree.on();
            Self {
                name: branch.name.clone(),
                current,
                from: branch.fork.as_ref().map(|fork| (fork.branch.clone(), fork.epoch)),
                epoch: progress.epoch,
                step: progress.step,
                back: (current && branch.tip.is_some()).then_some(now),
                kept: branch.kept.iter().map(|state| state.progress.epoch).collect(),
            }
        };
        tree.branches().iter().enumerate().map(row).collect()
    }

    /// The `branch` object.
    pub fn to_json(&self) -> Value {
        let from = self.from.as_ref().map(|(branch, epoch)| json!({"branch": branch, "epoch": epoch}));
        json!({
            "event": "branch",
            "name": self.name,
            "current": self.current,
            "from": from,
            "epoch": self.epoch,
            "step": self.step,
            "back": self.back.map(|now| now.epoch),
            "kept": self.kept,
        })
    }
}

impl Exported {
    /// The `exported` object.
    pub fn to_json(&self) -> Value {
        let mut object = json!({
            "event": "exported",
            "format": self.format,
            "path": self.path,
            "bytes": self.bytes,
            "test_accuracy": self.test_accuracy,
        });
        if let Some((quantization, accuracy)) = self.quantized {
            object["quantization"] = json!(quantization);
            object["quantized_test_accuracy"] = json!(accuracy);
        }
        object
    }
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wrote {}, {:.1} kB; test accuracy ", self.path, self.bytes as f64 / 1e3)?;
        match self.quantized {
            None => write!(f, "{:.2} %", self.test_accuracy * 100.0),
            Some((quantization, accuracy)) => {
                write!(f, "{:.2} % before, {:.2} % as {quantization}", self.test_accuracy * 100.0, accuracy * 100.0)
            }
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(text) | Self::Help(text) => f.write_str(text),
            Self::Started(Goal::Epoch(epoch)) => write!(f, "training until epoch {epoch}"),
            Self::Started(Goal::Step(step)) => write!(f, "training until step {step}"),
            Self::Settings(rows) => {
                lines(f, rows, |f, (name, value, about)| write!(f, "{name:<16} {value:<12} {about}"))
            }
            Self::Digits(digits) => lines(f, digits, |f, digit| write!(f, "{digit}")),
            Self::Explained(digit) => explained(f, digit),
            Self::Nearest(digit) => nearest(f, digit),
            Self::Classified(answer) => lines(f, &answer.probabilities, |f, row| write!(f, "{}", argmax(row))),
            Self::Evaluated(report) => write!(f, "{report}"),
            Self::Corrupted(report) => write!(f, "{report}"),
            Self::Advice(all) if all.is_empty() => f.write_str("nothing is wrong that the curves would tell"),
            Self::Advice(all) => lines(f, all, |f, advice| write!(f, "{advice}")),
            Self::Saved { name, path, bytes } => write!(f, "saved `{name}` in {path}, {:.1} MB", *bytes as f64 / 1e6),
            Self::Rewound { epoch, step, branch, ahead } => {
                write!(f, "back at the end of epoch {epoch}, step {step}, of `{branch}`")?;
                match ahead {
                    Some(end) if end.step == *step => {
                        write!(f, "; its settings were changed there since: `branch {branch}` has them")
                    }
                    Some(end) => write!(f, "; to train on begins a branch, and its {} steps stay", end.step),
                    None => Ok(()),
                }
            }
            Self::Branches(rows) => lines(f, rows, |f, row| write!(f, "{row}")),
            Self::Exported(exported) => write!(f, "{exported}"),
            Self::Plotted(Plotted { path, bytes, runs }) => {
                write!(f, "wrote {path}, {:.1} kB, with {}", *bytes as f64 / 1e3, runs.join(", "))
            }
            Self::Sessions(rows) if rows.is_empty() => f.write_str("no session is saved yet"),
            Self::Sessions(rows) => lines(f, rows, |f, row| write!(f, "{row}")),
            Self::Closing => f.write_str("good-bye"),
        }
    }
}

fn lines<T>(
    f: &mut fmt::Formatter<'_>,
    rows: &[T],
    line: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (number, row) in rows.iter().enumerate() {
        if number > 0 {
            f.write_str("\n")?;
        }
        line(f, row)?;
    }
    Ok(())
}

/// The digit, and a line for each of the most probable classes: what spoke for it and what against.
fn explained(f: &mut fmt::Formatter<'_>, digit: &DigitView) -> fmt::Result {
    write!(f, "{digit}")?;
    let Some(explanation) = &digit.explanation else { return Ok(()) };
    for class in digit.ranking().into_iter().take(3) {
        let Evidence { logit, pro, con, .. } = explanation.evidence[usize::from(class)];
        write!(
            f,
            "\n  {class}: logit {logit:.2}; pixels for it {pro:.2}, against {con:.2}, biases {:.2}",
            logit - pro - con
        )?;
    }
    Ok(())
}

/// The digit, and a line for each training digit near it.
fn nearest(f: &mut fmt::Formatter<'_>, digit: &DigitView) -> fmt::Result {
    write!(f, "{digit}")?;
    for Neighbour { index, label, distance, .. } in &digit.neighbours {
        write!(f, "\n  training digit {index}, a {label}: distance {distance:.2}")?;
    }
    Ok(())
}

impl fmt::Display for DigitView {
    /// `947: 9 at 99.1 %, then 8 at 0.7 %; label 8, loss 4.91, wrong, label in doubt`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranking = self.ranking();
        let percent = |class: u8| self.probabilities[usize::from(class)] * 100.0;
        write!(f, "{}: {} at {:.1} %", self.source, self.predicted, percent(self.predicted))?;
        write!(f, ", then {} at {:.1} %", ranking[1], percent(ranking[1]))?;
        if let (Some(label), Some(loss)) = (self.label, self.loss) {
            let verdict = if label == self.predicted { "right" } else { "wrong" };
            write!(f, "; label {label}, loss {loss:.3}, {verdict}")?;
        }
        if self.doubtful {
            f.write_str(", label in doubt")?;
        }
        if let Some(preprocess) = &self.preprocess {
            write!(f, " ({preprocess})")?;
        }
        if let Some((first, _)) = self.past.first() {
            write!(f, "; from epoch {first} on")?;
            self.past.iter().try_for_each(|(_, class)| write!(f, " {class}"))?;
        }
        if let Some((place, of)) = self.place {
            write!(f, " [{place} of {of}]")?;
        }
        Ok(())
    }
}

impl fmt::Display for BranchRow {
    /// `* slow: epoch 5, step 3750, from epoch 3 of `main`, keeps epochs 0 to 5; the run is back at the end of epoch 4`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: epoch {}, step {}", if self.current { '*' } else { ' ' }, self.name, self.epoch, self.step)?;
        if let Some((branch, epoch)) = &self.from {
            write!(f, ", from epoch {epoch} of `{branch}`")?;
        }
        match (self.kept.first(), self.kept.last()) {
            (Some(first), Some(last)) => write!(f, ", keeps epochs {first} to {last}")?,
            _ => f.write_str(", keeps no epoch")?,
        }
        match self.back {
            Some(now) if now.step == self.step => f.write_str("; the run is back there with its earlier settings"),
            Some(now) => write!(f, "; the run is back at the end of epoch {}", now.epoch),
            None => Ok(()),
        }
    }
}
