//! The digits pane: one digit and what the network says of it, or what the augmentation makes of training digits.

mod explained;
mod figures;
mod preview;

use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{Context, Pane};
use crate::command::Command;
use crate::state::{DigitView, LabState};
use crate::tui::keymap::Action;
use crate::tui::message::Effect;
use explained::Page;

/// Columns that the probabilities want to the right of the image.
const BARS: u16 = 18;

/// The digits pane.
#[derive(Debug, Default)]
pub struct Digits {
    look: Look,
    /// The page of the explanation, if the digit has one.
    page: usize,
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

impl Pane for Digits {
    fn title(&self, lab: &LabState) -> String {
        if self.look.shuffle(lab).is_some() {
            return format!("augment {}", lab.settings.augment);
        }
        let Some(digit) = &lab.digit else { return String::new() };
        if let Some(explanation) = &digit.explanation {
            return format!("{} {}", digit.source, Page::new(explanation, self.page).title(explanation));
        }
        match (&lab.list, digit.place) {
            (Some(list), Some((place, of))) => format!("{} {} {place}/{of}", digit.source, list.title),
            _ => digit.source.to_string(),
        }
    }

    fn help(&self) -> &'static str {
        "A digit, the probability of each class, and the loss against its label. `a` shows training digits and what the \
         augmentation makes of them instead: the digit itself first, then random draws; `a` again takes others, and \
         the next digit that is asked for takes their place. `x` explains the digit that is shown: saliency (gradient × pixel: \
         orange speaks for the class, blue against it), occlusion (how much the probability falls when the pixels around a \
         place are wiped out), what pixels and biases add to each class's logit, the feature maps of each layer, and the \
         first layer's weights; `m` and `M` turn its pages."
    }

    fn render(&self, context: &Context, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        if area.is_empty() {
            return;
        }
        if let Some(shuffle) = self.look.shuffle(context.lab) {
            return preview::render(context, shuffle, area, buffer);
        }
        let Some(digit) = &context.lab.digit else {
            let text = "e shows the next misclassified digit; `predict 42` any";
            buffer.set_stringn(area.x, area.y, text, usize::from(area.width), context.theme.dim);
            return;
        };
        if let Some(explanation) = &digit.explanation {
            let page = Page::new(explanation, self.page);
            return explained::render(context, digit, explanation, page, area, buffer);
        }
        let room = Rect { width: area.width.saturating_sub(BARS), ..area };
        let image = context.graphics.digit(&digit.image, context.theme, room, buffer);
        let left = (image.width + 2).min(area.width);
        let columns = usize::from(area.width - left);
        for (row, (text, style)) in area.rows().zip(figures::lines(context, digit, columns)) {
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
        let pages =
            lab.digit.as_ref().and_then(|digit| digit.explanation.as_ref()).map(|explanation| Page::count(explanation));
        match (action, pages) {
            (Action::Explain, _) => {
                (self.look, self.page) = (Look::Asked, 0);
                return Some(Effect::ask(Command::Explain { input: None, class: None }));
            }
            (Action::NextPage, Some(pages)) => self.page = (self.page + 1) % pages,
            (Action::PreviousPage, Some(pages)) => self.page = (self.page + pages - 1) % pages,
            _ => {}
        }
        match action {
            Action::NextPage | Action::PreviousPage if pages.is_some() => Some(Vec::new()),
            Action::NextDigit | Action::Enter => Some(Effect::ask(Command::Next { list: None })),
            Action::PreviousDigit => Some(Effect::ask(Command::Prev { list: None })),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, Digits, Effect, Pane};
    use crate::state::LabState;
    use crate::tui::keymap::Action;

    #[test]
    fn the_digit_is_explained_and_its_pages_turn_round() {
        let (mut pane, lab) = (Digits::default(), crate::tui::samples::explained());
        let ask = Effect::ask(Command::Explain { input: None, class: None });
        assert_eq!(pane.handle(Action::Explain, &lab), Some(ask));
        let mut titles = vec![pane.title(&lab)];
        for _ in 0..6 {
            pane.handle(Action::NextPage, &lab);
            titles.push(pane.title(&lab));
        }
        assert_eq!(titles[0], titles[6], "{titles:?}");
        assert!(titles[3].contains("layer 1: 32 maps of conv32:3x3"), "{titles:?}");
        pane.handle(Action::PreviousPage, &lab);
        assert_eq!(pane.title(&lab), titles[5]);
        assert_eq!(Digits::default().handle(Action::NextPage, &crate::tui::samples::paused()), None);
    }

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
