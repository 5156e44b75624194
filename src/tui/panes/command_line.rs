//! The command line: what is typed, what it was answered.

mod completion;
mod transcript;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use tui_input::backend::crossterm::EventHandler;
use tui_input::{Input, InputRequest};

use super::{Context, Pane};
use crate::command::Command;
use crate::error::Error;
use crate::reply::Reply;
use crate::state::LabState;
use crate::tui::format::shorten;
use crate::tui::keymap::Action;
use crate::tui::message::{Effect, Origin};
use completion::Completion;
use transcript::Transcript;

/// Columns of the prompt.
const PROMPT: u16 = 2;

/// What stands under the prompt before anything was typed.
const EXAMPLES: [(&str, &str); 6] = [
    ("tour", "a walk through a first run"),
    ("train 5", "five more epochs"),
    ("set lr 3e-4", "while it trains"),
    ("predict 42", "a test digit, or an image file"),
    ("find true=4 pred=9", "these mistakes, to walk through with n and p"),
    ("help", "all commands"),
];

/// The command line pane.
#[derive(Debug, Default)]
pub struct CommandLine {
    input: Input,
    transcript: Transcript,
    /// Which of the earlier lines is shown, and what was typed before going back to it.
    recalled: Option<(usize, String)>,
    completion: Option<Completion>,
    /// Names of the saved sessions, for completion.
    sessions: Vec<String>,
}

impl CommandLine {
    /// The answer to entry `number`.
    pub fn answer(&mut self, number: usize, result: &Result<Reply, Error>) {
        self.transcript.answer(number, result.as_ref().map(ToString::to_string).map_err(ToString::to_string));
    }

    /// The sessions there are.
    pub fn set_sessions(&mut self, names: Vec<String>) {
        self.sessions = names;
    }

    /// The pane is drawn into `area`.
    pub fn place(&mut self, area: Rect) {
        self.transcript.fit(usize::from(area.width), usize::from(area.height.saturating_sub(1)));
    }

    /// Begins a line for the person to go on with.
    pub fn prompt(&mut self, line: String) {
        self.edit(line);
        self.completion = None;
    }

    /// Forgets what is typed; `false` if nothing was.
    pub fn clear(&mut self) -> bool {
        let typed = !self.input.value().is_empty();
        self.prompt(String::new());
        typed
    }

    fn edit(&mut self, line: String) {
        self.input = Input::new(line);
        self.recalled = None;
    }

    fn submit(&mut self) -> Vec<Effect> {
        let line = self.input.value_and_reset();
        self.recalled = None;
        self.completion = None;
        self.run(&line)
    }

    /// Runs a line, and leaves alone what is being typed.
    pub fn run(&mut self, line: &str) -> Vec<Effect> {
        let command = match Command::parse(line) {
            Ok(None) => return Vec::new(),
            Ok(Some(command)) => command,
            Err(error) => {
                let number = self.transcript.ask(line);
                self.transcript.answer(number, Err(error.to_string()));
                return Vec::new();
            }
        };
        let number = self.transcript.ask(line);
        match command {
            Command::Quit => vec![Effect::Quit],
            Command::Tour => {
                self.transcript.answer(number, Ok(String::new()));
                vec![Effect::Tour]
            }
            Command::Help { command: None } => {
                self.transcript.answer(number, Ok(String::new()));
                vec![Effect::Help]
            }
            command => vec![Effect::Ask(command, Origin::CommandLine(number))],
        }
    }

    /// Goes through the earlier lines that begin with what was typed.
    fn recall(&mut self, back: bool) {
        self.completion = None;
        let lines = self.transcript.lines();
        let (at, draft) = match self.recalled.take() {
            Some((at, draft)) => (at, draft),
            None => (lines.len(), self.input.value().to_owned()),
        };
        let mut fits = (0..lines.len()).filter(|&i| lines[i].starts_with(&draft) && lines[i] != self.input.value());
        let next = if back { fits.rfind(|&i| i < at) } else { fits.find(|&i| i > at) };
        match next {
            Some(next) => {
                self.edit(lines[next].clone());
                self.recalled = Some((next, draft));
            }
            None if back => self.recalled = Some((at, draft)).filter(|(at, _)| *at < lines.len()),
            None => self.edit(draft),
        }
    }

    fn complete(&mut self, back: bool) -> Vec<Effect> {
        match &mut self.completion {
            Some(completion) => completion.next(back),
            None => self.completion = Completion::of(Command::completions(self.input.value(), &self.sessions)),
        }
        let Some(completion) = &self.completion else { return Vec::new() };
        let line = completion.line().to_owned();
        if completion.is_unique() {
            return self.accept(line);
        }
        self.edit(line);
        Vec::new()
    }

    /// Goes on behind a completed line: after a space, unless a value belongs right there.
    fn accept(&mut self, line: String) -> Vec<Effect> {
        self.completion = None;
        let word_is_whole = !line.ends_with(['=', '>', '<']);
        self.edit(if word_is_whole { line + " " } else { line });
        self.sessions_wanted()
    }

    /// Asks for the names of the sessions where one may begin.
    fn sessions_wanted(&self) -> Vec<Effect> {
        let line = self.input.value();
        let wanted = line.ends_with(' ') && Command::takes_session(line);
        if wanted { vec![Effect::ListSessions] } else { Vec::new() }
    }

