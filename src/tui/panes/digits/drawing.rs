//! A digit drawn by hand: pen and paper, and the questions to the network that follow every stroke.

use crossterm::event::{KeyCode, KeyEvent, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::canvas::{Canvas, Point, Tool};
use super::enquiry::Enquiry;
use super::sheet::Sheet;
use crate::command::{Command, Keep};
use crate::data::picture::{self, Preprocess, Preprocessed};
use crate::data::{Image, SIDE};
use crate::error::Error;
use crate::metrics::argmax;
use crate::reply::{Classified, Reply};
use crate::state::{DigitSource, DigitView, LabState};
use crate::tui::keymap::Action;
use crate::tui::message::Effect;

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
    enquiry: Enquiry,
    /// How often the drawing became another, which names its picture in a question.
    changes: u64,
    /// The change after which the paper was last empty: what was said of the drawing before that is of no use any more.
    begun: u64,
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
            enquiry: Enquiry::default(),
            changes: 0,
            begun: 0,
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
        let (Seen::Picture(picture), Some(Ok(said))) = (&self.seen, self.said()) else { return None };
        let probabilities = *said.probabilities.first()?;
        Some(DigitView {
            source: DigitSource::Drawing("new".into()),
            image: Box::new(picture.image),
            label: None,
            predicted: argmax(&probabilities),
            probabilities,
            loss: None,
            doubtful: false,
            step: said.step,
            place: None,
            preprocess: None,
            past: Vec::new(),
            explanation: None,
            neighbours: Vec::new(),
        })
    }

    /// Why the network said nothing.
    pub fn refusal(&self) -> Option<&str> {
        self.said()?.err()
    }

    /// What was said last of this drawing or, better than nothing, of how it was some strokes ago.
    fn said(&self) -> Option<Result<&Classified, &str>> {
        self.enquiry.said().filter(|(changes, _)| *changes > self.begun).map(|(_, said)| said)
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
            Action::Left => self.go([-1.0, 0.0]),
            Action::Right => self.go([1.0, 0.0]),
            Action::Up => self.go([0.0, -1.0]),
            Action::Down => self.go([0.0, 1.0]),
            Action::Pen => self.put(Tool::Pen),
            Action::Eraser => self.put(Tool::Eraser),
            Action::Undo => {
                self.pen = Pen::Up;
                self.canvas.undo();
                self.changed();
            }
            Action::Clear => {
                self.pen = Pen::Up;
                self.canvas.clear();
                self.changed();
            }
            Action::SaveDrawing => return Some(vec![Effect::Prompt("draw save ".into())]),
            Action::Keep => self.label = Label::Wanted,
            _ => return None,
        }
        Some(Vec::new())
    }

    /// Moves the cursor, which draws on its way if the pen is down.
    fn go(&mut self, step: Point) {
        let from = self.cursor;
        let last = SIDE as f32 - 0.5;
        self.cursor = [(from[0] + step[0]).clamp(0.5, last), (from[1] + step[1]).clamp(0.5, last)];
        if let Pen::Down(tool) = self.pen {
            self.line(tool, from, self.cursor);
        }
    }

    /// Puts a tool down where the cursor is, or lifts it.
    fn put(&mut self, tool: Tool) {
        if self.pen == Pen::Down(tool) {
            self.pen = Pen::Up;
            return;
        }
        self.pen = Pen::Down(tool);
        self.canvas.begin();
        self.line(tool, self.cursor, self.cursor);
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

    /// What the mouse does in `area`: the left button draws, the right one erases. Whether it is a part of a stroke.
    pub fn drag(&mut self, event: MouseEvent, area: Rect) -> bool {
        let sheet = Sheet::new(area);
        let position = Position::new(event.column, event.row);
        let point = sheet.point(position);
        match (event.kind, self.stroke) {
            (MouseEventKind::Down(button), _) => {
                self.stroke = None;
                let tool = match button {
                    MouseButton::Left => Tool::Pen,
                    MouseButton::Right => Tool::Eraser,
                    MouseButton::Middle => return false,
                };
                if !sheet.paper.contains(position) {
                    return false;
                }
                (self.pen, self.label, self.stroke) = (Pen::Up, Label::Known, Some((tool, point)));
                self.canvas.begin();
                self.stroke_to(tool, point, point);
            }
            (MouseEventKind::Drag(_), Some((tool, from))) => {
                self.stroke = Some((tool, point));
                self.stroke_to(tool, from, point);
            }
            (MouseEventKind::Up(_), Some(_)) => self.stroke = None,
            _ => return false,
        }
        true
    }

    fn stroke_to(&mut self, tool: Tool, from: Point, to: Point) {
        let last = SIDE as f32 - 0.5;
        self.cursor = to.map(|place| place.clamp(0.5, last));
        self.line(tool, from, to);
    }

    fn line(&mut self, tool: Tool, from: Point, to: Point) {
        if self.canvas.line(tool, from, to) {
            self.changed();
        }
    }

    /// The drawing is another: the network has to look again.
    fn changed(&mut self) {
        self.changes += 1;
        self.seen = match picture::from_pixels(self.canvas.image(), Preprocess::Auto) {
            Ok(picture) if !self.canvas.is_blank() => Seen::Picture(Box::new(picture)),
            _ => Seen::Nothing,
        };
        if matches!(self.seen, Seen::Nothing) {
            self.begun = self.changes;
        }
    }

    /// What the network is to be asked: of what it sees now, with the weights that it has now.
    pub fn refresh(&mut self, lab: &LabState) -> Option<Command> {
        let Seen::Picture(picture) = &self.seen else { return None };
        self.enquiry.ask(self.changes, || vec![picture.image], lab)
    }

    /// The network answered.
    pub fn answer(&mut self, result: Result<Reply, Error>) {
        self.enquiry.answer(result);
    }
}

#[cfg(test)]
mod tests;
