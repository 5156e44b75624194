//! The settings pane: every hyperparameter, changed in place while training goes on.

use crossterm::event::{Event, KeyCode, KeyEvent};
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget};
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler;

use super::{Context, Pane};
use crate::command::Command;
use crate::error::Error;
use crate::reply::Reply;
use crate::state::LabState;
use crate::train::history::Edit;
use crate::train::settings::{self, Setting};
use crate::tui::format::{shorten, width, wrap};
use crate::tui::keymap::Action;
use crate::tui::message::{Effect, Origin};
use crate::tui::theme::Theme;

/// Columns of the names, the pointer included.
const NAMES: u16 = 18;
/// Lines below the settings that explain the selected one.
const DOC_LINES: u16 = 3;

/// The settings pane.
#[derive(Debug)]
pub struct Settings {
    /// Those that the run follows.
    followed: Vec<Setting>,
    selected: usize,
    /// The value that is being typed.
    editing: Option<Input>,
    /// Why the last change was refused.
    refused: Option<(Setting, String)>,
    /// The settings as they will be when the lab has done what it was asked for, until the state shows them.
    asked: Option<settings::Settings>,
    /// Answers that are still to come.
    answers: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { followed: Setting::followed(false), selected: 0, editing: None, refused: None, asked: None, answers: 0 }
    }
}

impl Settings {
    fn setting(&self) -> Setting {
        self.followed[self.selected]
    }

    fn select(&mut self, line: usize) {
        let line = line.min(self.followed.len() - 1);
        if line != self.selected {
            self.selected = line;
            self.leave();
        }
    }

    /// What was begun with a setting that is not the selected one any more is given up.
    fn leave(&mut self) {
        self.editing = None;
        self.refused = None;
    }

    /// What came of a change.
    pub fn answer(&mut self, setting: Setting, result: &Result<Reply, Error>) {
        self.answers = self.answers.saturating_sub(1);
        if let Err(error) = result {
            self.refused = Some((setting, error.to_string()));
            self.asked = None;
        }
    }

    /// Whether a value is being typed.
    pub fn is_typing(&self) -> bool {
        self.editing.is_some()
    }

    /// What the next change begins from: keys may come faster than the lab answers.
    fn latest<'a>(&'a self, lab: &'a LabState) -> &'a settings::Settings {
        self.asked.as_ref().unwrap_or(&lab.settings)
    }

    /// Asks the lab for a value, or says at once what is wrong with it.
    fn set(&mut self, value: String, lab: &LabState) -> Vec<Effect> {
        let (setting, mut asked) = (self.setting(), self.latest(lab).clone());
        if let Err(error) = setting.set(&mut asked, &value) {
            self.refused = Some((setting, error.to_string()));
            return Vec::new();
        }
        (self.asked, self.editing, self.refused) = (Some(asked), None, None);
        self.answers += 1;
        let command = Command::Set { name: Some(setting.name().into()), value: Some(value) };
        vec![Effect::Ask(command, Origin::Setting(setting))]
    }

    fn nudge(&mut self, up: bool, lab: &LabState) -> Vec<Effect> {
        let value = self.setting().nudge(self.latest(lab), up);
        value.map_or_else(Vec::new, |value| self.set(value, lab))
    }

    /// Takes what was typed.
    fn submit(&mut self, lab: &LabState) -> Vec<Effect> {
        let Some(input) = &self.editing else { return Vec::new() };
        let value = input.value().trim().to_owned();
        self.set(value, lab)
    }

    /// The first setting that is shown in `lines` lines.
    fn offset(&self, lines: u16) -> usize {
        (self.selected + 1).saturating_sub(usize::from(lines))
    }

    fn line<'a>(&self, context: &Context<'a>, number: usize, columns: usize) -> Line<'a> {
        let (theme, symbols) = (context.theme, context.theme.symbols());
        let setting = self.followed[number];
        let selected = number == self.selected && context.focused;
        let edit = context.lab.history.edits.iter().rev().find(|edit| edit.setting == setting.name());
        let room = columns.saturating_sub(usize::from(NAMES));

        let pointer = if selected { symbols.pointer } else { " " };
        let mut spans = vec![
            Span::styled(format!("{pointer} "), theme.accent),
            Span::styled(
                format!("{:<1$}", setting.name(), usize::from(NAMES) - 2),
                if selected { theme.title } else { theme.dim },
            ),
        ];
        match &self.editing {
            Some(input) if selected => {
                let shown = visible(input, room);
                spans.push(Span::styled(format!("{shown:<room$}"), theme.selection));
            }
            _ => spans.extend(value_spans(theme, &setting.get(&context.lab.settings), edit, room)),
        }
        let line = Line::from(spans);
        if selected && self.editing.is_none() { line.style(theme.selection) } else { line }
    }

    /// The list, and the lines that explain.
    fn parts(&self, area: Rect) -> [Rect; 2] {
        let settings = (self.followed.len() as u16).min(area.height);
        let doc = DOC_LINES.min(area.height.saturating_sub(settings.min(4)));
        let [list, _, doc] = Layout::vertical([
            Constraint::Length(settings.min(area.height - doc)),
            Constraint::Fill(1),
            Constraint::Length(doc),
        ])
        .areas(area);
        [list, doc]
    }

    fn doc(&self, theme: &Theme) -> (String, Style) {
        match &self.refused {
            Some((setting, sentence)) if *setting == self.setting() => (sentence.clone(), theme.bad),
            _ => (self.setting().about().to_owned(), theme.dim),
        }
    }
}

