//! The augmentation studio: each augmentation to be turned, and beside them what it makes of a training digit.

use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::preview::{self, Draws};
use crate::command::Command;
use crate::data::augment::{Augment, SETTINGS};
use crate::state::{DigitView, LabState};
use crate::train::settings::Setting;
use crate::tui::format::wrap;
use crate::tui::keymap::Action;
use crate::tui::message::Effect;
use crate::tui::panes::Context;

/// What the studio shows and how to use it.
pub const HELP: &str = "The augmentation studio: a training digit as it is, then random draws of what the augmentation makes of it. \
     Up and Down choose an augmentation, Left and Right turn it, and the same draws follow at once; the run is not touched \
     before Enter, which does `set augment`. `n` and `p` take another digit, `a` other draws, `c` shows the corruptions. Esc \
     leaves the run's augmentation as it was, and so does the next digit that is asked for. A value that differs from the \
     run's is marked.";

/// Columns of the augmentations: pointer, name, value, mark.
const LIST: u16 = 18;

/// The augmentation studio.
#[derive(Clone, Debug)]
pub struct Studio {
    /// Which training digit is shown.
    sample: usize,
    /// Names the random draws.
    shuffle: u32,
    /// Which augmentation keys act on.
    selected: usize,
    /// The augmentation as it was turned, while the run's is another.
    turned: Option<Augment>,
    /// The digit that had been asked for last when the studio was opened.
    asked: Option<Arc<DigitView>>,
}

impl Studio {
    /// Opens it on the run's augmentation.
    pub fn new(lab: &LabState) -> Self {
        Self { sample: 0, shuffle: 0, selected: 0, turned: None, asked: lab.digit.clone() }
    }

    /// Whether no other digit was asked for since it was opened.
    pub fn holds(&self, lab: &LabState) -> bool {
        self.asked == lab.digit
    }

    /// The lab published a state: what was turned may have become the run's.
    pub fn changed(&mut self, lab: &LabState) {
        self.turned = self.turned.filter(|turned| *turned != lab.settings.augment);
        self.sample %= samples(lab);
    }

    /// The augmentation that is shown.
    fn augment(&self, lab: &LabState) -> Augment {
        self.turned.unwrap_or(lab.settings.augment)
    }

    /// What stands on the frame.
    pub fn title(&self, lab: &LabState) -> String {
        let state = if self.turned.is_some() { " not applied:" } else { "" };
        format!("augment{state} {}", self.augment(lab))
    }

    /// What a key does; `None` if it means nothing here.
    pub fn handle(&mut self, action: Action, lab: &LabState) -> Option<Vec<Effect>> {
        let samples = samples(lab);
        match action {
            Action::Up => self.select(self.selected.saturating_sub(1)),
            Action::Down => self.select(self.selected + 1),
            Action::Top | Action::PageUp => self.select(0),
            Action::Bottom | Action::PageDown => self.select(usize::MAX),
            Action::Left => self.turn(false, lab),
            Action::Right => self.turn(true, lab),
            Action::NextDigit => self.sample = (self.sample + 1) % samples,
            Action::PreviousDigit => self.sample = (self.sample + samples - 1) % samples,
            Action::Augment => self.shuffle = self.shuffle.wrapping_add(1),
            Action::Enter => return Some(self.apply()),
            _ => return None,
        }
        Some(Vec::new())
    }

    fn select(&mut self, line: usize) {
        self.selected = line.min(SETTINGS.len() - 1);
    }

    fn turn(&mut self, up: bool, lab: &LabState) {
        let mut augment = self.augment(lab);
        let setting = &SETTINGS[self.selected];
        let value = (setting.field)(&mut augment);
        *value = setting.turned(*value, up);
        self.turned = Some(augment);
        self.changed(lab);
    }

    /// Asks the run to take what was turned.
    fn apply(&self) -> Vec<Effect> {
        let Some(augment) = self.turned else { return Vec::new() };
        let name = Setting::Augment.name().to_owned();
        Effect::ask(Command::Set { name: Some(name), value: Some(augment.to_string()) })
    }

    /// A click chooses an augmentation.
    pub fn click(&mut self, position: Position, area: Rect) {
        let [list, _] = parts(area);
        let line = self.offset(list.height) + usize::from(position.y.saturating_sub(list.y));
        if list.contains(position) && line < SETTINGS.len() {
            self.select(line);
        }
    }

    /// The first augmentation that is shown in `lines` lines.
    fn offset(&self, lines: u16) -> usize {
        (self.selected + 1).saturating_sub(usize::from(lines))
    }

    /// Draws it.
    pub fn render(&self, context: &Context, area: Rect, buffer: &mut Buffer) {
        let [list, grid] = parts(area);
        let augment = self.augment(context.lab);
        let offset = self.offset(list.height);
        for (row, number) in list.rows().zip(offset..SETTINGS.len()) {
            self.line(context, number, augment).render(row, buffer);
        }
        let below = list.rows().skip(SETTINGS.len() - offset + 1);
        for (row, text) in below.zip(self.notes(context.lab)) {
            buffer.set_stringn(row.x, row.y, text, usize::from(row.width), context.theme.dim);
        }
        let Some(images) = context.lab.dataset.as_ref().map(|dataset| &dataset.train) else { return };
        if self.sample < images.len() {
            let draws = Draws { image: images.image(self.sample), augment, sample: self.sample, shuffle: self.shuffle };
            preview::render(context, &draws, grid, buffer);
        }
    }

