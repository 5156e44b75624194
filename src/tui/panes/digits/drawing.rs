//! A digit drawn by hand: pen and paper, and the questions to the network that follow every stroke.

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::canvas::{Canvas, Point, Tool};
use super::sheet::Sheet;
use crate::command::{Command, Depth, Keep};
use crate::data::picture::{self, Preprocess, Preprocessed};
use crate::data::{CLASSES, Image, SIDE};
use crate::error::Error;
use crate::metrics::argmax;
use crate::reply::Reply;
use crate::state::{DigitSource, DigitView, LabState, RunInfo};
use crate::tui::keymap::Action;
use crate::tui::message::{Effect, Origin};

/// A drawing and what is known of it.
#[derive(Debug)]
pub struct Drawing {
    canvas: Canvas,
    /// Where the keys' cursor is.
    cursor: Point,
    /// What the keys' cursor does when it moves.
    pen: Pen,
    /// The mouse's stroke that goes on: its tool and its last point.
    stroke: Option<(Tool, Point)>,
    seen: Seen,
    question: Question,
    answer: Answer,
    /// The run whose network was asked.
    run: Option<Arc<RunInfo>>,
    label: Label,
}

/// Whether the keys draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pen {
    Up,
    Down(Tool),
}

/// What the network sees of the drawing.
#[derive(Debug)]
pub enum Seen {
    /// Nothing, or too little to tell.
    Nothing,
    /// This picture.
    Picture(Box<Preprocessed>),
}

/// Whether the network is being asked. Only one question is under way at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    None,
    /// The newest drawing was asked for.
    Asked,
    /// An older one was; the newest is the next.
    Outdated,
}

/// What the network said last.
#[derive(Debug)]
enum Answer {
    None,
    Probabilities([f32; CLASSES], u64),
    Refused(String),
}

/// Whether the next key is the digit that the drawing is meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    Known,
    Wanted,
}

impl Default for Drawing {
    fn default() -> Self {
        Self {
            canvas: Canvas::default(),
            cursor: [SIDE as f32 / 2.0 + 0.5, 4.5],
            pen: Pen::Up,
            stroke: None,
            seen: Seen::Nothing,
            question: Question::None,
            answer: Answer::None,
            run: None,
            label: Label::Known,
        }
    }
}

impl Drawing {
    /// What is drawn.
    pub fn image(&self) -> &Image {
        self.canvas.image()
    }

    /// Where the keys' cursor is.
    pub const fn cursor(&self) -> Point {
        self.cursor
    }

