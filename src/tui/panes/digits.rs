//! The digits pane: one digit and what the network says of it, or what augmentations and corruptions make of digits.

mod canvas;
mod corruptions;
mod drawing;
mod enquiry;
mod explained;
mod figures;
mod gallery;
mod neighbours;
mod preview;
mod sheet;
mod studio;

use std::sync::Arc;

use crossterm::event::{KeyEvent, MouseEvent};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::widgets::Widget;

use super::{Context, Pane};
use crate::command::{Command, ListName};
use crate::data::Image;
use crate::error::Error;
use crate::reply::Reply;
use crate::state::{DigitView, LabState};
use crate::tui::format::width;
use crate::tui::keymap::{Action, Scope};
use crate::tui::message::{Effect, Origin};
use corruptions::Corruptions;
use drawing::Drawing;
use explained::Page;
use gallery::Gallery;
use studio::Studio;

/// Columns that the probabilities want to the right of the image.
const BARS: u16 = 18;

/// The digits pane.
#[derive(Debug, Default)]
pub struct Digits {
    look: Look,
    /// The page of the explanation, if the digit has one.
    page: usize,
    /// The digit through all corruptions; kept while something else is shown.
    corruptions: Corruptions,
    /// What is drawn, also while something else is shown.
    drawing: Drawing,
}

/// What the pane shows.
#[derive(Clone, Debug, Default)]
enum Look {
    /// The digit that was asked for last.
    #[default]
    Asked,
    /// The digits of the list, until another digit is asked for.
    Gallery(Gallery),
    /// What the augmentation makes of a training digit, until another digit is asked for.
    Studio(Studio),
    /// What corruptions make of the digit that was asked for last.
    Corruptions,
    /// The paper to draw on, until another digit is asked for.
    Drawing {
        /// The digit that had been asked for last.
        asked: Option<Arc<DigitView>>,
    },
}

impl Look {
    /// Which digit of the gallery is selected, if that is shown.
    fn selected(&self, lab: &LabState) -> Option<usize> {
        match self {
            Self::Gallery(gallery) if gallery.holds(lab) => Some(gallery.selected()),
            _ => None,
        }
    }

    /// Whether one draws.
    fn is_drawing(&self, lab: &LabState) -> bool {
        matches!(self, Self::Drawing { asked } if *asked == lab.digit)
    }
}

impl Digits {
    /// What is drawn, `[height, width]`.
    pub fn drawn(&self) -> &Image {
        self.drawing.image()
    }

    /// What the network is to be asked for what is shown.
    pub fn question(&mut self, lab: &LabState) -> Option<Effect> {
        let (command, origin) = match &self.look {
            Look::Corruptions => (self.corruptions.refresh(lab)?, Origin::Corruptions),
            look if look.is_drawing(lab) => (self.drawing.refresh(lab)?, Origin::Drawing),
            _ => return None,
        };
        Some(Effect::Ask(command, origin))
    }

    /// The network's answer about the drawing.
    pub fn answer_drawing(&mut self, result: Result<Reply, Error>) {
        self.drawing.answer(result);
    }

    /// There is no list for the gallery that asked for one: it would come up with another list, long after its key.
    pub fn refuse_gallery(&mut self) {
        if matches!(self.look, Look::Gallery(_)) {
            self.look = Look::Asked;
        }
    }

    /// The network's answer about the corruptions.
    pub fn answer_corruptions(&mut self, result: Result<Reply, Error>) {
        self.corruptions.answer(result);
    }

    /// What a key does to the drawing, if one draws or begins to.
    fn in_drawing(&mut self, action: Action, lab: &LabState) -> Option<Vec<Effect>> {
        if action == Action::Draw {
            self.look = Look::Drawing { asked: lab.digit.clone() };
            return Some(Vec::new());
        }
        if !self.look.is_drawing(lab) {
            return None;
        }
        if action == Action::Escape {
            self.look = Look::Asked;
            return Some(Vec::new());
        }
        self.drawing.handle(action)
    }

    /// What a key does in the studio or among the corruptions, if those are shown or asked for.
    fn in_studio(&mut self, action: Action, lab: &LabState) -> Option<Vec<Effect>> {
        match (&mut self.look, action) {
            (Look::Studio(_) | Look::Corruptions, Action::Escape) => self.look = Look::Asked,
            (Look::Studio(studio), _) if action != Action::Corrupt => return studio.handle(action, lab),
            (_, Action::Augment) => self.look = Look::Studio(Studio::new(lab)),
            (_, Action::Corrupt) => self.look = Look::Corruptions,
            (Look::Corruptions, _) => return self.corruptions.handle(action),
            _ => return None,
        }
        Some(Vec::new())
    }

