//! The GPU below the curves: each figure, and beside it the last minutes as bars.
//!
//! ```text
//! gpu 87 % ▃▅▇███  2.1/80 GiB ▁▁▁▁▁▁  61 °C ▃▄▄▅▅▅  320 W ▁▃▄▅▅▅
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::state::{GpuFigure, GpuHistory};
use crate::tui::format::width;
use crate::tui::theme::Theme;

/// From this height of the pane on there is room for it.
const ROOM: u16 = 10;
/// From this one on the bars are higher.
const MUCH_ROOM: u16 = 24;
/// Lines of the higher ones.
const HIGH: u16 = 3;
/// Columns of bars that say something.
const FEWEST: usize = 4;
/// Columns between two figures.
const AIR: usize = 2;

/// How many lines of a pane of this height it takes: none without a GPU.
pub fn lines(history: &GpuHistory, height: u16) -> u16 {
    match height {
        _ if history.newest().is_none() => 0,
        0..ROOM => 0,
        ROOM..MUCH_ROOM => 1,
        MUCH_ROOM.. => HIGH,
    }
}

/// Draws as many figures as have room, the most telling first.
pub fn render(history: &GpuHistory, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let Some(reading) = history.newest() else { return };
    let text = |figure: GpuFigure| Some((figure, figure.text(reading)?));
    let mut figures: Vec<(GpuFigure, String)> = GpuFigure::ALL.into_iter().filter_map(text).collect();
    if let Some((_, first)) = figures.first_mut() {
        first.insert_str(0, "gpu ");
    }
    let columns = usize::from(area.width);
    let bars = loop {
        let texts: usize = figures.iter().map(|(_, text)| width(text) + 1).sum();
        let air = AIR * figures.len().saturating_sub(1);
        let bars = columns.saturating_sub(texts + air) / figures.len().max(1);
        if bars >= FEWEST || figures.pop().is_none() {
            break bars;
        }
    };
    let mut x = area.x;
    for (figure, text) in figures {
        let columns = width(&text) as u16;
        buffer.set_stringn(x, area.bottom().saturating_sub(1), &text, usize::from(columns), theme.text);
        x += columns + 1;
        let place = Rect { x, width: bars as u16, ..area };
        self::bars(&history.means(bars, |reading| figure.share(reading)), theme, place, buffer);
        x += (bars + AIR) as u16;
    }
}

/// Draws shares from 0 to 1 as upright bars; the newest is at the right.
fn bars(shares: &[Option<f64>], theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let levels = theme.symbols().levels;
    let steps = levels.len();
    for (x, share) in (area.left()..area.right()).rev().zip(shares.iter().rev()) {
        let Some(share) = share else { continue };
        let height = (share * (steps * usize::from(area.height)) as f64).round() as usize;
        // Nothing is still something that was seen.
        let height = height.max(1);
        for (row, y) in (area.top()..area.bottom()).rev().enumerate() {
            let level = height.saturating_sub(row * steps).min(steps);
            if level > 0 {
                buffer.set_string(x, y, levels[level - 1], theme.other(0));
            }
        }
    }
}