    /// What stands for the cursor.
    pub const fn mark(&self) -> &'static str {
        match self.pen {
            Pen::Up => "+",
            Pen::Down(Tool::Pen) => "*",
            Pen::Down(Tool::Eraser) => "x",
        }
    }

    /// What the network sees.
    pub const fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The drawing and what the network says of it, as of a digit.
    pub fn digit(&self) -> Option<DigitView> {
        let (Seen::Picture(picture), &Answer::Probabilities(probabilities, step)) = (&self.seen, &self.answer) else {
            return None;
        };
        Some(DigitView {
            source: DigitSource::Drawing("new".into()),
            image: Box::new(picture.image),
            label: None,
            predicted: argmax(&probabilities),
            probabilities,
            loss: None,
            doubtful: false,
            step,
            place: None,
            preprocess: None,
            past: Vec::new(),
            explanation: None,
        })
    }

    /// Why the network said nothing.
    pub fn refusal(&self) -> Option<&str> {
        match &self.answer {
            Answer::Refused(sentence) => Some(sentence),
            _ => None,
        }
    }

    /// The state of the pen in a few words.
    pub const fn title(&self) -> &'static str {
        match (self.label, self.pen) {
            (Label::Wanted, _) => "which digit is it? 0 to 9, Esc",
            (_, Pen::Up) => "draw, pen up",
            (_, Pen::Down(Tool::Pen)) => "draw, pen down",
            (_, Pen::Down(Tool::Eraser)) => "draw, erasing",
        }
    }

    /// What a key of the table does.
    pub fn handle(&mut self, action: Action) -> Option<Vec<Effect>> {
        match action {
            Action::Left => return Some(self.go([-1.0, 0.0])),
            Action::Right => return Some(self.go([1.0, 0.0])),
            Action::Up => return Some(self.go([0.0, -1.0])),
            Action::Down => return Some(self.go([0.0, 1.0])),
            Action::Pen => return Some(self.put(Tool::Pen)),
            Action::Eraser => return Some(self.put(Tool::Eraser)),
            Action::Undo => {
                self.pen = Pen::Up;
                self.canvas.undo();
            }
            Action::Clear => {
                self.pen = Pen::Up;
                self.canvas.clear();
            }
            Action::SaveDrawing => return Some(vec![Effect::Prompt("draw save ".into())]),
            Action::Keep => {
                self.label = Label::Wanted;
                return Some(Vec::new());
            }
            _ => return None,
        }
        Some(self.changed())
    }

    /// Moves the cursor, which draws on its way if the pen is down.
    fn go(&mut self, step: Point) -> Vec<Effect> {
        let from = self.cursor;
        let last = SIDE as f32 - 0.5;
        self.cursor = [(from[0] + step[0]).clamp(0.5, last), (from[1] + step[1]).clamp(0.5, last)];
        match self.pen {
            Pen::Down(tool) if self.canvas.line(tool, from, self.cursor) => self.changed(),
            _ => Vec::new(),
        }
    }

    /// Puts a tool down where the cursor is, or lifts it.
    fn put(&mut self, tool: Tool) -> Vec<Effect> {
        if self.pen == Pen::Down(tool) {
            self.pen = Pen::Up;
            return Vec::new();
        }
        self.pen = Pen::Down(tool);
        self.canvas.begin();
        if self.canvas.line(tool, self.cursor, self.cursor) { self.changed() } else { Vec::new() }
    }

    /// Takes the digit that was asked for after `+`.
    pub fn key(&mut self, key: KeyEvent) -> Option<Vec<Effect>> {
        if self.label == Label::Known {
            return None;
        }
        self.label = Label::Known;
        match key.code {
            KeyCode::Char(digit @ '0'..='9') => {
                Some(Effect::ask(Command::Draw { keep: Keep::Add, name: digit.into(), image: None }))
            }
            _ => Some(Vec::new()),
        }
    }

    /// What the mouse does in `area`: the left button draws, the right one erases; `None` if it is no part of a stroke.
    pub fn drag(&mut self, event: MouseEvent, area: Rect) -> Option<Vec<Effect>> {
        let sheet = Sheet::new(area);
        let position = Position::new(event.column, event.row);
        let point = sheet.point(position);
        match (event.kind, self.stroke) {
            (MouseEventKind::Down(button), _) => {
                self.stroke = None;
                let tool = match button {
                    MouseButton::Left => Tool::Pen,
                    MouseButton::Right => Tool::Eraser,
                    MouseButton::Middle => return None,
                };
                if !sheet.paper.contains(position) {
                    return None;
                }
                (self.pen, self.label, self.stroke) = (Pen::Up, Label::Known, Some((tool, point)));
                self.canvas.begin();
                Some(self.stroke_to(tool, point, point))
            }
            (MouseEventKind::Drag(_), Some((tool, from))) => {
                self.stroke = Some((tool, point));
                Some(self.stroke_to(tool, from, point))
            }
            (MouseEventKind::Up(_), Some(_)) => {
                self.stroke = None;
                Some(Vec::new())
            }
            _ => None,
        }
    }

    fn stroke_to(&mut self, tool: Tool, from: Point, to: Point) -> Vec<Effect> {
        let last = SIDE as f32 - 0.5;
        self.cursor = to.map(|place| place.clamp(0.5, last));
        if self.canvas.line(tool, from, to) { self.changed() } else { Vec::new() }
    }

    /// The drawing is another: the network has to look again.
    fn changed(&mut self) -> Vec<Effect> {
        self.seen = match picture::from_pixels(self.canvas.image(), Preprocess::Auto) {
            Ok(picture) if !self.canvas.is_blank() => Seen::Picture(Box::new(picture)),
            _ => Seen::Nothing,
        };
        if matches!(self.seen, Seen::Nothing) {
            self.answer = Answer::None;
        }
        self.ask()
    }

    /// Asks for what the network sees now: at once, or after the answer that is under way.
    pub fn ask(&mut self) -> Vec<Effect> {
        if self.question != Question::None {
            self.question = Question::Outdated;
            return Vec::new();
        }
        let Seen::Picture(picture) = &self.seen else { return Vec::new() };
        self.question = Question::Asked;
        let command = Command::Classify { images: vec![picture.image], depth: Depth::Classes };
        vec![Effect::Ask(command, Origin::Drawing)]
    }

    /// What came of the question; the next, if the drawing changed meanwhile.
    pub fn answered(&mut self, result: Result<Reply, Error>) -> Vec<Effect> {
        let outdated = self.question == Question::Outdated;
        self.question = Question::None;
        if !matches!(self.seen, Seen::Nothing) {
            match result {
                Ok(Reply::Classified(answer)) => {
                    if let Some(&probabilities) = answer.probabilities.first() {
                        self.answer = Answer::Probabilities(probabilities, answer.step);
                    }
                }
                Ok(_) => {}
                Err(error) => self.answer = Answer::Refused(error.to_string()),
            }
        }
        if outdated { self.ask() } else { Vec::new() }
    }

    /// Asks again if the network is another, or has learned since: what it said is out of date.
    pub fn watch(&mut self, lab: &LabState) -> Vec<Effect> {
        let same = match (&self.run, &lab.run) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (old, new) => old.is_none() && new.is_none(),
        };
        self.run.clone_from(&lab.run);
        match self.answer {
            Answer::Probabilities(_, step) if same && step == lab.progress.step => Vec::new(),
            Answer::Probabilities(..) | Answer::Refused(_) if self.question == Question::None || !same => self.ask(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
