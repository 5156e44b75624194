//! `sessions`: what is saved, and whether it is whole.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::args::{SessionsArgs, SessionsVerb};
use super::follow::epoch_json;
use super::options::Options;
use super::output::Output;
use crate::error::Error;
use crate::lab::session_rows;
use crate::reply::{BranchRow, Reply};
use crate::search;
use crate::session::{Session, Store};
use crate::train::settings::Setting;

/// Does what was asked of the sessions folder.
///
/// # Errors
/// If a session is missing or not whole, or the folder can't be read.
pub fn run(args: SessionsArgs, options: &Options, output: &Output) -> Result<ExitCode, Error> {
    let store = &options.store;
    match args.verb {
        SessionsVerb::List => output.reply(&Reply::Sessions(session_rows(store)?)),
        SessionsVerb::Show { name } => show(&name, &store.load(&name)?, *output),
        SessionsVerb::Diff { a, b } => diff([&a, &b], store, *output)?,
        SessionsVerb::Rm { name } => {
            store.remove(&name)?;
            output.data(&json!({"event": "removed", "session": name}), &format!("deleted `{name}`"));
            let search = search::folder(store, &name)?;
            if search.is_dir() {
                let folder = search.display();
                output.note(&format!(
                    "what its search tried is still in {folder}: `tune --save {name}` would go on with it"
                ));
            }
        }
        SessionsVerb::Verify { name } => {
            let session = store.load(&name)?;
            let step = session.run.progress.step;
            let text = format!("`{name}` is whole: epoch {}, step {step}", session.run.progress.epoch);
            output.data(&json!({"event": "verified", "session": name, "step": step}), &text);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(name: &str, session: &Session, output: Output) {
    let run = &session.run;
    let settings: serde_json::Map<String, Value> = Setting::followed(run.config.teacher.is_some())
        .into_iter()
        .map(|setting| (setting.name().to_owned(), json!(setting.get(&run.settings))))
        .collect();
    let edits: Vec<Value> = run
        .history
        .edits
        .iter()
        .map(|edit| json!({"step": edit.step, "setting": edit.setting, "from": edit.from, "to": edit.to}))
        .collect();
    let object = json!({
        "event": "session",
        "name": name,
        "data": session.data.name,
        "arch": run.config.arch.to_string(),
        "parameters": run.config.arch.parameters(),
        "seed": run.config.seed,
        "validation_split": run.config.validation_split,
        "teacher": run.config.teachers(),
        "epoch": run.progress.epoch,
        "step": run.progress.step,
        "seconds": run.progress.seconds,
        "weights": weights_hash(session),
        "settings": settings,
        "edits": edits,
        "branches": branches(session).iter().map(BranchRow::to_json).collect::<Vec<_>>(),
        "epochs": run.history.epochs.iter().map(epoch_json).collect::<Vec<_>>(),
    });
    let mut lines: Vec<String> = figures(session)
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| format!("{key:<18} {value}"))
        .collect();
    lines.extend(run.history.epochs.iter().map(crate::train::history::EpochRecord::sentence));
    lines.extend(
        run.history
            .edits
            .iter()
            .map(|edit| format!("step {}: {} {} → {}", edit.step, edit.setting, edit.from, edit.to)),
    );
    lines.extend(branches(session).iter().map(|row| format!("branch {row}")));
    output.data(&object, &lines.join("\n"));
}

/// The run's branches; none where it has but one.
fn branches(session: &Session) -> Vec<BranchRow> {
    let all = BranchRow::all(&session.tree, session.run.progress);
    if all.len() > 1 { all } else { Vec::new() }
}

/// Names the weights as they answer: two sessions with the same are the same network, bit for bit.
fn weights_hash(session: &Session) -> String {
    let mut hasher = blake3::Hasher::new();
    for tensor in &session.run.network.tensors {
        hasher.update(tensor.name.as_bytes());
        tensor.values.iter().for_each(|value| {
            hasher.update(&value.to_le_bytes());
        });
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

/// What can be compared of a session, by name.
fn figures(session: &Session) -> Vec<(&'static str, String)> {
    let run = &session.run;
    let last = run.history.epochs.last();
    let best = run.history.epochs.iter().filter_map(|epoch| Some((epoch.validation?.accuracy, epoch.epoch)));
    let best = best.max_by(|a, b| a.0.total_cmp(&b.0));
    let mut figures = vec![
        ("data", session.data.name.clone()),
        ("arch", run.config.arch.to_string()),
        ("parameters", run.config.arch.parameters().to_string()),
        ("seed", run.config.seed.to_string()),
        ("validation-split", run.config.validation_split.to_string()),
        ("teacher", run.config.teachers().join(", ")),
    ];
    let is_taught = run.config.teacher.is_some();
    let value = |setting: Setting| {
        if setting.needs_teacher() && !is_taught { String::new() } else { setting.get(&run.settings) }
    };
    figures.extend(Setting::ALL.map(|setting| (setting.name(), value(setting))));
    figures.extend([
        ("epochs done", run.progress.epoch.to_string()),
        ("steps", run.progress.step.to_string()),
        ("seconds", format!("{:.1}", run.progress.seconds)),
        ("train loss", last.map_or_else(String::new, |epoch| format!("{:.4}", epoch.train_loss))),
        ("val loss", last.and_then(|epoch| epoch.validation).map_or_else(String::new, |v| format!("{:.4}", v.loss))),
        (
            "best val accuracy",
            best.map_or_else(String::new, |(a, epoch)| format!("{:.2} % in epoch {epoch}", a * 100.0)),
        ),
        ("weights", weights_hash(session)),
    ]);
    figures
}

fn diff(names: [&str; 2], store: &Store, output: Output) -> Result<(), Error> {
    let [a, b] = [figures(&store.load(names[0])?), figures(&store.load(names[1])?)];
    let rows: Vec<(&str, String, String)> =
        a.into_iter().zip(b).map(|((key, left), (_, right))| (key, left, right)).collect();
    let object = |(key, left, right): &(&str, String, String)| json!({"name": key, "a": left, "b": right});
    let json = json!({
        "event": "diff",
        "a": names[0],
        "b": names[1],
        "rows": rows.iter().map(object).collect::<Vec<_>>(),
    });
    let width = rows.iter().map(|(_, left, _)| left.chars().count()).max().unwrap_or(0).max(names[0].len());
    let line = |(key, left, right): &(&str, String, String)| {
        let mark = if left == right { ' ' } else { '≠' };
        format!("{mark} {key:<18} {left:<width$}  {right}")
    };
    let head = format!("  {:<18} {:<width$}  {}", "", names[0], names[1]);
    let text = std::iter::once(head).chain(rows.iter().map(line)).collect::<Vec<_>>().join("\n");
    output.data(&json, &text);
    Ok(())
}
