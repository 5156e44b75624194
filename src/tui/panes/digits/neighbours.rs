//! A digit, and beside it the training digits that the network sees as most like it, each with its label and how far it is.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::gallery::{COLUMNS, Grid};
use crate::data::Image;
use crate::state::DigitView;
use crate::tui::format::{percent, shorten};
use crate::tui::panes::Context;

/// Draws them in the grid of the gallery, the digit itself first.
pub fn render(context: &Context, digit: &DigitView, area: Rect, buffer: &mut Buffer) {
    let theme = context.theme;
    let (grid, predicted) = (Grid::new(area), digit.predicted);
    let mut put = |at: usize, image: &Image, caption: &str, style: Style| {
        let place = grid.place(at, area).intersection(area);
        if at >= grid.rows() * COLUMNS || place.is_empty() {
            return;
        }
        let picture = grid.picture(place);
        context.graphics.blocks(image, theme, picture, buffer);
        let room = usize::from(place.width.saturating_sub(1));
        buffer.set_stringn(place.x, picture.bottom(), shorten(caption, room, ""), room, style);
    };
    let style = if digit.label.is_some_and(|label| label != predicted) { theme.warning } else { theme.title };
    put(0, &digit.image, &format!("{predicted} {}", percent(f64::from(digit.confidence()))), style);
    for (at, neighbour) in digit.neighbours.iter().enumerate() {
        let style = if neighbour.label == predicted { theme.text } else { theme.warning };
        put(at + 1, &neighbour.image, &format!("{} at {:.2}", neighbour.label, neighbour.distance), style);
    }
}
