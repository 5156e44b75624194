//! The gallery: the digits of the list as a grid of small images, each with what it is and what it is taken for.

use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;

use crate::command::Command;
use crate::metrics::Outcome;
use crate::state::{DigitList, DigitView, LabState};
use crate::tui::format::{shorten, width};
use crate::tui::keymap::Action;
use crate::tui::message::Effect;
use crate::tui::panes::Context;

/// Images beside each other: always as many, so that a key means the same on every screen.
pub const COLUMNS: usize = 5;
/// Columns of the largest image: half the pixels.
const LARGEST: u16 = 14;

/// The gallery, while it is open.
#[derive(Clone, Debug)]
pub struct Gallery {
    /// Which digit keys act on.
    selected: usize,
    since: Since,
}

/// What there was when the gallery was opened.
#[derive(Clone, Debug)]
enum Since {
    /// No list yet: its first digit is asked for along with it.
    NoList,
    /// The digit that had been asked for last.
    Digit(Option<Arc<DigitView>>),
}

impl Gallery {
    /// Opens it on the list's digit.
    pub fn new(lab: &LabState) -> Self {
        let selected = lab.list.as_ref().and_then(|list| list.position).unwrap_or(0);
        let since = lab.list.as_ref().map_or(Since::NoList, |_| Since::Digit(lab.digit.clone()));
        Self { selected, since }
    }

    /// Whether no other digit was asked for since it was opened.
    pub fn holds(&self, lab: &LabState) -> bool {
        match &self.since {
            Since::NoList => true,
            Since::Digit(asked) => *asked == lab.digit,
        }
    }

    /// Which digit of the list is selected.
    pub const fn selected(&self) -> usize {
        self.selected
    }

    /// The lab published a state: the list may be there now, or be another.
    pub fn changed(&mut self, lab: &LabState) {
        let Some(list) = &lab.list else { return };
        self.selected = self.selected.min(list.indices.len().saturating_sub(1));
        if matches!(self.since, Since::NoList) {
            self.since = Since::Digit(lab.digit.clone());
        }
    }

    /// What a key that moves does; whether it is one.
    pub fn walk(&mut self, action: Action, list: &DigitList) -> bool {
        let (selected, last) = (self.selected, list.indices.len().saturating_sub(1));
        let to = match action {
            Action::NextDigit => selected + 1,
            Action::PreviousDigit => selected.saturating_sub(1),
            Action::Down => selected + COLUMNS,
            Action::Up => selected.saturating_sub(COLUMNS),
            Action::PageDown => selected + 4 * COLUMNS,
            Action::PageUp => selected.saturating_sub(4 * COLUMNS),
            Action::Top => 0,
            Action::Bottom => last,
            _ => return false,
        };
        self.selected = to.min(last);
        true
    }

    /// Shows the digit that is selected.
    pub fn open(&self, list: &DigitList) -> Vec<Effect> {
        let drawing = list.drawings.get(self.selected).map(|drawing| drawing.source.to_string());
        let input = drawing.or_else(|| list.indices.get(self.selected).map(ToString::to_string));
        input.map_or_else(Vec::new, |input| Effect::ask(Command::Predict { inputs: vec![input] }))
    }
}

/// Where the images are.
pub struct Grid {
    /// Columns from one image to the next.
    stride: u16,
    /// Columns of an image; twice its lines.
    side: u16,
    /// Rows of images.
    rows: usize,
}

impl Grid {
    /// For as many images as `area` has room for.
    pub fn new(area: Rect) -> Self {
        let stride = (area.width / COLUMNS as u16).max(1);
        // Two rows at least, where that leaves anything to see.
        let two_rows = (area.height / 2).saturating_sub(1) * 2;
        let side = stride.saturating_sub(1).min(two_rows.max(8)).clamp(1, LARGEST);
        Self { stride, side, rows: usize::from(area.height / (side.div_ceil(2) + 1)).max(1) }
    }

    /// The first image that is shown, so that `selected` is: whole screens at a time.
    fn first(&self, selected: usize) -> usize {
        let page = self.rows * COLUMNS;
        selected / page * page
    }

    /// Rows of images.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Where the picture is in its `place`, above the caption.
    pub fn picture(&self, place: Rect) -> Rect {
        Rect { width: self.side.min(place.width), height: place.height.saturating_sub(1), ..place }
    }

    /// Picture and caption of image `at`.
    pub fn place(&self, at: usize, area: Rect) -> Rect {
        let (row, column) = ((at / COLUMNS) as u16, (at % COLUMNS) as u16);
        let height = self.side.div_ceil(2) + 1;
        Rect { x: area.x + column * self.stride, y: area.y + row * height, width: self.stride, height }
    }
}

/// Draws the part of the list in which `selected` is.
pub fn render(context: &Context, selected: usize, area: Rect, buffer: &mut Buffer) {
    let lab = context.lab;
    let (Some(list), Some(dataset)) = (&lab.list, &lab.dataset) else {
        buffer.set_stringn(area.x, area.y, "looking for them", usize::from(area.width), context.theme.dim);
        return;
    };
    if list.indices.is_empty() {
        buffer.set_stringn(area.x, area.y, "no digit fits", usize::from(area.width), context.theme.dim);
    }
    let grid = Grid::new(area);
    let first = grid.first(selected);
    for (at, &index) in list.indices.iter().enumerate().skip(first).take(grid.rows * COLUMNS) {
        let place = grid.place(at - first, area).intersection(area);
        let drawing = list.drawings.get(at);
        if place.is_empty() || drawing.is_none() && index as usize >= dataset.test.len() {
            continue;
        }
        let image = grid.picture(place);
        let picture = drawing.map_or_else(|| dataset.test.image(index as usize), |drawing| &drawing.image);
        context.graphics.blocks(picture, context.theme, image, buffer);
        let doubtful = drawing.is_none() && dataset.doubtful(index as usize);
        let style = if doubtful { context.theme.warning } else { context.theme.text };
        let style = if at == selected && context.focused { style.add_modifier(Modifier::REVERSED) } else { style };
        let room = usize::from(place.width.saturating_sub(1));
        let caption = shorten(&caption(outcome(lab, drawing, index), index, doubtful, room), room, "");
        buffer.set_stringn(place.x, image.bottom(), caption, room, style);
    }
}

/// `947 8→9?`, and with more room confidence and loss.
fn caption(outcome: Option<Outcome>, index: u32, doubtful: bool, room: usize) -> String {
    let mut caption = index.to_string();
    if let Some(Outcome { label, predicted, confidence, .. }) = outcome {
        caption += &format!(" {label}→{predicted}{}", if doubtful { "?" } else { "" });
        let more = format!("{caption} {:.1} %", confidence * 100.0);
        if width(&more) <= room {
            caption = more;
        }
    }
    caption
}

/// What was said of the drawing, or in the test of digit `index`.
fn outcome(lab: &LabState, drawing: Option<&Arc<DigitView>>, index: u32) -> Option<Outcome> {
    if let Some(drawing) = drawing {
        let (label, loss) = drawing.label.zip(drawing.loss)?;
        return Some(Outcome { index, label, predicted: drawing.predicted, confidence: drawing.confidence(), loss });
    }
    lab.test.as_ref()?.evaluation.outcomes.get(index as usize).copied()
}
