//! The digits pane: one digit and what the network says of it, or what the augmentation makes of training digits.

use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::{Context, Pane};
use crate::command::Command;
use crate::data::CLASSES;
use crate::random::{Purpose, Stream};
use crate::state::{DigitView, LabState};
use crate::tui::format::{loss, percent, shorten, width};
use crate::tui::keymap::Action;
use crate::tui::message::Effect;

/// Columns that the probabilities want to the right of the image.
const BARS: u16 = 18;

/// Columns of a line with a probability, besides the class's name and the bar.
const BESIDE: usize = 10;

/// Columns and rows of a preview: half the pixels, so that several stand beside each other.
const PREVIEW: [u16; 2] = [14, 7];

/// The digits pane.
#[derive(Debug, Default)]
pub struct Digits {
    look: Look,
}

/// What the pane shows.
#[derive(Clone, Debug, Default)]
enum Look {
    /// The digit that was asked for last.
    #[default]
    Asked,
    /// Training digits and what the augmentation makes of them, until another digit is asked for.
    Augmented {
        /// Chooses other digits and draws.
        shuffle: u32,
        /// The digit that had been asked for last.
        asked: Option<Arc<DigitView>>,
    },
}

impl Look {
    /// Which previews to show, if any.
    fn shuffle(&self, lab: &LabState) -> Option<u32> {
        match self {
            Self::Augmented { shuffle, asked } if *asked == lab.digit => Some(*shuffle),
            _ => None,
        }
    }
}

/// Draws training digits in the first column and, beside each, random draws of the present augmentation.
fn preview(context: &Context, shuffle: u32, area: Rect, buffer: &mut Buffer) {
    let Some(images) = context.lab.dataset.as_ref().map(|dataset| &dataset.train) else { return };
    let augment = context.lab.settings.augment;
    let [columns, rows] = [area.width / (PREVIEW[0] + 1), area.height / PREVIEW[1]].map(|count| count.max(1));
    for row in 0..rows {
        let sample = (shuffle as usize * usize::from(rows) + usize::from(row)) % images.len().max(1);
        for column in 0..columns {
            let place = Rect {
                x: area.x + column * (PREVIEW[0] + 1),
                y: area.y + row * PREVIEW[1],
                width: PREVIEW[0],
                height: PREVIEW[1],
            };
            let mut image = *images.image(sample);
            if column > 0 {
                let draw = [u64::from(shuffle) << 16 | u64::from(column), sample as u64];
                augment.apply(images.image(sample), &mut Stream::new(0, Purpose::Augment, draw), &mut image);
            }
            context.graphics.blocks(&image, context.theme, place.intersection(area), buffer);
        }
    }
}

/// The figures beside the image: verdict, bars by class, loss, doubts.
fn lines(context: &Context, digit: &DigitView, columns: usize) -> Vec<(String, Style)> {
    let (theme, symbols) = (context.theme, context.theme.symbols());
    let wrong = digit.label.is_some_and(|label| label != digit.predicted);
    let name =
        |class: u8| context.lab.dataset.as_ref().map_or_else(|| class.to_string(), |dataset| dataset.class_name(class));
    let label = digit.label.map_or_else(String::new, |label| format!(", label {}", name(label)));
    let verdict = if wrong { theme.bad } else { theme.good };
    let mut lines = vec![(format!("predicted {}{label}", name(digit.predicted)), verdict)];
    // Names where they leave room for the bars.
    let names: [String; CLASSES] = std::array::from_fn(|class| name(class as u8));
    let longest = names.iter().map(|name| width(name)).max().unwrap_or(1);
    let longest = if longest + BESIDE + 10 <= columns { longest } else { 1 };
    for (class, name) in names.iter().enumerate() {
        let probability = f64::from(digit.probabilities[class]);
        let room = columns.saturating_sub(longest + BESIDE).min(40);
        let bar = symbols.full.repeat((probability.clamp(0.0, 1.0) * room as f64).round() as usize);
        let style = if class == usize::from(digit.predicted) { verdict } else { theme.dim };
        let name = shorten(name, longest, "");
        lines.push((format!("{name:<longest$} {:>8} {bar}", percent(probability)), style));
    }
    lines.extend(digit.loss.map(|value| (format!("loss {}", loss(value.into())), theme.text)));
    lines.extend(digit.doubtful.then(|| ("label in doubt".into(), theme.warning)));
    lines.extend(digit.preprocess.clone().map(|text| (text, theme.dim)));
    lines
}

impl Pane for Digits {
    fn title(&self, lab: &LabState) -> String {
        if self.look.shuffle(lab).is_some() {
            return format!("augment {}", lab.settings.augment);
        }
        let Some(digit) = &lab.digit else { return String::new() };
        match (&lab.list, digit.place) {
            (Some(list), Some((place, of))) => format!("{} {} {place}/{of}", digit.source, list.title),
            _ => digit.source.to_string(),
        }
    }

    fn help(&self) -> &'static str {
        "A digit, the probability of each class, and the loss against its label. `a` shows training digits and what the \
         augmentation makes of them instead: the digit itself first, then random draws; `a` again takes others, and \
         the next digit that is asked for takes their place."
    }

    fn render(&self, context: &Context, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        if area.is_empty() {
            return;
        }
        if let Some(shuffle) = self.look.shuffle(context.lab) {
            return preview(context, shuffle, area, buffer);
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

    fn handle(&mut self, action: Action, lab: &LabState) -> Option<Vec<Effect>> {
        if action == Action::Augment {
            let shuffle = self.look.shuffle(lab).map_or(0, |shuffle| shuffle.wrapping_add(1));
            self.look = Look::Augmented { shuffle, asked: lab.digit.clone() };
            return Some(Vec::new());
        }
        if matches!(action, Action::NextDigit | Action::PreviousDigit | Action::Enter) {
            self.look = Look::Asked;
        }
        match action {
            Action::NextDigit | Action::Enter => Some(Effect::ask(Command::Next { list: None })),
            Action::PreviousDigit => Some(Effect::ask(Command::Prev { list: None })),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Digits, Pane};
    use crate::state::LabState;
    use crate::tui::keymap::Action;

    #[test]
    fn previews_change_with_each_press_and_give_way_to_the_next_digit() {
        let (mut pane, mut lab) = (Digits::default(), LabState::default());
        assert_eq!(pane.look.shuffle(&lab), None);
        for expected in [0, 1, 2] {
            assert!(pane.handle(Action::Augment, &lab).is_some());
            assert_eq!(pane.look.shuffle(&lab), Some(expected));
        }
        lab.digit = crate::tui::samples::paused().digit.clone();
        assert!(lab.digit.is_some());
        assert_eq!(pane.look.shuffle(&lab), None);
    }
}
