//! The table of trials: a row each, the best first.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::search::{How, Row, SearchState};
use crate::tui::format::{loss, percent, shorten, width};
use crate::tui::panes::Context;
use crate::tui::theme::Theme;
use crate::tune::trial::Ending;

/// Columns between two cells.
const GAP: usize = 2;
/// Columns that a setting has at most, while others want room too.
const WIDEST: usize = 16;

/// Draws the rows that fit, so that the selected one is among them.
pub fn render(context: &Context, search: &SearchState, rows: &[Row], selected: usize, area: Rect, buffer: &mut Buffer) {
    let area = area.intersection(buffer.area);
    let Some(body) = usize::from(area.height).checked_sub(1).filter(|body| *body > 0) else { return };
    let theme = context.theme;
    let first = selected.saturating_sub(body / 2).min(rows.len().saturating_sub(body));
    let shown: Vec<&Row> = rows.iter().skip(first).take(body).collect();
    let head = head(search);
    let cells: Vec<Vec<String>> = shown.iter().map(|row| cells(row)).collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| cells.iter().chain([&head]).map(|row| width(&row[column])).max().unwrap_or(0).min(WIDEST))
        .collect();
    line(&head, &widths, theme, theme.dim, area, 0, buffer);
    for (number, (row, cells)) in shown.iter().zip(&cells).enumerate() {
        let y = number as u16 + 1;
        line(cells, &widths, theme, style(row, first + number == 0, theme), area, y, buffer);
        if first + number == selected {
            buffer.set_string(area.x, area.y + y, theme.symbols().pointer, theme.accent);
            if context.focused {
                buffer.set_style(Rect { y: area.y + y, height: 1, ..area }, theme.selection);
            }
        }
    }
}

fn style(row: &Row, is_best: bool, theme: &Theme) -> Style {
    match (&row.how, is_best) {
        (How::Ended(Ending::Diverged), _) => theme.bad,
        (How::Running(_), _) => theme.train,
        (How::Ended(_), true) if row.score.is_some() => theme.good,
        (How::Ended(Ending::Stopped), _) => theme.dim,
        (How::Ended(_), _) => theme.text,
    }
}

fn head(search: &SearchState) -> Vec<String> {
    let names = search.study.space.parameters.iter().map(|parameter| parameter.name.clone());
    ["#", "val acc", "val loss", "epochs"].map(str::to_owned).into_iter().chain(names).chain([String::new()]).collect()
}

fn cells(row: &Row) -> Vec<String> {
    let of_score =
        |figure: fn(f64, f64) -> String| row.score.map_or_else(|| "-".into(), |s| figure(s.accuracy, s.loss));
    let (epochs, how) = match &row.how {
        How::Running(until) => (format!("{:.1}/{until}", row.epochs), "runs"),
        How::Ended(Ending::Reached) => (format!("{:.0}", row.epochs), ""),
        How::Ended(ending) => (format!("{:.0}", row.epochs), ending.word()),
    };
    let figures =
        [row.number.to_string(), of_score(|accuracy, _| percent(accuracy)), of_score(|_, value| loss(value)), epochs];
    figures.into_iter().chain(row.values.iter().cloned()).chain([how.to_owned()]).collect()
}

/// Writes cells one after the other, as many as fit whole.
fn line(cells: &[String], widths: &[usize], theme: &Theme, style: Style, area: Rect, y: u16, buffer: &mut Buffer) {
    let mut x = 2;
    for (cell, &columns) in cells.iter().zip(widths) {
        if x + columns > usize::from(area.width) {
            break;
        }
        let text = shorten(cell, columns, theme.symbols().ellipsis);
        let before = columns - width(&text);
        buffer.set_string(area.x + (x + before) as u16, area.y + y, text, style);
        x += columns + GAP;
    }
}
