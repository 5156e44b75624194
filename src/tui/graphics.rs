//! How images reach the terminal: half-blocks everywhere, pixels where the terminal is known to show them.

pub mod choice;
mod ink;
mod pixels;
pub mod probe;
mod scale;
mod signed;
mod sixel;

use std::cell::{Cell, RefCell};

use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};

use self::choice::Choice;
use self::ink::Ink;
use self::pixels::{Cache, Protocol};
use super::theme::{Background, ColorDepth, Glyphs, Theme};
use crate::data::{Image, SIDE};

/// Pixels of a character cell where the terminal doesn't tell.
const USUAL_CELL: Size = Size { width: 10, height: 20 };

/// Draws images for one terminal. It remembers what it encoded, so that drawing the same image again costs nothing.
#[derive(Debug, Default)]
pub struct Graphics {
    choice: Choice,
    /// The protocol for pixels, if there are to be any.
    protocol: Option<Protocol>,
    /// Pixels of a character cell.
    cell: Size,
    /// Whether something lies over the panes. Text over pixels leaves holes in them on most terminals.
    covered: Cell<bool>,
    /// Where this frame has pixels, and where the one before had.
    placed: Cell<Option<Rect>>,
    placed_before: Cell<Option<Rect>>,
    cache: RefCell<Cache>,
}

impl Graphics {
    /// For the terminal that `variable`, the environment, speaks of. `cell` is a character's size in pixels, if it is known.
    /// Nothing is asked of the terminal: see [`Graphics::proven`].
    pub fn new(choice: Choice, variable: impl Fn(&str) -> Option<String>, cell: Option<Size>) -> Self {
        let protocol = choice.protocol(variable, cell.is_some());
        Self { choice, protocol, cell: cell.unwrap_or(USUAL_CELL), ..Self::default() }
    }

    /// Without a protocol of which the environment speaks and the terminal's `version` does not: old kitty terminals show
    /// placeholders as boxes.
    #[must_use]
    pub fn proven(self, version: impl FnOnce() -> Option<String>) -> Self {
        let doubtful = self.choice == Choice::Auto && self.protocol == Some(Protocol::Kitty);
        if !doubtful || version().is_some_and(|version| probe::has_placeholders(&version)) {
            return self;
        }
        Self { protocol: None, ..self }
    }

    /// A character's size in pixels, as the terminal's driver tells it.
    pub fn cell_size() -> Option<Size> {
        let window = crossterm::terminal::window_size().ok()?;
        let cell = Size::new(window.width.checked_div(window.columns)?, window.height.checked_div(window.rows)?);
        (cell.width > 2 && cell.height > 4).then_some(cell)
    }

    /// The way that images take in this theme, in a word: `half-blocks`, `kitty`, `sixel`, `iterm2`, `ascii`.
    pub fn name(&self, theme: &Theme) -> &'static str {
        match (self.pixels(theme), self.ink(theme)) {
            (Some(protocol), _) => protocol.name(),
            (None, Ink::Ascii) => "ascii",
            (None, _) => "half-blocks",
        }
    }

    /// The window or its font has another size: what was encoded no longer fits.
    pub fn resize(&mut self, cell: Option<Size>) {
        let cell = cell.unwrap_or(USUAL_CELL);
        if cell != self.cell {
            self.cell = cell;
            self.forget();
        }
    }

    /// The terminal has lost the images: after a suspension, or when everything is drawn anew.
    pub fn forget(&self) {
        self.cache.borrow_mut().forget();
    }

    /// Begins a frame. Should something lie over the panes in it, images are made of characters.
    pub fn begin(&self, covered: bool) {
        self.covered.set(covered);
        self.placed_before.set(self.placed.take());
    }

    /// Whether pixels of the frame before lie where this frame has none. Text takes their place, but on some terminals
    /// (Konsole) stands behind them: there only clearing the screen removes them.
    pub fn leaves_remains(&self) -> bool {
        let before = self.placed_before.get();
        self.protocol != Some(Protocol::Kitty) && before.is_some() && before != self.placed.get()
    }

    /// What to write to the terminal when the screen is given back, so that no image stays in its memory.
    pub fn farewell(&self) -> String {
        self.cache.borrow().farewell()
    }

    /// The cells that [`Graphics::digit`] will fill in `area`, from its top left.
    pub fn fit(&self, theme: &Theme, area: Rect) -> Rect {
        let pixels = self.pixels(theme).and_then(|_| pixels::fit(self.cell, area));
        let size = pixels.map_or_else(|| blocks_fit(area), |fit| fit.cells);
        Rect { width: size.width, height: size.height, ..area }
    }

    /// Draws an image as large as it fits into `area`, from its top left; in pixels if the terminal has them. The cells that
    /// it filled.
    pub fn digit(&self, image: &Image, theme: &Theme, area: Rect, buffer: &mut Buffer) -> Rect {
        let area = area.intersection(buffer.area);
        let drawn = self.pixels(theme).and_then(|protocol| {
            let fit = pixels::fit(self.cell, area)?;
            let light = theme.background == Background::Light;
            self.cache.borrow_mut().draw(protocol, image, fit, light, area, buffer)
        });
        self.placed.set(drawn);
        drawn.unwrap_or_else(|| self.blocks(image, theme, area, buffer))
    }

    /// Draws an image as large as it fits into `area`, from its top left, with characters alone: for many at a time, and where
    /// something else will be drawn on top. The cells that it filled.
    pub fn blocks(&self, image: &Image, theme: &Theme, area: Rect, buffer: &mut Buffer) -> Rect {
        let area = area.intersection(buffer.area);
        let ink = self.ink(theme);
        let size = blocks_fit(area);
        let (columns, rows) = (usize::from(size.width), usize::from(size.height));
        let pixels = scale::square(image, columns);
        for row in 0..rows {
            for column in 0..columns {
                let pixel = |y: usize| pixels.get(y * columns + column).copied().unwrap_or(0);
                if let Some(cell) = buffer.cell_mut((area.x + column as u16, area.y + row as u16)) {
                    ink.paint(cell, pixel(2 * row), pixel(2 * row + 1));
                }
            }
        }
        Rect { width: size.width, height: size.height, ..area }
    }

    /// The protocol for this frame's pixels. Who wants no colours or no Unicode gets none unless the protocol was named.
    fn pixels(&self, theme: &Theme) -> Option<Protocol> {
        let plain = theme.depth == ColorDepth::None || theme.glyphs == Glyphs::Ascii;
        let wanted = !(self.covered.get() || plain && self.choice == Choice::Auto);
        self.protocol.filter(|_| wanted)
    }

    fn ink(&self, theme: &Theme) -> Ink {
        let light = theme.background == Background::Light;
        match theme.depth {
            _ if theme.glyphs == Glyphs::Ascii || self.choice == Choice::Ascii => Ink::Ascii,
            ColorDepth::None => Ink::Shades,
            ColorDepth::Sixteen => Ink::Sixteen { light },
            ColorDepth::Indexed => Ink::Indexed { light },
            ColorDepth::True => Ink::True { light },
        }
    }
}

/// The cells that a square of half-cell pixels fills: a whole multiple of the image's side where it fits once, else what there is.
pub fn blocks_fit(area: Rect) -> Size {
    let side = usize::from(area.width).min(2 * usize::from(area.height));
    let side = if side >= SIDE { side - side % SIDE } else { side };
    Size::new(side as u16, side.div_ceil(2) as u16)
}

#[cfg(test)]
mod tests;
