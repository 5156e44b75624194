//! The corruptions of MNIST-C: the shown digit through all fifteen, and what the network says of each.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::enquiry::Enquiry;
use crate::command::Command;
use crate::data::Image;
use crate::data::corrupt::{Corruption, Kind, SEVERITY};
use crate::error::Error;
use crate::metrics::argmax;
use crate::reply::Reply;
use crate::state::{DigitSource, LabState};
use crate::tui::format::{percent, shorten, width};
use crate::tui::keymap::Action;
use crate::tui::message::Effect;
use crate::tui::panes::Context;
use crate::tui::theme::Glyphs;

/// What the page shows and how to use it.
pub const HELP: &str = "The shown digit through the fifteen corruptions of MNIST-C, and beside each what the network says of it, \
     right or wrong, with its confidence; while it trains, they follow the weights. A digit without a label counts as right \
     where it is taken for what it was before. Left and Right change the severity from 1 to 5, `n` and `p` take \
     the next digit of the list, `predict` any. Each picture is the one that `eval --corrupt` measures. Enter measures the whole \
     test set through each kind: the table stands in the command line, where F2 and PgUp show all of it. `a` goes to the \
     augmentation studio, Esc back to the digit.";

/// Numbers of columns that fill their rows well.
const COLUMNS: [u16; 5] = [3, 4, 5, 8, 15];
/// Columns that a verdict wants beside its picture: `9 ✗` over `100%`.
const VERDICT: u16 = 4;
/// From this height on there is a line for the digit as it is.
const HEADING: u16 = 16;

/// The page, which remembers its severity while something else is shown.
#[derive(Debug)]
pub struct Corruptions {
    severity: u8,
    /// What is shown, made when it changes and not for each frame.
    shown: Option<Shown>,
    enquiry: Enquiry,
    /// How often something else was shown, which names the pictures of a question.
    shows: u64,
}

/// A digit through all corruptions.
#[derive(Debug)]
struct Shown {
    subject: Subject,
    severity: u8,
    /// As it is, then through each kind.
    images: Vec<Image>,
}

/// The digit that is corrupted.
#[derive(Clone, Debug, PartialEq)]
struct Subject {
    source: DigitSource,
    image: Box<Image>,
    label: Option<u8>,
}

impl Default for Corruptions {
    fn default() -> Self {
        Self { severity: SEVERITY, shown: None, enquiry: Enquiry::default(), shows: 0 }
    }
}

impl Subject {
    /// The digit that was asked for last, else the first of the test set.
    fn of(lab: &LabState) -> Option<Self> {
        if let Some(digit) = &lab.digit {
            return Some(Self { source: digit.source.clone(), image: digit.image.clone(), label: digit.label });
        }
        let test = lab.dataset.as_ref().map(|dataset| &dataset.test).filter(|test| !test.is_empty())?;
        Some(Self { source: DigitSource::Test(0), image: Box::new(*test.image(0)), label: Some(test.label(0)) })
    }

    fn through_all(&self, severity: u8) -> Vec<Image> {
        let index = if let DigitSource::Test(index) = self.source { index as usize } else { 0 };
        let corrupted = Corruption::each(severity).unwrap_or_default();
        let corrupted = corrupted.into_iter().map(|corruption| corruption.apply(&self.image, index));
        std::iter::once(*self.image).chain(corrupted).collect()
    }
}

impl Corruptions {
    /// Makes the pictures if the digit or the severity is another, and says what the network is to be asked.
    pub fn refresh(&mut self, lab: &LabState) -> Option<Command> {
        let subject = Subject::of(lab)?;
        let same = |shown: &Shown| shown.severity == self.severity && shown.subject == subject;
        if !self.shown.as_ref().is_some_and(same) {
            let images = subject.through_all(self.severity);
            self.shown = Some(Shown { subject, severity: self.severity, images });
            self.shows += 1;
        }
        let shown = self.shown.as_ref()?;
        self.enquiry.ask(self.shows, || shown.images.clone(), lab)
    }

    /// The network answered.
    pub fn answer(&mut self, result: Result<Reply, Error>) {
        self.enquiry.answer(result);
    }

    /// What the network says of the picture `number`: class, probability.
    fn verdict(&self, number: usize) -> Option<(u8, f32)> {
        let (show, said) = self.enquiry.said()?;
        let probabilities = said.ok()?.probabilities.get(number).filter(|_| show == self.shows)?;
        let class = argmax(probabilities);
        Some((class, probabilities[usize::from(class)]))
    }

    /// The class that is right.
    fn truth(&self) -> Option<u8> {
        let label = self.shown.as_ref()?.subject.label;
        label.or_else(|| self.verdict(0).map(|(class, _)| class))
    }

    /// What stands on the frame.
    pub fn title(&self) -> String {
        let Some(shown) = &self.shown else { return String::new() };
        let truth = self.truth();
        let classes: Vec<u8> =
            (1..shown.images.len()).filter_map(|number| self.verdict(number)).map(|(class, _)| class).collect();
        let right = classes.iter().filter(|class| Some(**class) == truth).count();
        let right = if classes.is_empty() { String::new() } else { format!(": {right} of {} right", classes.len()) };
        format!("{} corrupted, severity {}{right}", shown.subject.source, shown.severity)
    }

