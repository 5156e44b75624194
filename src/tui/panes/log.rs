//! The log pane: what happened, the newest last, and below it what the curves say is wrong.

use std::collections::VecDeque;
use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use super::{Context, Pane};
use crate::advice::Advice;
use crate::command::Command;
use crate::state::{LabState, Level, LogLine, lines_since};
use crate::tui::format::wrap;
use crate::tui::keymap::Action;
use crate::tui::message::Effect;
use crate::tui::theme::Theme;

/// The log pane.
#[derive(Debug, Default)]
pub struct Log {
    /// How many entries lie below the last that is shown.
    back: usize,
    /// The log when the state last changed: one that is read doesn't run away.
    seen: Arc<VecDeque<LogLine>>,
}

impl Log {
    fn scroll_to(&mut self, back: usize, lab: &LabState) {
        self.back = back.min(lab.log.len().saturating_sub(1));
    }
}

fn lines<'a>(lab: &LabState, theme: &'a Theme, back: usize, columns: u16, height: u16) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    for entry in lab.log.iter().rev().skip(back) {
        let (sign, style) = match entry.level {
            Level::Info => (" ", theme.text),
            Level::Warning => ("!", theme.warning),
            Level::Error => (theme.symbols().nan, theme.bad),
        };
        let wrapped = wrap(&entry.text, usize::from(columns.saturating_sub(2)));
        for (number, text) in wrapped.iter().enumerate().rev() {
            let sign = if number == 0 { sign } else { " " };
            lines.push(Line::styled(format!("{sign} {text}"), style));
        }
        if lines.len() >= usize::from(height) {
            break;
        }
    }
    lines.truncate(usize::from(height));
    lines.reverse();
    lines
}

/// Does what the first advice says.
fn apply(lab: &LabState) -> Vec<Effect> {
    let commands = lab.advice.first().map_or(&[][..], |advice| &advice.commands);
    let commands = commands.iter().filter_map(|command| Command::parse(command).ok().flatten());
    commands.flat_map(Effect::ask).collect()
}

/// What is wrong, with the key that mends it, in `height` lines at most, of which one is left to the log.
fn advice<'a>(lab: &LabState, theme: &'a Theme, columns: u16, height: u16) -> Vec<Line<'a>> {
    let Some(Advice { finding, evidence, commands }) = lab.advice.first() else { return Vec::new() };
    let columns = usize::from(columns.saturating_sub(2));
    let key = format!("Enter: {}", commands.join(", "));
    let mut lines: Vec<Line> = wrap(&key, columns)
        .into_iter()
        .enumerate()
        .map(|(number, text)| {
            let sign = if number == 0 { theme.symbols().pointer } else { " " };
            Line::styled(format!("{sign} {text}"), theme.key)
        })
        .collect();
    let text = wrap(&format!("{}: {evidence}", finding.words()), columns);
    lines.extend(text.into_iter().map(|text| Line::styled(format!("  {text}"), theme.warning)));
    lines.truncate(usize::from(height.saturating_sub(1)));
    lines
}

impl Pane for Log {
    fn title(&self, _lab: &LabState) -> String {
        match self.back {
            0 => String::new(),
            back => format!("{back} newer below"),
        }
    }

    fn help(&self) -> &'static str {
        "What happened, the newest at the bottom: commands and what they gave, epochs, saves, advice. Warnings begin with `!`. \
         Where the curves show that something is \
         wrong, the reason stands below, and Enter does what may mend it. Scroll up to read back; the log then stays where it is until you return to its end with G."
    }

    fn render(&self, context: &Context, area: Rect, buffer: &mut Buffer) {
        let advice = advice(context.lab, context.theme, area.width, area.height);
        let above = area.height - advice.len() as u16;
        let lines = lines(context.lab, context.theme, self.back, area.width, above);
        let below = area.rows().skip(usize::from(above));
        for (row, line) in area.rows().zip(lines).chain(below.zip(advice)) {
            line.render(row, buffer);
        }
    }

    fn handle(&mut self, action: Action, lab: &LabState) -> Option<Vec<Effect>> {
        match action {
            Action::Up => self.scroll_to(self.back + 1, lab),
            Action::Down => self.scroll_to(self.back.saturating_sub(1), lab),
            Action::PageUp => self.scroll_to(self.back + 10, lab),
            Action::PageDown => self.scroll_to(self.back.saturating_sub(10), lab),
            Action::Top => self.scroll_to(usize::MAX, lab),
            Action::Bottom => self.back = 0,
            Action::Enter => return Some(apply(lab)),
            Action::Escape if self.back > 0 => self.back = 0,
            _ => return None,
        }
        Some(Vec::new())
    }

    fn changed(&mut self, lab: &LabState) {
        let before = std::mem::replace(&mut self.seen, lab.log.clone());
        if self.back > 0 {
            self.scroll_to(self.back + lines_since(&before, &lab.log), lab);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Log, LogLine, Pane};
    use crate::state::{LabEvent, LabState, Level};
    use crate::tui::keymap::Action;

    #[test]
    fn a_log_that_is_read_stays_where_it_is_also_once_it_is_full() {
        let (mut pane, mut lab) = (Log::default(), LabState::default());
        let mut lines = 0;
        let mut log = |pane: &mut Log, lab: &mut LabState, count: u32| {
            for number in lines..lines + count {
                lab.apply(LabEvent::Log(LogLine { level: Level::Info, text: format!("line {number}") }));
            }
            lines += count;
            pane.changed(lab);
        };
        let lowest = |pane: &Log, lab: &LabState| lab.log[lab.log.len() - 1 - pane.back].text.clone();
        log(&mut pane, &mut lab, 490);
        pane.handle(Action::PageUp, &lab);
        // Some lines are added before the oldest go, some at once with that, some after it.
        for count in [3, 0, 20, 1, 7, 100] {
            log(&mut pane, &mut lab, count);
            assert_eq!(lowest(&pane, &lab), "line 479", "{count}");
        }
        log(&mut pane, &mut lab, 450);
        assert_eq!(pane.back, lab.log.len() - 1, "that line is gone");
        pane.handle(Action::Bottom, &lab);
        log(&mut pane, &mut lab, 5);
        assert_eq!(pane.back, 0);
    }
}
