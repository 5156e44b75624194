//! Pictures of any size whose values have a sign: orange above 0, blue below, as strong as they are beside the peak.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;

use super::Graphics;
use super::ink::Ink;
use crate::tui::theme::{Background, Theme};

/// What stands for the largest value, and for the least.
const POSITIVE: [f32; 3] = [255.0, 150.0, 20.0];
const NEGATIVE: [f32; 3] = [70.0, 150.0, 255.0];

impl Graphics {
    /// Draws the `[rows, columns]` of `values` as large as they fit into `area`, from its top left. The cells that were filled.
    /// Without colours the sign is lost.
    pub fn signed(
        &self,
        values: &[f32],
        size: [usize; 2],
        peak: f32,
        theme: &Theme,
        area: Rect,
        buffer: &mut Buffer,
    ) -> Rect {
        let area = area.intersection(buffer.area);
        let room = [2 * usize::from(area.height), usize::from(area.width)];
        if size.contains(&0) || room.contains(&0) || values.len() < size[0] * size[1] {
            return Rect { width: 0, height: 0, ..area };
        }
        let [rows, columns] = fitted(size, room);
        let strength = |row: usize, column: usize| {
            if row >= rows {
                return 0.0;
            }
            let mean = mean(values, size, [rows, columns], [row, column]);
            if peak > 0.0 && mean.is_finite() { (mean / peak).clamp(-1.0, 1.0) } else { 0.0 }
        };
        let ink = self.ink(theme);
        for row in 0..rows.div_ceil(2) {
            for column in 0..columns {
                let Some(cell) = buffer.cell_mut((area.x + column as u16, area.y + row as u16)) else { continue };
                let [top, bottom] = [2 * row, 2 * row + 1].map(|row| strength(row, column));
                match ink {
                    Ink::Shades | Ink::Ascii => ink.paint(cell, grey(top), grey(bottom)),
                    _ => {
                        cell.reset();
                        cell.set_symbol("▀").set_fg(color(theme, top)).set_bg(color(theme, bottom));
                    }
                }
            }
        }
        Rect { width: columns as u16, height: rows.div_ceil(2) as u16, ..area }
    }
}

/// The size of a picture in `room`: a whole multiple where it fits once, else shrunk in its proportions.
fn fitted(size: [usize; 2], room: [usize; 2]) -> [usize; 2] {
    let times = (room[0] / size[0]).min(room[1] / size[1]);
    if times >= 1 {
        return size.map(|side| side * times);
    }
    let share = (room[0] as f64 / size[0] as f64).min(room[1] as f64 / size[1] as f64);
    size.map(|side| ((side as f64 * share) as usize).max(1))
}

/// The mean of the values that the pixel `at` of a picture of size `to` covers.
fn mean(values: &[f32], from: [usize; 2], to: [usize; 2], at: [usize; 2]) -> f32 {
    let span = |axis: usize| {
        let first = at[axis] * from[axis] / to[axis];
        first..((at[axis] + 1) * from[axis]).div_ceil(to[axis]).clamp(first + 1, from[axis])
    };
    // Enlarged, each pixel shows one value: the span's first.
    let [rows, columns] =
        [0, 1].map(|axis| if to[axis] >= from[axis] { span(axis).start..span(axis).start + 1 } else { span(axis) });
    let count = rows.len() * columns.len();
    let sum: f32 =
        rows.map(|row| values[row * from[1] + columns.start..row * from[1] + columns.end].iter().sum::<f32>()).sum();
    sum / count as f32
}

fn grey(strength: f32) -> u8 {
    (strength.abs() * 255.0) as u8
}

fn color(theme: &Theme, strength: f32) -> Color {
    let paper = if theme.background == Background::Dark { 0.0 } else { 255.0 };
    let end = if strength < 0.0 { NEGATIVE } else { POSITIVE };
    theme.rgb(end.map(|end| (paper + (end - paper) * strength.abs().sqrt()) as u8))
}

#[cfg(test)]
mod tests {
    use super::{Rect, fitted, mean};
    use crate::tui::graphics::Graphics;
    use crate::tui::theme::{Background, ColorDepth, Glyphs, Theme};
    use ratatui::buffer::Buffer;
    use ratatui::style::Color;

    #[test]
    fn pictures_fill_their_room() {
        assert_eq!(fitted([28, 28], [28, 28]), [28, 28]);
        assert_eq!(fitted([3, 3], [14, 7]), [6, 6]);
        assert_eq!(fitted([26, 26], [14, 14]), [14, 14]);
        assert_eq!(fitted([1, 120], [14, 14]), [1, 14]);
    }

    #[test]
    fn a_smaller_picture_has_the_means_and_a_larger_one_repeats() {
        let values = [1.0, 3.0, 5.0, 7.0];
        assert!((mean(&values, [2, 2], [1, 1], [0, 0]) - 4.0).abs() < 1e-6);
        assert!((mean(&values, [2, 2], [4, 4], [3, 1]) - 5.0).abs() < 1e-6);
    }

    #[test]
    fn the_sign_is_a_colour() {
        let theme = Theme::new(ColorDepth::True, Background::Dark, Glyphs::Unicode);
        let area = Rect::new(0, 0, 2, 1);
        let mut buffer = Buffer::empty(area);
        Graphics::default().signed(&[1.0, -1.0, 0.0, 0.0], [2, 2], 1.0, &theme, area, &mut buffer);
        assert_eq!((buffer[(0, 0)].fg, buffer[(1, 0)].fg), (Color::Rgb(255, 150, 20), Color::Rgb(70, 150, 255)));
        assert_eq!(buffer[(0, 0)].bg, Color::Rgb(0, 0, 0));
    }
}