    /// What a key does; `None` if it means nothing here.
    pub fn handle(&mut self, action: Action) -> Option<Vec<Effect>> {
        match action {
            Action::Right | Action::Up => self.severity = (self.severity + 1).min(5),
            Action::Left | Action::Down => self.severity = (self.severity - 1).max(1),
            Action::NextDigit => return Some(Effect::ask(Command::Next { list: None })),
            Action::PreviousDigit => return Some(Effect::ask(Command::Prev { list: None })),
            Action::Enter => return Some(vec![Effect::Run(format!("eval --corrupt all:{}", self.severity))]),
            _ => return None,
        }
        Some(Vec::new())
    }

    /// Draws the page.
    pub fn render(&self, context: &Context, area: Rect, buffer: &mut Buffer) {
        let theme = context.theme;
        let Some(shown) = &self.shown else {
            let text = "a digit is needed: `predict 42` shows one";
            buffer.set_stringn(area.x, area.y, text, usize::from(area.width), theme.dim);
            return;
        };
        let lines = u16::from(area.height >= HEADING);
        if lines > 0 {
            let (text, style) = self.heading(context, shown);
            buffer.set_stringn(area.x, area.y, text, usize::from(area.width), style);
        }
        let area = Rect { y: area.y + lines, height: area.height - lines, ..area };
        let [columns, wide, tall] = grid(area);
        for (number, kind) in Kind::ALL.into_iter().enumerate().take(shown.images.len().saturating_sub(1)) {
            let (row, column) = (number as u16 / columns, number as u16 % columns);
            let cell = Rect { x: area.x + column * wide, y: area.y + row * tall, width: wide, height: tall };
            self.cell(context, kind, number + 1, cell.intersection(area), buffer);
        }
    }

    /// `as it is: 9 at 99.12 %, label 8`
    fn heading(&self, context: &Context, shown: &Shown) -> (String, Style) {
        let said = self.verdict(0).map_or_else(
            || context.theme.symbols().ellipsis.to_owned(),
            |(class, share)| format!("{} at {}", context.class_name(class), percent(f64::from(share))),
        );
        let label =
            shown.subject.label.map_or_else(String::new, |label| format!(", label {}", context.class_name(label)));
        (format!("as it is: {said}{label}"), self.style(context, 0))
    }

    /// How what is said of picture `number` looks.
    fn style(&self, context: &Context, number: usize) -> Style {
        match self.verdict(number) {
            Some((class, _)) if Some(class) == self.truth() => context.theme.good,
            Some(_) => context.theme.bad,
            None => context.theme.dim,
        }
    }

    /// A picture, to its right the verdict, its name below.
    fn cell(&self, context: &Context, kind: Kind, number: usize, cell: Rect, buffer: &mut Buffer) {
        let Some(image) = self.shown.as_ref().and_then(|shown| shown.images.get(number)) else { return };
        if cell.height == 0 {
            return;
        }
        let (theme, lines) = (context.theme, cell.height - 1);
        let columns = cell.width.saturating_sub(VERDICT + 1);
        let picture = Rect { width: columns, height: lines, ..cell };
        let drawn = context.graphics.blocks(image, theme, picture, buffer);
        let style = self.style(context, number);
        let x = drawn.right() + 1;
        let room = usize::from(cell.right().saturating_sub(x));
        if let Some((class, share)) = self.verdict(number) {
            let mark = match (theme.glyphs, Some(class) == self.truth()) {
                (Glyphs::Unicode, true) => "✓",
                (Glyphs::Unicode, false) => "✗",
                (Glyphs::Ascii, true) => "ok",
                (Glyphs::Ascii, false) => "no",
            };
            let long = format!("{} {mark}", context.class_name(class));
            let class = if width(&long) < room { long } else { format!("{class} {mark}") };
            let long = percent(f64::from(share));
            let share = if width(&long) < room { long } else { format!("{:.0}%", f64::from(share) * 100.0) };
            for (row, text) in picture.rows().zip([class, share]) {
                buffer.set_stringn(x, row.y, text, room, style);
            }
        }
        let room = usize::from(cell.width.saturating_sub(1));
        let caption = shorten(kind.name(), room, theme.symbols().ellipsis);
        buffer.set_stringn(cell.x, cell.bottom() - 1, caption, room, theme.dim);
    }
}

/// How many columns, and how wide and tall a cell is, so that pictures are as large as they can be.
fn grid(area: Rect) -> [u16; 3] {
    let count = Kind::ALL.len() as u16;
    let cell = |columns: u16| [columns, area.width / columns, area.height / count.div_ceil(columns)];
    let side = |[_, wide, tall]: [u16; 3]| wide.saturating_sub(VERDICT + 1).min(2 * tall.saturating_sub(1));
    COLUMNS.map(cell).into_iter().max_by_key(|cell| side(*cell)).unwrap_or([1, area.width, 1])
}

#[cfg(test)]
mod tests;
