//! The last line: the most used keys, or for a while a sentence about what happened.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::state::Phase;
use crate::tui::Seat;
use crate::tui::format::{shorten, width};
use crate::tui::keymap::{Action, BINDINGS};
use crate::tui::model::{Leaving, Model, Tone};
use crate::tui::panes::PaneId;

/// The keys while a command is typed.
const TYPING: [(&str, &str); 5] =
    [("Enter", "run"), ("Tab", "complete"), ("Up", "recall"), ("Esc", "back"), ("F1", "help")];
/// The keys while a value is typed.
const EDITING: [(&str, &str); 2] = [("Enter", "set"), ("Esc", "leave as it was")];

/// Draws the line.
pub fn render(model: &Model, area: Rect, buffer: &mut Buffer) {
    let theme = &model.theme;
    let room = usize::from(area.width.saturating_sub(2));
    let sentence = |text: &str| shorten(text, room, theme.symbols().ellipsis);
    let line = match (model.leaving, &model.notice) {
        (Leaving::No, None) => hints(model, room),
        (Leaving::No, Some(notice)) => {
            let style = if notice.tone == Tone::Good { theme.good } else { theme.bad };
            Line::styled(format!(" {}", sentence(&notice.text)), style)
        }
        _ => Line::styled(format!(" {}", sentence("saving; Ctrl-C leaves at once")), theme.warning),
    };
    line.render(area, buffer);
    if model.waiting.seconds > 0 && model.leaving == Leaving::No {
        let text = format!(" the lab is at work {} ", theme.symbols().ellipsis);
        Line::styled(text, theme.warning).right_aligned().render(area, buffer);
    }
}

fn hints(model: &Model, room: usize) -> Line<'static> {
    if model.focus == PaneId::CommandLine {
        return line(model, TYPING.into_iter(), room);
    }
    if model.focus == PaneId::Settings && model.panes.settings.is_typing() {
        return line(model, EDITING.into_iter(), room);
    }
    let main = BINDINGS.iter().filter_map(|binding| match (binding.action, binding.hint) {
        (_, None) => None,
        // Keys of a single pane stand on its frame.
        _ if !matches!(binding.scope, crate::tui::keymap::Scope::Everywhere) => None,
        (Action::Quit, _) if model.seat == Seat::Guest => Some((binding.keys[0], "detach")),
        (Action::PauseResume, _) => Some((binding.keys[0], space(&model.lab.phase))),
        (_, Some(hint)) => Some((binding.keys[0], hint)),
    });
    line(model, main, room)
}

/// What the space bar does at the moment.
const fn space(phase: &Phase) -> &'static str {
    match phase {
        Phase::Training => "pause",
        Phase::Paused => "resume",
        _ => "train",
    }
}

fn line(model: &Model, keys: impl Iterator<Item = (&'static str, &'static str)>, room: usize) -> Line<'static> {
    let theme = &model.theme;
    let mut spans = vec![Span::raw(" ")];
    let mut used = 0;
    for (key, word) in keys {
        let separator = if used == 0 { String::new() } else { format!(" {} ", theme.symbols().dot) };
        used += width(&separator) + width(key) + 1 + width(word);
        if used > room {
            break;
        }
        spans.push(Span::styled(separator, theme.border));
        spans.push(Span::styled(key, theme.key));
        spans.push(Span::styled(format!(" {word}"), theme.dim));
    }
    Line::from(spans)
}
