//! The reliability diagram: how often the network is right, beside how sure it is.
//!
//! ```text
//! ECE 0.38 %, too sure by 0.31 %
//! sure        digits   said   right
//! 80 to 90 %      83   85.2    74.7  ████████████████████████      │
//! 90 to 100 %   9631   99.6    99.3  ███████████████████████████████│
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;

use crate::metrics::calibration::{BINS, Bin, Calibration};
use crate::tui::format::percent;
use crate::tui::panes::Context;

/// Columns of the figures, the air before the bar included.
const FIGURES: u16 = 35;

/// What the error is, in a sentence.
fn sentence(calibration: &Calibration) -> String {
    let Calibration { expected_calibration_error, overconfidence, .. } = *calibration;
    let tendency = if overconfidence >= 0.0 { "too sure" } else { "too unsure" };
    format!("ECE {}, {tendency} by {}", percent(expected_calibration_error), percent(overconfidence.abs()))
}

/// Draws a line for each tenth of the confidences, that in `row` as the one that keys act on.
pub fn render(context: &Context, calibration: &Calibration, row: usize, area: Rect, buffer: &mut Buffer) {
    let theme = context.theme;
    let columns = usize::from(area.width);
    let heads = [(sentence(calibration), theme.text), ("sure        digits   said   right".to_owned(), theme.dim)];
    let heads = if usize::from(area.height) > BINS + 1 { &heads[..] } else { &heads[..1] };
    for (line, (text, style)) in area.rows().zip(heads) {
        buffer.set_stringn(line.x, line.y, text, columns, *style);
    }
    let below = area.rows().skip(heads.len());
    // The upper bins matter more where not all have room.
    let lowest = BINS.saturating_sub(usize::from(area.height).saturating_sub(heads.len()));
    for ((number, bin), line) in calibration.bins.iter().enumerate().skip(lowest).zip(below) {
        let selected = context.focused && number == row;
        let style = if bin.count == 0 { theme.dim } else { theme.text };
        let style = if selected { style.add_modifier(Modifier::REVERSED) } else { style };
        buffer.set_stringn(line.x, line.y, figures(bin), columns, style);
        diagram(
            context,
            bin,
            Rect { x: line.x + FIGURES, width: line.width.saturating_sub(FIGURES).min(60), ..line },
            buffer,
        );
    }
}

fn figures(bin: &Bin) -> String {
    let from = (bin.from * 100.0).round();
    let to = from + 100.0 / BINS as f64;
    let share = |share: f64| if bin.count == 0 { String::new() } else { format!("{:.1}", share * 100.0) };
    let range = format!("{from:.0} to {to:.0} %");
    format!("{range:<11} {:>6} {:>6} {:>7}", bin.count, share(bin.confidence), share(bin.accuracy))
}

/// A bar as long as the share that is right, and an upright where the network said it would end.
fn diagram(context: &Context, bin: &Bin, area: Rect, buffer: &mut Buffer) {
    if bin.count == 0 || area.width < 2 {
        return;
    }
    let theme = context.theme;
    let place = |share: f64| (share.clamp(0.0, 1.0) * f64::from(area.width - 1)).round() as u16;
    let style = if bin.accuracy + 0.02 < bin.confidence { theme.warning } else { theme.good };
    let (right, said) = (place(bin.accuracy), place(bin.confidence));
    let bar = theme.symbols().full.repeat(usize::from(right));
    buffer.set_stringn(area.x, area.y, bar, usize::from(area.width), style);
    // On the bar it stands in the bar's colour.
    let upright = if said < right { style.add_modifier(Modifier::REVERSED) } else { theme.accent };
    buffer.set_string(area.x + said, area.y, theme.symbols().vertical, upright);
}
