//! Precision, recall and F1 of each class, the weakest standing out.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;

use super::names;
use crate::data::CLASSES;
use crate::metrics::Confusion;
use crate::tui::format::{shorten, width};
use crate::tui::panes::Context;

/// Columns of the figures beside a class's name, and the air before its bar.
const FIGURES: usize = 37;
/// Columns of the longest bar.
const BARS: u16 = 40;

/// Draws a line for each class, that in `row` as the one that keys act on.
pub fn render(context: &Context, confusion: &Confusion, row: usize, area: Rect, buffer: &mut Buffer) {
    let theme = context.theme;
    let names = names(context.lab);
    let longest = names.iter().map(|name| width(name)).max().unwrap_or(1).max(5);
    let columns = usize::from(area.width);
    let reports = confusion.per_class();
    let weakest = reports.iter().map(|report| report.f1).fold(1.0, f64::min);
    let head = format!("{:<longest$} {:>9} {:>7} {:>7} {:>8}", "class", "precision", "recall", "F1", "digits");
    buffer.set_stringn(area.x, area.y, head, columns, theme.dim);
    let percent = |share: f64| format!("{:.2}", share * 100.0);
    for ((report, name), line) in reports.iter().zip(names).zip(area.rows().skip(1)) {
        let text = format!(
            "{:<longest$} {:>9} {:>7} {:>7} {:>8}",
            shorten(name, longest, ""),
            percent(report.precision),
            percent(report.recall),
            percent(report.f1),
            report.support,
        );
        let style = if report.support > 0 && report.f1 <= weakest { theme.bad } else { theme.text };
        let selected = context.focused && usize::from(report.class) == row.min(CLASSES - 1);
        let style = if selected { style.add_modifier(Modifier::REVERSED) } else { style };
        buffer.set_stringn(line.x, line.y, text, columns, style);
    }
    let left = (longest + FIGURES) as u16;
    let beside = Rect { x: area.x + left, width: area.width.saturating_sub(left).min(BARS), ..area };
    bars(context, &reports.map(|report| report.f1), weakest, beside, buffer);
}

/// F1 as bars, from a round figure below the weakest on: those of a good network would else all look alike.
fn bars(context: &Context, all: &[f64; CLASSES], weakest: f64, area: Rect, buffer: &mut Buffer) {
    let (theme, columns) = (context.theme, usize::from(area.width));
    let from = (weakest * 20.0 - 0.5).floor().max(0.0) / 20.0;
    let (low, high) = (format!("{:.0} %", from * 100.0), "100 %");
    if columns <= width(&low) + width(high) {
        return;
    }
    let room = columns - width(&low);
    buffer.set_stringn(area.x, area.y, format!("{low}{high:>room$}"), columns, theme.dim);
    for (f1, line) in all.iter().zip(area.rows().skip(1)) {
        let share = ((f1 - from) / (1.0 - from)).clamp(0.0, 1.0);
        let bar = theme.symbols().full.repeat((share * columns as f64).round() as usize);
        let style = if *f1 <= weakest { theme.bad } else { theme.good };
        buffer.set_stringn(line.x, line.y, bar, columns, style);
    }
}