    fn prompt_line<'a>(&'a self, context: &Context<'a>, columns: usize) -> Line<'a> {
        let room = columns.saturating_sub(usize::from(PROMPT));
        let typed = self.input.value();
        if typed.is_empty() && !context.focused {
            let hint = shorten("press : to type a command", room, context.theme.symbols().ellipsis);
            return Line::from(vec![Span::styled("> ", context.theme.dim), Span::styled(hint, context.theme.dim)]);
        }
        let scroll = self.input.visual_scroll(room.saturating_sub(1));
        let shown: String = typed.chars().skip(scroll).collect();
        Line::from(vec![Span::styled("> ", context.theme.accent), Span::raw(shown)])
    }

    /// The transcript and the line below it: the prompt follows the last answer until the pane is full.
    fn parts(&self, area: Rect) -> [Rect; 2] {
        let room = area.height.saturating_sub(1);
        let above = self.transcript.height(usize::from(area.width), usize::from(room)) as u16;
        Layout::vertical([Constraint::Length(above), Constraint::Length(1)]).areas(area)
    }
}

impl Pane for CommandLine {
    fn title(&self, _lab: &LabState) -> String {
        match self.transcript.back() {
            0 => String::new(),
            lines => format!("{lines} more lines below"),
        }
    }

    fn help(&self) -> &'static str {
        "Type what the lab is to do: `train 5`, `set lr 3e-4`, `predict 42`, `predict digit.png`, `find true=4 pred=9`, \
         `save NAME`. Tab completes, Up and Down recall earlier lines, PgUp and PgDn scroll through the answers, Ctrl-U clears \
         the line, Esc leads back. Training goes on meanwhile."
    }

    fn render(&self, context: &Context, area: Rect, buffer: &mut Buffer) {
        if area.is_empty() {
            return;
        }
        let [above, prompt] = self.parts(area);
        self.transcript.render(context.theme, above, buffer);
        self.prompt_line(context, usize::from(prompt.width)).render(prompt, buffer);
        if self.transcript.lines().is_empty() && self.completion.is_none() {
            let below = area.rows().skip_while(|row| row.y <= prompt.y);
            for (row, (line, does)) in below.zip(EXAMPLES) {
                let text = format!("  {line:<20} {does}");
                Line::styled(
                    shorten(&text, usize::from(row.width), context.theme.symbols().ellipsis),
                    context.theme.dim,
                )
                .render(row, buffer);
            }
        }
        if let Some(completion) = self.completion.as_ref().filter(|_| context.focused) {
            completion.render(context.theme, area, prompt.y, buffer);
        }
    }

    fn footnote(&self, _lab: &LabState) -> String {
        let line = self.input.value();
        match Command::doc(line) {
            Some(doc) => doc,
            None if Command::is_unknown(line) => "no such command: `help` lists them".into(),
            None => String::new(),
        }
    }

    fn handle(&mut self, action: Action, _lab: &LabState) -> Option<Vec<Effect>> {
        match action {
            Action::Up => self.transcript.scroll(1),
            Action::Down => self.transcript.scroll(-1),
            _ => return None,
        }
        Some(Vec::new())
    }

    fn key(&mut self, key: KeyEvent, _lab: &LabState) -> Option<Vec<Effect>> {
        match key.code {
            KeyCode::Tab if !self.input.value().is_empty() => return Some(self.complete(false)),
            KeyCode::BackTab if self.completion.is_some() => return Some(self.complete(true)),
            KeyCode::Enter => {
                return Some(match self.completion.take() {
                    Some(completion) => self.accept(completion.line().to_owned()),
                    None => self.submit(),
                });
            }
            KeyCode::Esc if self.completion.is_some() => self.completion = None,
            KeyCode::Up => self.recall(true),
            KeyCode::Down => self.recall(false),
            KeyCode::Char('p') if key.modifiers == KeyModifiers::CONTROL => self.recall(true),
            KeyCode::Char('n') if key.modifiers == KeyModifiers::CONTROL => self.recall(false),
            KeyCode::PageUp => self.transcript.scroll(5),
            KeyCode::PageDown => self.transcript.scroll(-5),
            // No command begins with one, so that it can mean here what it means everywhere.
            KeyCode::Char('?') if self.input.value().is_empty() => return None,
            KeyCode::Tab | KeyCode::BackTab | KeyCode::Esc | KeyCode::F(_) => return None,
            _ => {
                self.input.handle_event(&Event::Key(key));
                self.completion = None;
                self.recalled = None;
                return Some(self.sessions_wanted());
            }
        }
        Some(Vec::new())
    }

    fn paste(&mut self, text: &str) {
        // A pasted script would run line by line before anyone has read it: its lines are joined instead.
        for c in text.trim_end().chars() {
            self.input.handle(InputRequest::InsertChar(if c.is_control() { ' ' } else { c }));
        }
        self.completion = None;
        self.recalled = None;
    }

    fn cursor(&self, area: Rect) -> Option<Position> {
        let [_, prompt] = self.parts(area);
        let room = usize::from(prompt.width.saturating_sub(PROMPT + 1));
        let column = self.input.visual_cursor() - self.input.visual_scroll(room);
        let position = Position::new(prompt.x + PROMPT + column as u16, prompt.y);
        area.contains(position).then_some(position)
    }

    fn scroll(&mut self, lines: i32, _lab: &LabState) -> Vec<Effect> {
        self.transcript.scroll(-lines as isize);
        Vec::new()
    }
}