/// The value, and if it was changed during the run, what it was and since when.
fn value_spans<'a>(theme: &'a Theme, value: &str, edit: Option<&Edit>, room: usize) -> Vec<Span<'a>> {
    let symbols = theme.symbols();
    let value = shorten(value, room, symbols.ellipsis);
    let Some(edit) = edit else { return vec![Span::styled(value, theme.text)] };
    let mark = format!(" {}", symbols.marker);
    let used = width(&value) + width(&mark);
    let since = [
        format!(" was {} until step {}", edit.from, edit.step),
        format!(" {} until {}", edit.from, edit.step),
        format!(" was {}", edit.from),
    ];
    let since = since.into_iter().find(|since| used + width(since) <= room).unwrap_or_default();
    let mut spans = vec![Span::styled(value, theme.text.patch(theme.accent))];
    if used <= room {
        spans.push(Span::styled(mark, theme.marker));
        spans.push(Span::styled(since, theme.dim));
    }
    spans
}

/// The part of what is typed around the cursor.
fn visible(input: &Input, columns: usize) -> String {
    let scroll = input.visual_scroll(columns.saturating_sub(1));
    input.value().chars().skip(scroll).collect()
}

impl Pane for Settings {
    fn title(&self, lab: &LabState) -> String {
        let changes = match lab.history.edits.len() {
            0 => None,
            1 => Some("1 change".to_owned()),
            changes => Some(format!("{changes} changes")),
        };
        let taught = lab.run.as_ref().and_then(|run| run.config.taught_by());
        changes.into_iter().chain(taught).collect::<Vec<_>>().join(", ")
    }

    fn help(&self) -> &'static str {
        "The hyperparameters. Each can be changed while training goes on and holds from the next batch: left and right walk \
         through sensible values, Enter types one. A changed setting shows what it was and until which step; the curves mark \
         the same step. The learning rate decides most: where it is too high, the loss jumps about or is no number, and where it \
         is too low, it hardly falls. Dropout, weight decay and augmentation keep a network from learning by heart. The lines \
         below say what the selected setting does, or why a value was refused."
    }

    fn render(&self, context: &Context, area: Rect, buffer: &mut Buffer) {
        if area.is_empty() {
            return;
        }
        let [list, doc] = self.parts(area);
        let offset = self.offset(list.height);
        for (row, number) in list.rows().zip(offset..self.followed.len()) {
            self.line(context, number, usize::from(row.width)).render(row, buffer);
        }
        let (text, style) = self.doc(context.theme);
        let lines = wrap(&text, usize::from(doc.width.saturating_sub(2)));
        let lines: Vec<Line> = lines.into_iter().map(|line| Line::from(format!("  {line}"))).collect();
        let above = doc.height.saturating_sub(lines.len() as u16);
        let doc = Rect { y: doc.y + above, height: doc.height - above, ..doc };
        Paragraph::new(lines).style(style).render(doc, buffer);
    }

    fn handle(&mut self, action: Action, lab: &LabState) -> Option<Vec<Effect>> {
        match action {
            Action::Up => self.select(self.selected.saturating_sub(1)),
            Action::Down => self.select(self.selected + 1),
            Action::Top | Action::PageUp => self.select(0),
            Action::Bottom | Action::PageDown => self.select(usize::MAX),
            Action::Left => return Some(self.nudge(false, lab)),
            Action::Right => return Some(self.nudge(true, lab)),
            Action::Enter => {
                self.editing = Some(Input::new(self.setting().get(self.latest(lab))));
                self.refused = None;
            }
            _ => return None,
        }
        Some(Vec::new())
    }

    fn key(&mut self, key: KeyEvent, lab: &LabState) -> Option<Vec<Effect>> {
        let input = self.editing.as_mut()?;
        match key.code {
            KeyCode::Enter => return Some(self.submit(lab)),
            KeyCode::Esc => {
                self.editing = None;
                self.refused = None;
            }
            KeyCode::Tab | KeyCode::BackTab => {
                self.editing = None;
                return None;
            }
            KeyCode::Up | KeyCode::Down => {
                let down = key.code == KeyCode::Down;
                self.select(if down { self.selected + 1 } else { self.selected.saturating_sub(1) });
            }
            _ => {
                input.handle_event(&Event::Key(key));
                self.refused = None;
            }
        }
        Some(Vec::new())
    }

    fn paste(&mut self, text: &str) {
        let Some(input) = &mut self.editing else { return };
        for c in text.chars().filter(|c| !c.is_control()) {
            input.handle(tui_input::InputRequest::InsertChar(c));
        }
    }

    fn cursor(&self, area: Rect) -> Option<Position> {
        let input = self.editing.as_ref()?;
        let [list, _] = self.parts(area);
        let room = usize::from(list.width.saturating_sub(NAMES));
        let column = input.visual_cursor() - input.visual_scroll(room.saturating_sub(1));
        let line = self.selected - self.offset(list.height);
        let position = Position::new(list.x + NAMES + column as u16, list.y + line as u16);
        list.contains(position).then_some(position)
    }

    fn click(&mut self, position: Position, area: Rect, lab: &LabState) -> Vec<Effect> {
        let [list, _] = self.parts(area);
        if !list.contains(position) {
            return Vec::new();
        }
        let line = self.offset(list.height) + usize::from(position.y - list.y);
        if line == self.selected && position.x >= list.x + NAMES && self.editing.is_none() {
            return self.handle(Action::Enter, lab).unwrap_or_default();
        }
        self.select(line);
        Vec::new()
    }

    fn changed(&mut self, lab: &LabState) {
        let selected = self.setting();
        self.followed = Setting::followed(lab.run.as_ref().is_some_and(|run| run.config.teacher.is_some()));
        match self.followed.iter().position(|setting| *setting == selected) {
            Some(line) => self.selected = line,
            None => self.leave(),
        }
        // The lab publishes what it did before it answers: after the last answer the state knows of all of it.
        if self.answers == 0 {
            self.asked = None;
        }
    }
}
