//! The figures of one step in words: what was measured there, and what was changed.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::layers::{self, Figure};
use crate::state::LabState;
use crate::train::history::{Edit, History, StepRecord};
use crate::tui::format::{loss, percent, width};
use crate::tui::theme::Theme;

/// Columns between two facts.
const AIR: usize = 2;

/// The figures of the newest step, on one line of `columns`.
pub fn newest<'a>(history: &'a History, theme: &'a Theme, columns: usize) -> Vec<Line<'a>> {
    let Some(record) = history.steps.last() else { return Vec::new() };
    let mut facts = vec![(format!("step {}", record.step), theme.text), trained(record, theme)];
    facts.extend(validated(history, record.step, theme));
    wrap(facts, columns, 1)
}

/// The figures of step `cursor`, on at most two lines: with its epoch, and the changes of settings at most `near` steps away.
pub fn at<'a>(history: &'a History, cursor: u64, near: u64, theme: &'a Theme, columns: usize) -> Vec<Line<'a>> {
    let at = history.steps.partition_point(|record| record.step < cursor);
    let Some(record) = history.steps.get(at) else { return Vec::new() };
    let ended = history.epochs.partition_point(|epoch| epoch.step < record.step);
    let epoch = ended.checked_sub(1).map_or(0, |last| history.epochs[last].epoch) + 1;
    let mut facts = vec![
        (format!("{} step {}, epoch {epoch}", theme.symbols().pointer, record.step), theme.title),
        trained(record, theme),
    ];
    facts.extend(validated(history, record.step, theme));
    let edits = history.edits.iter().filter(|edit| edit.step.abs_diff(record.step) <= near);
    facts.extend(edits.map(|Edit { step, setting, from, to }| {
        (format!("{} {setting} {from} → {to} at {step}", theme.symbols().marker), theme.marker)
    }));
    wrap(facts, columns, 2)
}

/// The figures of each layer at the last measurement before `cursor`, or the newest, on at most two lines.
pub fn of_layers<'a>(
    lab: &'a LabState,
    cursor: Option<u64>,
    figures: &[Figure],
    theme: &'a Theme,
    columns: usize,
) -> Vec<Line<'a>> {
    let norms = &lab.history.norms;
    let at = cursor.map_or(norms.len(), |cursor| norms.partition_point(|record| record.step <= cursor)).max(1) - 1;
    let Some(record) = norms.get(at) else {
        return vec![Line::styled("no step was measured yet; every fiftieth is", theme.dim)];
    };
    let pointer = cursor.map_or_else(String::new, |_| format!("{} ", theme.symbols().pointer));
    let mut facts = vec![(format!("{pointer}step {}", record.step), theme.text)];
    let names = layers::legend(lab);
    for (layer, norm) in record.layers.iter().enumerate() {
        let name = names.get(layer).and_then(|(_, name)| name.split(' ').next()).unwrap_or("?");
        let values: Vec<String> = figures.iter().map(|figure| magnitude(figure.of(norm).into())).collect();
        facts.push((format!("{name}: {}", values.join(" ")), theme.other(layer as isize)));
    }
    wrap(facts, columns, if cursor.is_some() { 2 } else { 1 })
}

/// A number with three digits, whatever its magnitude: `0.0123`, `1.23e-5`.
fn magnitude(value: f64) -> String {
    match value {
        v if !v.is_finite() => "NaN".into(),
        0.0 => "0".into(),
        v if (1e-3..1e4).contains(&v.abs()) => {
            let decimals = (2 - v.abs().log10().floor() as i32).max(0) as usize;
            format!("{v:.decimals$}")
        }
        v => format!("{v:.2e}"),
    }
}

fn trained(record: &StepRecord, theme: &Theme) -> (String, Style) {
    (format!("loss {} acc {}", loss(record.loss.into()), percent(record.accuracy.into())), theme.train)
}

/// The validation that was the newest one at `step`.
fn validated(history: &History, step: u64, theme: &Theme) -> Option<(String, Style)> {
    let measured = history.epochs.iter().rev().find(|epoch| epoch.step <= step)?.validation?;
    Some((format!("val {} acc {}", loss(measured.loss), percent(measured.accuracy)), theme.validation))
}

/// The facts on at most `lines` lines; those that don't fit are left out.
fn wrap<'a>(facts: Vec<(String, Style)>, columns: usize, lines: usize) -> Vec<Line<'a>> {
    let mut wrapped: Vec<Line> = vec![Line::default()];
    for (text, style) in facts {
        let used = wrapped.last().map_or(0, Line::width);
        if used > 0 && used + AIR + width(&text) > columns {
            if wrapped.len() == lines {
                continue;
            }
            wrapped.push(Line::default());
        }
        if let Some(line) = wrapped.last_mut() {
            if line.width() > 0 {
                line.push_span(Span::raw(" ".repeat(AIR)));
            }
            line.push_span(Span::styled(text, style));
        }
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::magnitude;

    #[test]
    fn magnitudes_have_three_digits() {
        let written = [0.0, 0.001_234, 0.5, 12.345, 1234.6, 1.234_5e-5, 3e9, f64::NAN].map(magnitude);
        assert_eq!(written, ["0", "0.00123", "0.500", "12.3", "1235", "1.23e-5", "3.00e9", "NaN"]);
    }
}