    /// Shows the list as a gallery; without one, that of the misclassified.
    fn open_gallery(&mut self, lab: &LabState) -> Vec<Effect> {
        self.look = Look::Gallery(Gallery::new(lab));
        if lab.list.is_some() {
            return Vec::new();
        }
        vec![Effect::Ask(Command::Next { list: Some(ListName::Wrong) }, Origin::Gallery)]
    }

    /// What a key does in the gallery, if that is shown.
    fn in_gallery(&mut self, action: Action, lab: &LabState) -> Option<Vec<Effect>> {
        let (Look::Gallery(gallery), Some(list)) = (&mut self.look, &lab.list) else { return None };
        if !gallery.holds(lab) {
            return None;
        }
        let effects = match action {
            Action::Enter => gallery.open(list),
            Action::Escape => Vec::new(),
            _ => return gallery.walk(action, list).then(Vec::new),
        };
        self.look = Look::Asked;
        Some(effects)
    }
}

impl Pane for Digits {
    fn title(&self, lab: &LabState) -> String {
        if self.look.is_drawing(lab) {
            return self.drawing.title().into();
        }
        match &self.look {
            Look::Studio(studio) => return studio.title(lab),
            Look::Corruptions => return self.corruptions.title(),
            Look::Asked | Look::Gallery(_) | Look::Drawing { .. } => {}
        }
        if let (Some(selected), Some(list)) = (self.look.selected(lab), &lab.list) {
            return match list.indices.len() {
                0 => format!("{}: no digit", list.title),
                count => format!("{} {}/{count}", list.title, selected + 1),
            };
        }
        let Some(digit) = &lab.digit else { return String::new() };
        if let Some(explanation) = &digit.explanation {
            return format!("{} {}", digit.source, Page::new(explanation, self.page).title(explanation));
        }
        if !digit.neighbours.is_empty() {
            return format!("{} and its like in training", digit.source);
        }
        match (&lab.list, digit.place) {
            (Some(list), Some((place, of))) => format!("{} {} {place}/{of}", digit.source, list.title),
            _ => digit.source.to_string(),
        }
    }

