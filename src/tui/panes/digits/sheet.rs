//! How the drawing lies on the screen: the paper, what the network sees of it, and what it says.
//!
//! ```text
//!  paper, 28×14 cells or a    │  as MNIST would have it,      predicted 7
//!  whole multiple of that     │  at half the size where       0   0.01 %
//! ────────────────────────────┘  there is little room         1   0.10 %
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::canvas::Point;
use super::drawing::{Drawing, Seen};
use super::figures;
use crate::data::SIDE;
use crate::data::picture::{Preprocessed, Shape};
use crate::tui::format::wrap;
use crate::tui::graphics::blocks_fit;
use crate::tui::panes::Context;

/// Columns of the picture that the network sees, from the largest to the smallest.
const PICTURES: [u16; 3] = [2 * SIDE as u16, SIDE as u16, SIDE as u16 / 2];
/// Columns that the figures want at least.
const FIGURES: u16 = 12;
/// Columns between the parts.
const GAP: u16 = 2;

/// What stands there before anything is drawn.
const HINT: &str = "press the mouse and drag, or Enter and the arrows; the right button or x erases";

/// Where the parts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sheet {
    /// The paper.
    pub paper: Rect,
    /// What the network sees of it; empty if there is no room.
    pub picture: Rect,
    /// What it says.
    pub figures: Rect,
}

impl Sheet {
    /// Divides the inside of a pane.
    pub fn new(area: Rect) -> Self {
        let beside = PICTURES[2] + FIGURES + 2 * GAP;
        // Less than that, and the paper has all of it.
        let columns = if area.width > beside + 2 { area.width - beside } else { area.width };
        let room = Rect { width: columns, ..area };
        // A line below tells where the paper ends, unless that would make the paper smaller.
        let (above, whole) = (Rect { height: area.height.saturating_sub(1), ..room }, blocks_fit(room));
        let size =
            if whole.width >= SIDE as u16 && blocks_fit(above).width < whole.width { whole } else { blocks_fit(above) };
        let paper = Rect { width: size.width, height: size.height, ..area };
        let left = (paper.right() + GAP).min(area.right());
        let right = Rect { x: left, width: area.right() - left, ..area };
        let fits = |side: &u16| right.width >= side + GAP + FIGURES && right.height >= side / 2;
        let side = PICTURES.into_iter().find(fits).unwrap_or(0);
        let picture = Rect { width: side, height: side / 2, ..right };
        let skip = if side > 0 { side + GAP } else { 0 };
        Self { paper, picture, figures: Rect { x: right.x + skip, width: right.width - skip, ..right } }
    }

    /// The middle of a cell as a place on the paper; also of one outside.
    pub fn point(&self, cell: Position) -> Point {
        let offset = |cell: u16, begin: u16, length: u16| {
            (f32::from(cell) - f32::from(begin) + 0.5) * SIDE as f32 / f32::from(length.max(1))
        };
        [offset(cell.x, self.paper.x, self.paper.width), offset(cell.y, self.paper.y, self.paper.height)]
    }

    /// The cell in which a place on the paper is.
    fn cell(&self, [x, y]: Point) -> Position {
        let cell = |place: f32, begin: u16, length: u16| {
            begin + ((place * f32::from(length) / SIDE as f32) as u16).min(length.saturating_sub(1))
        };
        Position::new(cell(x, self.paper.x, self.paper.width), cell(y, self.paper.y, self.paper.height))
    }
}

