//! Precision, recall and F1 of each class, the weakest standing out.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;

use super::names;
use crate::data::CLASSES;
use crate::metrics::{ClassReport, Confusion};
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
    let weakest = weakest(&reports);
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
        let style = if stands_out(report, weakest) { theme.bad } else { theme.text };
        let selected = context.focused && usize::from(report.class) == row.min(CLASSES - 1);
        let style = if selected { style.add_modifier(Modifier::REVERSED) } else { style };
        buffer.set_stringn(line.x, line.y, text, columns, style);
    }
    let left = (longest + FIGURES) as u16;
    let beside = Rect { x: area.x + left, width: area.width.saturating_sub(left).min(BARS), ..area };
    bars(context, &reports, weakest, beside, buffer);
}

/// F1 of the weakest class that has samples.
fn weakest(reports: &[ClassReport; CLASSES]) -> f64 {
    reports.iter().filter(|report| report.support > 0).map(|report| report.f1).fold(1.0, f64::min)
}

/// Whether a class is as weak as the weakest; none is where all are perfect.
fn stands_out(report: &ClassReport, weakest: f64) -> bool {
    report.support > 0 && report.f1 <= weakest && weakest < 1.0
}

/// F1 as bars, from a round figure below the weakest on: those of a good network would else all look alike.
fn bars(context: &Context, reports: &[ClassReport; CLASSES], weakest: f64, area: Rect, buffer: &mut Buffer) {
    let (theme, columns) = (context.theme, usize::from(area.width));
    let from = (weakest * 20.0 - 0.5).floor().max(0.0) / 20.0;
    let (low, high) = (format!("{:.0} %", from * 100.0), "100 %");
    if columns <= width(&low) + width(high) {
        return;
    }
    let room = columns - width(&low);
    buffer.set_stringn(area.x, area.y, format!("{low}{high:>room$}"), columns, theme.dim);
    for (report, line) in reports.iter().zip(area.rows().skip(1)) {
        let share = ((report.f1 - from) / (1.0 - from)).clamp(0.0, 1.0);
        let bar = theme.symbols().full.repeat((share * columns as f64).round() as usize);
        let style = if stands_out(report, weakest) { theme.bad } else { theme.good };
        buffer.set_stringn(line.x, line.y, bar, columns, style);
    }
}

#[cfg(test)]
mod tests {
    use super::{Confusion, stands_out, weakest};

    /// Of these labels and predictions, the classes that stand out.
    #[track_caller]
    fn check(outcomes: &[(u8, u8)], expected: &[u8]) {
        let mut confusion = Confusion::default();
        for &(label, predicted) in outcomes {
            confusion.add(label, predicted);
        }
        let reports = confusion.per_class();
        let weakest = weakest(&reports);
        let marked = reports.iter().filter(|report| stands_out(report, weakest)).map(|report| report.class);
        assert_eq!(marked.collect::<Vec<_>>(), expected, "{outcomes:?}");
    }

    #[test]
    fn the_weakest_class_that_has_samples_stands_out() {
        check(&[(0, 0), (1, 1), (1, 1), (1, 0)], &[0]);
        check(&[(0, 0), (1, 2)], &[1]);
        check(&[(0, 0), (1, 1), (2, 2)], &[]);
        check(&[], &[]);
    }
}
