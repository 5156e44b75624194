//! Sixel (DEC VT340 graphics, VT330/VT340 Programmer Reference Manual, chapter 14): six rows of pixels a character.
//!
//! An encoder for greys alone: a general one spends tens of milliseconds on the choice of a palette.

use std::fmt::Write;

use image::GrayImage;
use ratatui::layout::Size;
use ratatui_image::protocol::sixel::Sixel;

/// Greys of the palette.
const GREYS: usize = 32;
/// Rows of pixels in a band.
const BAND: usize = 6;

/// The image as the text that draws it at the cursor over exactly `cells`, the cursor staying where it is.
pub(super) fn encode(image: &GrayImage, cells: Size) -> Sixel {
    let mut data = String::with_capacity(image.as_raw().len() / 4);
    // Erase what was written there, else it shines through on some terminals.
    data.push_str("\x1b7");
    for _ in 0..cells.height {
        data += &format!("\x1b[{}X\x1b[1B", cells.width);
    }
    data.push_str("\x1b8");
    draw(image, &mut data);
    data.push_str("\x1b8");
    Sixel { data, size: cells, is_tmux: false }
}

fn draw(image: &GrayImage, out: &mut String) {
    let width = image.width() as usize;
    // 1:1 pixels, and all of them are painted.
    *out += &format!("\x1bP0;1;0q\"1;1;{width};{}", image.height());
    for grey in 0..GREYS {
        let percent = grey * 100 / (GREYS - 1);
        *out += &format!("#{grey};2;{percent};{percent};{percent}");
    }
    if width > 0 {
        image.as_raw().chunks(BAND * width).for_each(|band| draw_band(band, width, out));
    }
    out.push_str("\x1b\\");
}

/// Up to six rows: for each grey a pass over the columns, then on to the next band.
fn draw_band(band: &[u8], width: usize, out: &mut String) {
    let mut masks = vec![0u8; GREYS * width];
    let mut present = [false; GREYS];
    for (row, pixels) in band.chunks(width).enumerate() {
        for (x, &pixel) in pixels.iter().enumerate() {
            let grey = (usize::from(pixel) * (GREYS - 1) + 127) / 255;
            masks[grey * width + x] |= 1 << row;
            present[grey] = true;
        }
    }
    for (grey, _) in present.iter().enumerate().filter(|(_, present)| **present) {
        *out += &format!("#{grey}");
        draw_runs(&masks[grey * width..(grey + 1) * width], out);
        out.push('$');
    }
    out.push('-');
}

/// `!90~`: ninety columns of six set pixels.
fn draw_runs(masks: &[u8], out: &mut String) {
    for run in masks.chunk_by(|a, b| a == b) {
        let character = char::from(b'?' + run[0]);
        // Writing to a string can't fail.
        let _ = if run.len() > 3 {
            write!(out, "!{}{character}", run.len())
        } else {
            run.iter().try_for_each(|_| write!(out, "{character}"))
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{GREYS, encode};
    use image::GrayImage;
    use ratatui::layout::Size;

    /// Reads the picture back: a small sixel terminal.
    fn decode(data: &str, width: usize, height: usize) -> Vec<u8> {
        let body = data.split_once('q').unwrap().1.split_once('\x1b').unwrap().0;
        let body = &body[body.find('#').unwrap()..];
        let mut pixels = vec![0; width * height];
        let (mut x, mut top, mut grey, mut times) = (0, 0, 0, 1);
        let mut rest = body;
        while let Some(c) = rest.chars().next() {
            rest = &rest[1..];
            match c {
                '$' => x = 0,
                '-' => (x, top) = (0, top + 6),
                '#' | '!' => {
                    let end = rest.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap();
                    let number = rest[..end].split(';').next().unwrap().parse::<usize>().unwrap();
                    if c == '#' {
                        grey = number;
                    } else {
                        times = number;
                    }
                    rest = &rest[end..];
                }
                _ => {
                    for _ in 0..times {
                        for row in (0..6).filter(|row| (c as u8 - b'?') >> row & 1 == 1) {
                            pixels[(top + row) * width + x] = (grey * 255 / (GREYS - 1)) as u8;
                        }
                        x += 1;
                    }
                    times = 1;
                }
            }
        }
        pixels
    }

    #[test]
    fn a_sixel_terminal_draws_what_was_encoded() {
        let image = GrayImage::from_fn(20, 13, |x, y| image::Luma([if x < 5 { 0 } else { (x * 11 + y * 7) as u8 }]));
        let sixel = encode(&image, Size::new(2, 1));
        assert!(sixel.data.starts_with("\x1b7\x1b[2X") && sixel.data.ends_with("\x1b\\\x1b8"));
        for (drawn, wanted) in decode(&sixel.data, 20, 13).iter().zip(image.as_raw()) {
            assert!(drawn.abs_diff(*wanted) <= 5, "{drawn} {wanted}");
        }
    }
}
