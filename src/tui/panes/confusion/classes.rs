//! Precision, recall and F1 of each class, the weakest standing out.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;

use super::names;
use crate::data::CLASSES;
use crate::metrics::Confusion;
use crate::tui::format::{shorten, width};
use crate::tui::panes::Context;

/// Columns of the figures beside a class's name and its bar.
const FIGURES: usize = 38;

/// Draws a line for each class, that in `row` as the one that keys act on.
pub fn render(context: &Context, confusion: &Confusion, row: usize, area: Rect, buffer: &mut Buffer) {
    let theme = context.theme;
    let names = names(context.lab);
    let longest = names.iter().map(|name| width(name)).max().unwrap_or(1).max(5);
    let columns = usize::from(area.width);
    let bar = columns.saturating_sub(longest + FIGURES + 1).min(40);
    let reports = confusion.per_class();
    let weakest = reports.iter().map(|report| report.f1).fold(1.0, f64::min);
    let head = format!("{:<longest$} {:>9} {:>7} {:>7} {:>8}", "class", "precision", "recall", "F1", "digits");
    buffer.set_stringn(area.x, area.y, head, columns, theme.dim);
    for ((report, name), line) in reports.iter().zip(names).zip(area.rows().skip(1)) {
        let percent = |share: f64| format!("{:.2}", share * 100.0);
        let text = format!(
            "{:<longest$} {:>9} {:>7} {:>7} {:>8}  {}",
            shorten(name, longest, ""),
            percent(report.precision),
            percent(report.recall),
            percent(report.f1),
            report.support,
            theme.symbols().full.repeat((report.f1.clamp(0.0, 1.0) * bar as f64) as usize),
        );
        let style = if report.support > 0 && report.f1 <= weakest { theme.bad } else { theme.text };
        let selected = context.focused && usize::from(report.class) == row.min(CLASSES - 1);
        let style = if selected { style.add_modifier(Modifier::REVERSED) } else { style };
        buffer.set_stringn(line.x, line.y, text, columns, style);
    }
}
