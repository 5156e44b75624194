//! The digits pane: one digit and what the network says of it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::{Context, Pane};
use crate::command::Command;
use crate::data::CLASSES;
use crate::state::{DigitView, LabState};
use crate::tui::format::{loss, percent};
use crate::tui::keymap::Action;
use crate::tui::message::Effect;

/// Columns that the probabilities want to the right of the image.
const BARS: u16 = 18;

/// The digits pane.
#[derive(Debug, Default)]
pub struct Digits {}

/// The figures beside the image: verdict, bars by class, loss, doubts.
fn lines(context: &Context, digit: &DigitView, columns: usize) -> Vec<(String, Style)> {
    let (theme, symbols) = (context.theme, context.theme.symbols());
    let wrong = digit.label.is_some_and(|label| label != digit.predicted);
    let label = digit.label.map_or_else(String::new, |label| format!(", label {label}"));
    let verdict = if wrong { theme.bad } else { theme.good };
    let mut lines = vec![(format!("predicted {}{label}", digit.predicted), verdict)];
    for class in 0..CLASSES {
        let probability = f64::from(digit.probabilities[class]);
        let room = columns.saturating_sub(11).min(40);
        let bar = symbols.full.repeat((probability.clamp(0.0, 1.0) * room as f64).round() as usize);
        let style = if class == usize::from(digit.predicted) { verdict } else { theme.dim };
        lines.push((format!("{class} {:>8} {bar}", percent(probability)), style));
    }
    lines.extend(digit.loss.map(|value| (format!("loss {}", loss(value.into())), theme.text)));
    lines.extend(digit.doubtful.then(|| ("label in doubt".into(), theme.warning)));
    lines.extend(digit.preprocess.clone().map(|text| (text, theme.dim)));
    lines
}

impl Pane for Digits {
    fn title(&self, lab: &LabState) -> String {
        let Some(digit) = &lab.digit else { return String::new() };
        match (&lab.list, digit.place) {
            (Some(list), Some((place, of))) => format!("{} {} {place}/{of}", digit.source, list.title),
            _ => digit.source.to_string(),
        }
    }

    fn help(&self) -> &'static str {
        "A digit, the probability of each class, and the loss against its label."
    }

    fn render(&self, context: &Context, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        if area.is_empty() {
            return;
        }
        let Some(digit) = &context.lab.digit else {
            let text = "e shows the next misclassified digit; `predict 42` any";
            buffer.set_stringn(area.x, area.y, text, usize::from(area.width), context.theme.dim);
            return;
        };
        let room = Rect { width: area.width.saturating_sub(BARS), ..area };
        let image = context.graphics.digit(&digit.image, context.theme, room, buffer);
        let left = (image.width + 2).min(area.width);
        let columns = usize::from(area.width - left);
        for (row, (text, style)) in area.rows().zip(lines(context, digit, columns)) {
            buffer.set_stringn(row.x + left, row.y, text, columns, style);
        }
    }

    fn handle(&mut self, action: Action, _lab: &LabState) -> Option<Vec<Effect>> {
        match action {
            Action::NextDigit | Action::Enter => Some(Effect::ask(Command::Next { list: None })),
            Action::PreviousDigit => Some(Effect::ask(Command::Prev { list: None })),
            _ => None,
        }
    }
}
