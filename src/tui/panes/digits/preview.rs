//! What the augmentation makes of a training digit.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::data::Image;
use crate::data::augment::Augment;
use crate::random::{Purpose, Stream};
use crate::tui::panes::Context;

/// Columns of a preview, from the largest size to the smallest.
const SIDES: [u16; 5] = [28, 14, 12, 10, 8];
/// So many previews are wanted; larger ones are not worth fewer.
const ENOUGH: u16 = 8;

/// A digit and the draws to show of it.
pub struct Draws<'a> {
    /// As it is.
    pub image: &'a Image,
    /// What changes it.
    pub augment: Augment,
    /// Its number, which names its draws.
    pub sample: usize,
    /// Chooses other draws.
    pub shuffle: u32,
}

/// Draws the digit itself and after it, row by row, random draws. Another augmentation keeps the draws, so that what is turned
/// moves each picture on and does not replace it.
pub fn render(context: &Context, draws: &Draws, area: Rect, buffer: &mut Buffer) {
    let [side, columns, rows] = grid(area);
    for number in 0..columns * rows {
        let (row, column) = (number / columns, number % columns);
        let height = side.div_ceil(2);
        let place = Rect { x: area.x + column * (side + 1), y: area.y + row * height, width: side, height };
        let mut image = *draws.image;
        if number > 0 {
            let draw = [u64::from(draws.shuffle) << 16 | u64::from(number), draws.sample as u64];
            draws.augment.apply(draws.image, &mut Stream::new(0, Purpose::Augment, draw), &mut image);
        }
        context.graphics.blocks(&image, context.theme, place.intersection(area), buffer);
    }
}

/// Columns of a preview, and how many columns and rows of them there are.
fn grid(area: Rect) -> [u16; 3] {
    let of = |side: u16| [side, ((area.width + 1) / (side + 1)).max(1), (area.height / side.div_ceil(2)).max(1)];
    let fitting = SIDES.into_iter().map(of).find(|[_, columns, rows]| columns * rows >= ENOUGH);
    fitting.unwrap_or_else(|| of(SIDES[SIDES.len() - 1]))
}

#[cfg(test)]
mod tests {
    use super::{ENOUGH, Rect, grid};

    #[test]
    fn previews_are_large_but_many() {
        let check = |width, height, expected| assert_eq!(grid(Rect::new(0, 0, width, height)), expected);
        check(48, 15, [10, 4, 3]);
        check(163, 29, [28, 5, 2]);
        check(96, 34, [14, 6, 4]);
        check(36, 13, [8, 4, 3]);
        check(3, 1, [8, 1, 1]);
        check(0, 0, [8, 1, 1]);
        for (width, height) in (30..250).zip((8..70).cycle()) {
            let [side, columns, rows] = grid(Rect::new(0, 0, width, height));
            assert!(columns * rows >= ENOUGH || side == 8);
            assert!(columns * (side + 1) <= width + 1 && rows * side.div_ceil(2) <= height);
        }
    }
}