    fn line<'a>(&self, context: &Context<'a>, number: usize, mut augment: Augment) -> Line<'a> {
        let (theme, symbols) = (context.theme, context.theme.symbols());
        let setting = &SETTINGS[number];
        let mut of_run = context.lab.settings.augment;
        let value = *(setting.field)(&mut augment);
        let turned = value.to_bits() != (setting.field)(&mut of_run).to_bits();
        let selected = number == self.selected && context.focused;
        let pointer = if selected { symbols.pointer } else { " " };
        let line = Line::from(vec![
            Span::styled(format!("{pointer} "), theme.accent),
            Span::styled(format!("{:<8}", setting.name), if selected { theme.title } else { theme.dim }),
            Span::styled(format!("{value:>6} "), if turned { theme.accent } else { theme.text }),
            Span::styled(if turned { symbols.marker } else { " " }, theme.marker),
        ]);
        if selected { line.style(theme.selection) } else { line }
    }

    /// What stands below the augmentations: what the value means, and which digit is shown.
    fn notes(&self, lab: &LabState) -> Vec<String> {
        let setting = &SETTINGS[self.selected];
        let mut notes = wrap(&format!("{}, 0 to {}", setting.about, setting.most), usize::from(LIST));
        let dataset = lab.dataset.as_ref().filter(|dataset| self.sample < dataset.train.len());
        if let Some(dataset) = dataset {
            let label = dataset.class_name(dataset.train.label(self.sample));
            notes.push(String::new());
            notes.extend(wrap(&format!("digit {}, label {label}, then draws of it", self.sample), usize::from(LIST)));
        }
        notes
    }
}

/// Training digits that there are to choose from, at least one.
fn samples(lab: &LabState) -> usize {
    lab.dataset.as_ref().map_or(1, |dataset| dataset.train.len().max(1))
}

/// The augmentations, and the digits beside them.
fn parts(area: Rect) -> [Rect; 2] {
    let [list, _, grid] =
        Layout::horizontal([Constraint::Length(LIST.min(area.width)), Constraint::Length(2), Constraint::Fill(1)])
            .areas(area);
    [list, grid]
}

#[cfg(test)]
mod tests {
    use super::{Action, Augment, Command, Effect, LabState, SETTINGS, Studio};

    use Action::{Augment as Draws, Bottom, Down, Enter, Left, NextDigit, PreviousDigit, Right, Top, Up};

    /// After these keys the studio shows this augmentation; it is given back.
    #[track_caller]
    fn check(lab: &LabState, actions: &[Action], shown: &str) -> Studio {
        let mut studio = Studio::new(lab);
        for action in actions {
            assert_eq!(studio.handle(*action, lab), Some(Vec::new()), "{action:?}");
        }
        assert_eq!(studio.augment(lab).to_string(), shown, "{actions:?}");
        studio
    }

    #[test]
    fn values_are_turned_and_stop_at_their_ends() {
        let lab = crate::tui::samples::ready();
        check(&lab, &[], "none");
        check(&lab, &[Right, Right], "rotate=10");
        check(&lab, &[Left], "none");
        check(&lab, &[Down, Right, Right, Down, Right, Up, Left], "shift=0.05,zoom=0.05");
        check(&lab, &[Bottom, Right, Top, Right], "rotate=5,erase=0.1");
        check(&lab, &[Right; 50], "rotate=180");
        assert_eq!(check(&lab, &[Right, Left], "none").title(&lab), "augment none");
        assert_eq!(check(&lab, &[Right], "rotate=5").title(&lab), "augment not applied: rotate=5");
    }

    #[test]
    fn the_run_is_asked_with_enter_alone_and_then_is_followed() {
        let mut lab = crate::tui::samples::ready();
        let mut studio = check(&lab, &[Down, Right], "shift=0.05");
        let set = Command::Set { name: Some("augment".into()), value: Some("shift=0.05".into()) };
        assert_eq!(studio.handle(Enter, &lab), Some(Effect::ask(set)));
        lab.settings.augment = "shift=0.05".parse().unwrap();
        studio.changed(&lab);
        assert_eq!(studio.handle(Enter, &lab), Some(Vec::new()), "it has been applied");
        lab.settings.augment = Augment::TUTORIAL;
        studio.changed(&lab);
        assert_eq!(studio.augment(&lab), Augment::TUTORIAL);
    }

    #[test]
    fn digits_go_round_and_draws_change() {
        let lab = crate::tui::samples::ready();
        assert_eq!(check(&lab, &[PreviousDigit], "none").sample, 3);
        assert_eq!(check(&lab, &[NextDigit; 5], "none").sample, 1);
        assert_eq!(check(&lab, &[Draws, Draws], "none").shuffle, 2);
        let empty = LabState::default();
        assert_eq!(check(&empty, &[NextDigit, PreviousDigit, Right], "rotate=5").sample, 0);
    }

    #[test]
    fn every_augmentation_can_be_reached() {
        let lab = crate::tui::samples::ready();
        for (number, setting) in SETTINGS.iter().enumerate() {
            let actions: Vec<Action> = std::iter::repeat_n(Down, number).chain([Right]).collect();
            let mut studio = Studio::new(&lab);
            for action in actions {
                studio.handle(action, &lab);
            }
            assert!(studio.title(&lab).contains(&format!("not applied: {}=", setting.name)));
        }
    }
}