    fn help(&self) -> &'static str {
        match self.look {
            Look::Studio(_) => return studio::HELP,
            Look::Corruptions => return corruptions::HELP,
            Look::Asked | Look::Gallery(_) | Look::Drawing { .. } => {}
        }
        "A digit, the probability of each class, and the loss against its label. `a` opens the augmentation studio, in which \
         what the augmentation makes of training digits is seen and turned; `c` shows the digit through the fifteen corruptions \
         of MNIST-C. `o` shows the digits of the list side by side, label → prediction, `?` where the label is in doubt; Enter \
         opens one. `f` lists the digits that were right after one epoch and wrong after a later one, the most often forgotten \
         first; from then on a line shows what the digit was taken for after each kept epoch, wrong ones underlined. `x` \
         explains the digit that is shown: saliency (gradient × pixel: orange speaks for the class, blue against it), occlusion \
         (how much the probability falls when the pixels around a place are wiped out), what pixels and biases add to each \
         class's logit, the feature maps of each layer, and the first layer's weights; `m` and `M` turn its pages. `v` shows the \
         training digits nearest to it, by what the last dense or convolution layer gets of each: label and distance; where \
         labels differ from the prediction the network has learnt to see them alike. `d` is paper to draw on: press the mouse \
         and drag (the right button erases), or put the pen down with Enter and move it. Beside it stands the drawing as the \
         network sees it, cropped, scaled into 20×20 pixels and centred by mass as MNIST's digits are, and what the network says, also while it trains. \
         `+` and a digit keep the drawing with its label; `next drawings` shows how many of those the network reads now."
    }

    fn render(&self, context: &Context, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        if area.is_empty() {
            return;
        }
        if self.look.is_drawing(context.lab) {
            return sheet::render(context, &self.drawing, area, buffer);
        }
        match &self.look {
            Look::Studio(studio) => return studio.render(context, area, buffer),
            Look::Corruptions => return self.corruptions.render(context, area, buffer),
            Look::Asked | Look::Gallery(_) | Look::Drawing { .. } => {}
        }
        if let Some(selected) = self.look.selected(context.lab) {
            return gallery::render(context, selected, area, buffer);
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
        if !digit.neighbours.is_empty() {
            return neighbours::render(context, digit, area, buffer);
        }
        let room = Rect { width: area.width.saturating_sub(BARS), ..area };
        let image = context.graphics.digit(&digit.image, context.theme, room, buffer);
        let left = (image.width + 2).min(area.width);
        let columns = usize::from(area.width - left);
        // Beside the verdict, which is always seen.
        let lines = figures::lines(context, digit, columns);
        let used = lines.first().map_or(0, |(verdict, _)| width(verdict) + 2);
        for (row, (text, style)) in area.rows().zip(lines) {
            buffer.set_stringn(row.x + left, row.y, text, columns, style);
        }
        let room =
            Rect { x: area.x + left + used as u16, width: columns.saturating_sub(used) as u16, height: 1, ..area };
        figures::past(context.theme, digit, usize::from(room.width)).render(room.intersection(area), buffer);
    }

    fn handle(&mut self, action: Action, lab: &LabState) -> Option<Vec<Effect>> {
        if let Some(effects) = self.in_drawing(action, lab) {
            return Some(effects);
        }
        if let Some(effects) = self.in_studio(action, lab) {
            return Some(effects);
        }
        if action == Action::Gallery {
            return Some(self.open_gallery(lab));
        }
        if let Some(effects) = self.in_gallery(action, lab) {
            return Some(effects);
        }
        let explanation = lab.digit.as_ref().and_then(|digit| digit.explanation.as_deref());
        let command = match (action, explanation.map(Page::count)) {
            (Action::NextPage, Some(pages)) => {
                self.page = (self.page + 1) % pages;
                return Some(Vec::new());
            }
            (Action::PreviousPage, Some(pages)) => {
                self.page = (self.page + pages - 1) % pages;
                return Some(Vec::new());
            }
            (Action::Explain, _) => {
                self.page = 0;
                Command::Explain { input: None, class: None }
            }
            (Action::Nearest, _) => Command::Nearest { input: None },
            (Action::Forgotten, _) => Command::Next { list: Some(ListName::Forgotten) },
            (Action::NextDigit | Action::Enter, _) => Command::Next { list: None },
            (Action::PreviousDigit, _) => Command::Prev { list: None },
            _ => return None,
        };
        self.look = Look::Asked;
        Some(Effect::ask(command))
    }

    fn key(&mut self, key: KeyEvent, lab: &LabState) -> Option<Vec<Effect>> {
        if self.look.is_drawing(lab) { self.drawing.key(key) } else { None }
    }

    fn mode(&self, lab: &LabState) -> Option<Scope> {
        match self.look {
            Look::Studio(_) => Some(Scope::Studio),
            Look::Corruptions => Some(Scope::Corruptions),
            Look::Drawing { .. } => self.look.is_drawing(lab).then_some(Scope::Canvas),
            Look::Asked | Look::Gallery(_) => None,
        }
    }

    fn click(&mut self, position: Position, area: Rect, _lab: &LabState) -> Vec<Effect> {
        if let Look::Studio(studio) = &mut self.look {
            studio.click(position, area);
        }
        Vec::new()
    }

    fn drag(&mut self, event: MouseEvent, area: Rect, lab: &LabState) -> bool {
        self.look.is_drawing(lab) && self.drawing.drag(event, area)
    }

    fn scroll(&mut self, lines: i32, lab: &LabState) -> Vec<Effect> {
        // The wheel must not move the pen.
        if self.look.is_drawing(lab) {
            return Vec::new();
        }
        self.handle(if lines < 0 { Action::Up } else { Action::Down }, lab).unwrap_or_default()
    }

    fn changed(&mut self, lab: &LabState) {
        match &mut self.look {
            Look::Asked | Look::Corruptions => {}
            Look::Gallery(gallery) if gallery.holds(lab) => gallery.changed(lab),
            Look::Studio(studio) if studio.holds(lab) => studio.changed(lab),
            Look::Drawing { asked } if *asked == lab.digit => {}
            // Not to come back by itself when that digit is shown again.
            Look::Gallery(_) | Look::Studio(_) | Look::Drawing { .. } => self.look = Look::Asked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, Digits, Effect, ListName, Look, Origin, Pane, Scope};
    use crate::state::{DigitList, LabState};
    use crate::tui::keymap::Action;

    #[test]
    fn the_gallery_is_walked_and_opens_a_digit() {
        use Action::{Bottom, Down, Enter, Escape, Gallery, NextDigit, PreviousDigit, Up};
        let lab = crate::tui::samples::tested();
        let open = |actions: &[Action]| {
            let mut pane = Digits::default();
            assert_eq!(pane.handle(Gallery, &lab), Some(Vec::new()));
            let last = actions.iter().map(|action| pane.handle(*action, &lab)).last().flatten();
            (pane.look.selected(&lab), last)
        };
        let shown = |at: usize| {
            let index = lab.list.as_ref().expect("there is one").indices[at];
            Some(Effect::ask(Command::Predict { inputs: vec![index.to_string()] }))
        };
        assert_eq!(open(&[NextDigit, Down]).0, Some(6));
        assert_eq!(open(&[Down, PreviousDigit, Up, Up]).0, Some(0));
        assert_eq!(open(&[Bottom, NextDigit]).0, Some(15));
        assert_eq!(open(&[NextDigit, NextDigit, Enter]), (None, shown(2)));
        assert_eq!(open(&[Escape]).0, None);
        // Without a list that of the misclassified is asked for, and shown when it is there.
        let (mut pane, empty) = (Digits::default(), LabState::default());
        let ask = || Effect::Ask(Command::Next { list: Some(ListName::Wrong) }, Origin::Gallery);
        assert_eq!(pane.handle(Gallery, &empty), Some(vec![ask()]));
        pane.changed(&lab);
        assert_eq!(pane.look.selected(&lab), Some(0));
        let mut refused = Digits::default();
        assert_eq!(refused.handle(Gallery, &empty), Some(vec![ask()]));
        refused.refuse_gallery();
        refused.changed(&lab);
        assert_eq!(refused.look.selected(&lab), None, "the list is another key's");
        pane.changed(&crate::tui::samples::paused());
        assert_eq!(pane.look.selected(&crate::tui::samples::paused()), None, "another digit was asked for");
    }

    #[test]
    fn a_gallery_of_nothing_says_so() {
        let (mut pane, mut lab) = (Digits::default(), crate::tui::samples::tested());
        lab.list = Some(DigitList { title: "true=0 pred=1".into(), ..DigitList::default() });
        assert_eq!(pane.handle(Action::Gallery, &lab), Some(Vec::new()));
        assert_eq!(pane.title(&lab), "true=0 pred=1: no digit");
        assert_eq!(pane.handle(Action::Down, &lab), Some(Vec::new()));
        assert_eq!(pane.handle(Action::Enter, &lab), Some(Vec::new()), "there is none to open");
    }

    #[test]
    fn what_gave_way_to_a_digit_does_not_come_back_by_itself() {
        let lab = crate::tui::samples::paused();
        let other = LabState { digit: crate::tui::samples::forgotten().digit, ..lab.clone() };
        for open in [Action::Gallery, Action::Augment, Action::Draw] {
            let mut pane = Digits::default();
            assert_eq!(pane.handle(open, &lab), Some(Vec::new()));
            pane.changed(&lab);
            assert!(!matches!(pane.look, Look::Asked), "{open:?}");
            pane.changed(&other);
            pane.changed(&lab);
            assert!(matches!(pane.look, Look::Asked), "{open:?}");
        }
    }

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
    fn the_studio_is_left_with_escape_and_gives_way_to_the_next_digit() {
        let mut lab = crate::tui::samples::ready();
        let shown = |pane: &Digits, lab: &LabState| (pane.mode(lab), pane.title(lab));
        let open = |lab: &LabState| {
            let mut pane = Digits::default();
            assert_eq!(pane.handle(Action::Augment, lab), Some(Vec::new()));
            assert_eq!(pane.handle(Action::Right, lab), Some(Vec::new()));
            assert_eq!(shown(&pane, lab), (Some(Scope::Studio), "augment not applied: rotate=5".into()));
            pane
        };
        let mut pane = open(&lab);
        pane.handle(Action::Escape, &lab);
        assert_eq!(shown(&pane, &lab), (None, String::new()));
        let mut pane = open(&lab);
        pane.changed(&lab);
        assert_eq!(pane.mode(&lab), Some(Scope::Studio));
        lab.digit = crate::tui::samples::paused().digit.clone();
        pane.changed(&lab);
        assert_eq!(shown(&pane, &lab), (None, "947".into()));
    }

    #[test]
    fn corruptions_follow_the_digit_and_are_asked_for_only_while_they_are_shown() {
        let (mut pane, mut lab) = (Digits::default(), crate::tui::samples::paused());
        assert_eq!(pane.question(&lab), None);
        pane.handle(Action::Augment, &lab);
        pane.handle(Action::Corrupt, &lab);
        assert!(pane.question(&lab).is_some());
        assert!(pane.title(&lab).contains("947"), "{}", pane.title(&lab));
        if let Some(digit) = &mut lab.digit {
            std::sync::Arc::make_mut(digit).source = crate::state::DigitSource::Test(3);
        }
        pane.changed(&lab);
        pane.question(&lab);
        assert_eq!((pane.title(&lab), pane.mode(&lab)), ("3 corrupted, severity 3".into(), Some(Scope::Corruptions)));
        assert_eq!(pane.handle(Action::NextDigit, &lab), Some(Effect::ask(Command::Next { list: None })));
        pane.handle(Action::Escape, &lab);
        assert_eq!((pane.question(&lab), pane.mode(&lab)), (None, None));
    }
}
