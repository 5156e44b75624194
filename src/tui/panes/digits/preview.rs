//! What the augmentation makes of training digits.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::random::{Purpose, Stream};
use crate::tui::panes::Context;

/// Columns and rows of a preview: half the pixels, so that several stand beside each other.
const PREVIEW: [u16; 2] = [14, 7];

/// Draws training digits in the first column and, beside each, random draws of the present augmentation.
pub fn render(context: &Context, shuffle: u32, area: Rect, buffer: &mut Buffer) {
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
