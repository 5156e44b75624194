//! The help: the pane first, then its keys, all keys and all commands, made of the tables that everything else uses.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Padding, Widget};

use super::dialog::centred;
use crate::command::Command;
use crate::tui::Seat;
use crate::tui::format::{shorten, width, wrap};
use crate::tui::keymap::{Action, BINDINGS, Binding, Scope};
use crate::tui::model::Model;
use crate::tui::theme::Theme;

/// Columns of the text.
const COLUMNS: u16 = 92;
/// Columns of the keys and of the space after them.
const KEYS: usize = 14;
/// Columns of a command and its arguments.
const USAGE: usize = 26;

/// How many lines there are, and how many are shown at a time.
pub fn extent(model: &Model) -> (usize, usize) {
    let area = Rect::new(0, 0, model.size.width, model.size.height);
    let inside = block(&model.theme).inner(outside(area));
    (lines(model, usize::from(inside.width)).len(), usize::from(inside.height))
}

/// Draws the help from line `top` on.
pub fn render(model: &Model, top: usize, area: Rect, buffer: &mut Buffer) {
    let around = outside(area);
    let mut block = block(&model.theme);
    let inside = block.inner(around);
    let lines = lines(model, usize::from(inside.width));
    let below = lines.len().saturating_sub(top + usize::from(inside.height));
    if below > 0 {
        let more = format!(" {} {below} more lines ", model.theme.symbols().arrows[3]);
        block = block.title_bottom(Line::styled(more, model.theme.dim).right_aligned());
    }
    Clear.render(around, buffer);
    block.render(around, buffer);
    for (row, line) in inside.rows().zip(lines.into_iter().skip(top)) {
        line.render(row, buffer);
    }
}

fn outside(area: Rect) -> Rect {
    centred(area, COLUMNS + 6, area.height.saturating_sub(2))
}

fn block(theme: &Theme) -> Block<'static> {
    Block::bordered()
        .border_set(theme.symbols().border)
        .border_style(theme.focus)
        .title_top(Line::styled(" help ", theme.focus))
        .title_bottom(Line::styled(" Esc closes ", theme.dim))
        .padding(Padding::horizontal(2))
}

fn lines(model: &Model, columns: usize) -> Vec<Line<'static>> {
    let theme = &model.theme;
    let mut lines = heading(theme, model.focus.name());
    lines.extend(wrap(model.panes.get(model.focus).help(), columns).into_iter().map(Line::from));
    let scope = model.panes.get(model.focus).mode(&model.lab).unwrap_or(Scope::Pane(model.focus));
    let of_pane: Vec<&Binding> = BINDINGS.iter().filter(|b| b.scope == scope).collect();
    if !of_pane.is_empty() {
        lines.push(Line::default());
        lines.extend(key_table(theme, &of_pane, columns));
    }
    lines.extend(heading(theme, "keys"));
    let leaving = |binding: &&Binding| matches!(binding.action, Action::Quit | Action::Interrupt);
    let everywhere = BINDINGS.iter().filter(|b| matches!(b.scope, Scope::Everywhere | Scope::Always));
    let shown: Vec<Binding> = everywhere
        .clone()
        .map(|binding| match model.seat {
            Seat::Guest if leaving(&binding) => Binding { does: "detach: it trains on", ..*binding },
            _ => *binding,
        })
        .collect();
    lines.extend(key_table(theme, &shown.iter().collect::<Vec<_>>(), columns));
    lines.extend(heading(theme, "commands"));
    for (usage, about) in Command::catalogue() {
        lines.extend(command(theme, &usage, &about, columns));
    }
    if lines.first().is_some_and(|line| line.width() == 0) {
        lines.remove(0);
    }
    lines
}

fn heading(theme: &Theme, text: &str) -> Vec<Line<'static>> {
    vec![Line::default(), Line::styled(text.to_owned(), theme.focus)]
}

/// The keys in two columns, read downwards, where there is room for two.
fn key_table(theme: &Theme, bindings: &[&Binding], columns: usize) -> Vec<Line<'static>> {
    let across = if columns >= 76 { 2 } else { 1 };
    let rows = bindings.len().div_ceil(across);
    let cell = columns / across;
    let entry = |binding: &Binding| {
        let keys = format!("{:<KEYS$}", binding.keys.join(" "));
        let room = cell.saturating_sub(width(&keys) + 2);
        let does = shorten(binding.does, room, theme.symbols().ellipsis);
        [Span::styled(keys, theme.key), Span::raw(format!("{does:<0$}", room + 2))]
    };
    let cells = |row: usize| (0..across).filter_map(move |column| bindings.get(column * rows + row));
    (0..rows).map(|row| cells(row).flat_map(|binding| entry(binding)).collect()).collect()
}

fn command(theme: &Theme, usage: &str, about: &str, columns: usize) -> Vec<Line<'static>> {
    let about = wrap(about, columns.saturating_sub(USAGE));
    let line = |(number, text): (usize, String)| {
        let usage = if number == 0 { usage } else { "" };
        Line::from(vec![Span::styled(format!("{usage:<USAGE$}"), theme.accent), Span::raw(text)])
    };
    about.into_iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::{BINDINGS, KEYS, width};

    #[test]
    fn keys_stand_apart_from_what_they_do() {
        for binding in BINDINGS {
            assert!(width(&binding.keys.join(" ")) < KEYS, "{:?}", binding.keys);
        }
    }
}
