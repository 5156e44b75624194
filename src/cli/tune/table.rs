//! Trials as text: a table, what mattered, and where the best is.

use crate::search::SearchState;
use crate::tune::importance::importance;
use crate::tune::study::Study;
use crate::tune::trial::Trial;

/// Rows that a table has at most.
const ROWS: usize = 30;

/// The best trials, what mattered, and where the best is kept.
pub fn text(state: &SearchState, best: &Trial, session: &str) -> String {
    let study = &state.study;
    let mut lines = table(state);
    if let Some(shares) = importance(study, &state.trials) {
        let mut named: Vec<(f64, &str)> =
            shares.into_iter().zip(study.space.parameters.iter().map(|parameter| parameter.name.as_str())).collect();
        named.sort_by(|a, b| b.0.total_cmp(&a.0));
        let shares = named.iter().map(|(share, name)| format!("{name} {:.0} %", share * 100.0)).collect::<Vec<_>>();
        lines.push(format!("share of the variance that each explains by itself: {}", shares.join(", ")));
    }
    let number = best.number;
    lines.push(format!(
        "the best, trial {number}, is saved as `{session}`: `mnist-lab lab --load {session}` opens it, `mnist-lab eval {session}` tests it"
    ));
    lines.join("\n")
}

/// A head and a row for each of the best trials, as wide as need be.
fn table(state: &SearchState) -> Vec<String> {
    let study = &state.study;
    let head = ["trial", "val accuracy", "val loss", "epochs"].map(str::to_owned).into_iter();
    let head = head.chain(study.space.parameters.iter().map(|parameter| parameter.name.clone()));
    let mut rows: Vec<Vec<String>> = vec![head.chain(["how it ended".to_owned()]).collect()];
    let ranking = state.trials.ranking(study.objective);
    rows.extend(ranking.iter().take(ROWS).map(|trial| row(study, trial)));
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
        cells.collect::<Vec<_>>().join("  ")
    };
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    if ranking.len() > ROWS {
        lines.push(format!("and {} more", ranking.len() - ROWS));
    }
    lines
}

fn row(study: &Study, trial: &Trial) -> Vec<String> {
    let score = trial.score();
    let figures = [
        trial.number.to_string(),
        score.map_or_else(|| "-".into(), |score| format!("{:.2} %", score.accuracy * 100.0)),
        score.map_or_else(|| "-".into(), |score| format!("{:.4}", score.loss)),
        trial.scores.len().to_string(),
    ];
    figures.into_iter().chain(trial.values.iter().cloned()).chain([study.ending(trial).to_owned()]).collect()
}