/// Draws all parts.
pub fn render(context: &Context, drawing: &Drawing, area: Rect, buffer: &mut Buffer) {
    let sheet = Sheet::new(area);
    let (theme, symbols) = (context.theme, context.theme.symbols());
    // With characters even where there are pixels: the paper changes with every move, and the cursor lies on it.
    context.graphics.blocks(drawing.image(), theme, sheet.paper, buffer);
    let (right, below) = (sheet.paper.right(), sheet.paper.bottom());
    for y in sheet.paper.y..below {
        put(buffer, area, right, y, symbols.vertical, context);
    }
    for x in sheet.paper.x..right {
        put(buffer, area, x, below, symbols.horizontal, context);
    }
    if let Some(cell) = buffer.cell_mut(sheet.cell(drawing.cursor())).filter(|_| context.focused) {
        cell.set_symbol(drawing.mark()).set_style(theme.accent);
    }
    let words = usize::from(sheet.figures.width);
    match drawing.seen() {
        Seen::Nothing => {
            for (row, hint) in sheet.figures.rows().zip(wrap(HINT, words)) {
                buffer.set_stringn(row.x, row.y, hint, words, theme.dim);
            }
        }
        Seen::Picture(picture) => {
            context.graphics.blocks(&picture.image, theme, sheet.picture, buffer);
            let below = sheet.picture.bottom();
            if below < area.bottom() && !sheet.picture.is_empty() {
                let room = usize::from(sheet.picture.width);
                buffer.set_stringn(sheet.picture.x, below, caption(picture, room), room, theme.dim);
            }
        }
    }
    match (drawing.digit(), drawing.refusal()) {
        (_, Some(refusal)) => {
            for (row, line) in sheet.figures.rows().zip(wrap(refusal, words)) {
                buffer.set_stringn(row.x, row.y, line, words, theme.bad);
            }
        }
        (Some(digit), None) => {
            for (row, (text, style)) in sheet.figures.rows().zip(figures::lines(context, &digit, words)) {
                buffer.set_stringn(row.x, row.y, text, words, style);
            }
        }
        (None, None) => {}
    }
}

fn put(buffer: &mut Buffer, area: Rect, x: u16, y: u16, symbol: &str, context: &Context) {
    if area.contains(Position::new(x, y))
        && let Some(cell) = buffer.cell_mut((x, y))
    {
        cell.set_symbol(symbol).set_style(context.theme.border);
    }
}

/// What was done to the drawing to make it look like the data, as well as the room allows.
fn caption(picture: &Preprocessed, room: usize) -> String {
    let long = match picture.shape {
        Shape::Cropped([width, height]) => format!("seen: {width}×{height}, scaled, centred"),
        Shape::Kept | Shape::Scaled => "seen: as it is".to_owned(),
    };
    if long.chars().count() <= room { long } else { "what it sees".into() }
}

#[cfg(test)]
mod tests {
    use super::Sheet;
    use ratatui::layout::{Position, Rect};

    /// Paper, picture and figures of an area of this size: columns of each.
    #[track_caller]
    fn check(width: u16, height: u16, expected: [u16; 3]) {
        let area = Rect::new(3, 2, width, height);
        let sheet = Sheet::new(area);
        assert_eq!([sheet.paper, sheet.picture, sheet.figures].map(|part| part.width), expected, "{width}×{height}");
        for part in [sheet.paper, sheet.picture, sheet.figures] {
            assert!(part.is_empty() || area.intersection(part) == part, "{width}×{height}: {part:?}");
        }
    }

    #[test]
    fn the_paper_is_exact_where_there_is_room() {
        check(68, 15, [28, 14, 22]);
        check(68, 14, [28, 14, 22]);
        check(76, 19, [28, 28, 16]);
        check(56, 13, [24, 14, 14]);
        check(116, 34, [56, 28, 28]);
        check(244, 60, [112, 56, 72]);
        check(20, 5, [8, 0, 10]);
        for width in 0..70 {
            for height in 0..20 {
                Sheet::new(Rect::new(0, 0, width, height));
            }
        }
    }

    #[test]
    fn cells_are_places_on_the_paper() {
        let sheet = Sheet::new(Rect::new(10, 5, 68, 15));
        for (cell, point) in [((10, 5), [0.5, 1.0]), ((37, 18), [27.5, 27.0]), ((8, 4), [-1.5, -1.0])] {
            assert_eq!(sheet.point(Position::from(cell)).map(f32::to_bits), point.map(f32::to_bits));
        }
        for y in 5..19 {
            for x in 10..38 {
                assert_eq!(sheet.cell(sheet.point(Position::new(x, y))), Position::new(x, y));
            }
        }
    }
}
