//! A box in the middle of the screen that wants an answer.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Padding, Widget};

use crate::tui::format::wrap;
use crate::tui::theme::Theme;

/// Columns of the text.
const COLUMNS: u16 = 56;

/// The rectangle of this size in the middle of `area`, as far as it fits.
pub fn centred(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height }
}

/// Draws the box with its text and the keys that answer it.
pub fn render(
    theme: &Theme,
    tone: Style,
    title: &str,
    text: &str,
    keys: &[(&str, &str)],
    area: Rect,
    buffer: &mut Buffer,
) {
    let columns = COLUMNS.min(area.width.saturating_sub(8));
    let mut lines: Vec<Line> = wrap(text, usize::from(columns)).into_iter().map(Line::from).collect();
    lines.push(Line::default());
    let answers = keys.iter().flat_map(|(key, does)| {
        [Span::styled((*key).to_owned(), theme.key), Span::styled(format!(" {does}   "), theme.dim)]
    });
    lines.push(answers.collect());
    let around = centred(area, columns + 6, lines.len() as u16 + 4);
    Clear.render(around, buffer);
    let block = Block::bordered()
        .border_set(theme.symbols().border)
        .border_style(tone)
        .title_top(Line::styled(format!(" {title} "), tone.add_modifier(Modifier::BOLD)))
        .padding(Padding::symmetric(2, 1));
    let inside = block.inner(around);
    block.render(around, buffer);
    for (row, line) in inside.rows().zip(lines) {
        line.render(row, buffer);
    }
}
