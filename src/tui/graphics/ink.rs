//! Grey values as characters: two pixels, one above the other, in one cell.

use ratatui::buffer::Cell;
use ratatui::style::Color;

use crate::tui::theme::ColorDepth;

/// What grey is made of. `light` stands for dark ink on light paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// 24-bit greys.
    True {
        /// On light paper.
        light: bool,
    },
    /// The greys among xterm's 256 colours.
    Indexed {
        /// On light paper.
        light: bool,
    },
    /// The four greys of ANSI's 16 colours.
    Sixteen {
        /// On light paper.
        light: bool,
    },
    /// Characters that fill more or less of their cell, in the terminal's own colour.
    Shades,
    /// Printable ASCII, thin to dense.
    Ascii,
}

const SHADES: [&str; 5] = [" ", "░", "▒", "▓", "█"];
const LETTERS: [&str; 10] = [" ", ".", ":", "-", "=", "+", "*", "#", "%", "@"];

impl Ink {
    /// Paints a cell with the pixels `top` and `bottom`, 0 for the background to 255.
    pub(super) fn paint(self, cell: &mut Cell, top: u8, bottom: u8) {
        cell.reset();
        match self {
            Self::Shades => cell.set_symbol(shade(top, bottom)),
            Self::Ascii => cell.set_symbol(LETTERS[level(top, bottom, LETTERS.len())]),
            _ => cell.set_symbol("▀").set_fg(self.color(top)).set_bg(self.color(bottom)),
        };
    }

    fn color(self, grey: u8) -> Color {
        match self {
            Self::True { light } => {
                let grey = on(light, grey);
                Color::Rgb(grey, grey, grey)
            }
            Self::Indexed { light } => ColorDepth::Indexed.nearest([on(light, grey); 3]),
            Self::Sixteen { light } => match on(light, grey) {
                0..64 => Color::Black,
                64..160 => Color::DarkGray,
                160..224 => Color::Gray,
                224.. => Color::White,
            },
            Self::Shades | Self::Ascii => Color::Reset,
        }
    }
}

fn on(light: bool, grey: u8) -> u8 {
    if light { 255 - grey } else { grey }
}

/// Half a block where the pixels differ much, else their mean.
fn shade(top: u8, bottom: u8) -> &'static str {
    const CONTRAST: u8 = 128;
    if top.saturating_sub(bottom) >= CONTRAST {
        "▀"
    } else if bottom.saturating_sub(top) >= CONTRAST {
        "▄"
    } else {
        SHADES[level(top, bottom, SHADES.len())]
    }
}

/// The pixels' mean in `0..levels`.
fn level(top: u8, bottom: u8, levels: usize) -> usize {
    (usize::from(top) + usize::from(bottom)) * levels / 511
}

#[cfg(test)]
mod tests {
    use super::{Cell, Color, Ink};

    #[track_caller]
    fn check(ink: Ink, top: u8, bottom: u8, symbol: &str, fg: Color, bg: Color) {
        let mut cell = Cell::default();
        ink.paint(&mut cell, top, bottom);
        assert_eq!((cell.symbol(), cell.fg, cell.bg), (symbol, fg, bg), "{ink:?} {top} {bottom}");
    }

    #[test]
    fn two_pixels_become_one_cell() {
        check(Ink::True { light: false }, 10, 200, "▀", Color::Rgb(10, 10, 10), Color::Rgb(200, 200, 200));
        check(Ink::True { light: true }, 10, 200, "▀", Color::Rgb(245, 245, 245), Color::Rgb(55, 55, 55));
        check(Ink::Indexed { light: false }, 0, 255, "▀", Color::Indexed(16), Color::Indexed(231));
        check(Ink::Indexed { light: false }, 8, 238, "▀", Color::Indexed(232), Color::Indexed(255));
        check(Ink::Sixteen { light: false }, 0, 255, "▀", Color::Black, Color::White);
        check(Ink::Sixteen { light: true }, 0, 255, "▀", Color::White, Color::Black);
        for (top, bottom, symbol) in [(0, 0, " "), (255, 0, "▀"), (0, 255, "▄"), (255, 255, "█"), (120, 140, "▒")]
        {
            check(Ink::Shades, top, bottom, symbol, Color::Reset, Color::Reset);
        }
        for (top, bottom, symbol) in [(0, 0, " "), (255, 0, "="), (255, 255, "@"), (0, 60, ".")] {
            check(Ink::Ascii, top, bottom, symbol, Color::Reset, Color::Reset);
        }
    }
}
