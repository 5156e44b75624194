//! Images as they are drawn: exact half-blocks, shades, sixel, and which way is chosen.

use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};
use ratatui::style::Color;

use super::choice::Choice;
use super::{Graphics, blocks_fit};
use crate::data::{Image, PIXELS, SIDE};
use crate::tui::theme::{Background, ColorDepth, Glyphs, Theme};

/// An image in which every pixel differs from its neighbours.
fn pattern() -> Image {
    let mut image = [0; PIXELS];
    for (index, pixel) in image.iter_mut().enumerate() {
        *pixel = (index * 91 % 256) as u8;
    }
    image
}

fn theme(depth: ColorDepth, background: Background) -> Theme {
    Theme::new(depth, background, Glyphs::Unicode)
}

#[test]
fn twenty_eight_columns_and_fourteen_rows_are_exact() {
    let image = pattern();
    let area = Rect::new(3, 2, 40, 14);
    for background in [Background::Dark, Background::Light] {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 50, 20));
        let filled = Graphics::default().digit(&image, &theme(ColorDepth::True, background), area, &mut buffer);
        assert_eq!(filled, Rect::new(3, 2, 28, 14));
        let paint = |pixel: u8| if background == Background::Dark { pixel } else { 255 - pixel };
        for row in 0..14 {
            for column in 0..SIDE {
                let cell = &buffer[(3 + column as u16, 2 + row as u16)];
                let [top, bottom] = [2 * row, 2 * row + 1].map(|y| paint(image[y * SIDE + column]));
                assert_eq!(cell.symbol(), "▀");
                assert_eq!(cell.fg, Color::Rgb(top, top, top));
                assert_eq!(cell.bg, Color::Rgb(bottom, bottom, bottom));
            }
        }
        assert_eq!(buffer[(31, 2)].symbol(), " ");
    }
}

#[test]
fn sizes_keep_the_square_and_whole_multiples() {
    for (columns, rows, expected) in
        [(28, 14, (28, 14)), (80, 30, (56, 28)), (56, 27, (28, 14)), (20, 5, (10, 5)), (7, 9, (7, 4)), (0, 3, (0, 0))]
    {
        assert_eq!(blocks_fit(Rect::new(0, 0, columns, rows)), Size::new(expected.0, expected.1));
    }
}

#[test]
fn no_size_and_no_depth_panics_or_leaves_the_area() {
    let image = pattern();
    for choice in [Choice::Auto, Choice::Ascii, Choice::Kitty, Choice::Sixel, Choice::Iterm2] {
        let graphics = Graphics::new(choice, |_| None, None);
        for depth in [ColorDepth::None, ColorDepth::Sixteen, ColorDepth::Indexed, ColorDepth::True] {
            for (width, height) in [(0, 0), (1, 1), (2, 9), (9, 1), (28, 14), (30, 60), (120, 60)] {
                let area = Rect::new(1, 1, width, height);
                let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 40));
                let theme = theme(depth, Background::Dark);
                let filled = graphics.digit(&image, &theme, area, &mut buffer);
                assert_eq!(filled.intersection(area.intersection(buffer.area)), filled);
                assert_eq!(filled, graphics.fit(&theme, area.intersection(buffer.area)));
                assert_eq!(buffer[(0, 0)].symbol(), " ");
            }
        }
    }
}

#[test]
fn what_lies_over_the_panes_turns_pixels_into_characters() {
    let graphics = Graphics::new(Choice::Kitty, |_| None, None);
    let draw = || {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 28, 14));
        graphics.digit(&pattern(), &theme(ColorDepth::True, Background::Dark), buffer.area, &mut buffer);
        buffer[(1, 1)].symbol().to_owned()
    };
    assert_eq!(draw(), "\u{10EEEE}");
    graphics.begin(true);
    assert_eq!(draw(), "▀");
    graphics.begin(false);
    assert_eq!(draw(), "\u{10EEEE}");
}

#[test]
fn pixels_that_moved_or_went_leave_remains() {
    let theme = theme(ColorDepth::True, Background::Dark);
    for (choice, expected) in [(Choice::Sixel, true), (Choice::Iterm2, true), (Choice::Kitty, false)] {
        let graphics = Graphics::new(choice, |_| None, None);
        let frame = |area: Option<Rect>| {
            graphics.begin(false);
            if let Some(area) = area {
                graphics.digit(&pattern(), &theme, area, &mut Buffer::empty(Rect::new(0, 0, 90, 40)));
            }
            graphics.leaves_remains()
        };
        let (here, there) = (Some(Rect::new(0, 0, 28, 14)), Some(Rect::new(9, 9, 28, 14)));
        let steps = [None, here, here, there, None, None];
        let remains = steps.map(frame);
        assert_eq!(remains, [false, false, false, expected, expected, false], "{choice:?}");
    }
}

#[test]
fn what_the_environment_says_of_kitty_is_proven() {
    let kitty = |name: &str| (name == "TERM").then(|| "xterm-kitty".to_owned());
    let theme = theme(ColorDepth::True, Background::Dark);
    let name = |choice, version: Option<&str>| {
        Graphics::new(choice, kitty, Some(Size::new(10, 20))).proven(|| version.map(str::to_owned)).name(&theme)
    };
    assert_eq!(name(Choice::Auto, Some("kitty(0.41.1)")), "kitty");
    assert_eq!(name(Choice::Auto, Some("kitty(0.26.5)")), "half-blocks");
    assert_eq!(name(Choice::Auto, None), "half-blocks");
    assert_eq!(name(Choice::Kitty, None), "kitty");
}

#[test]
fn no_colours_or_ascii_means_no_pixels_unless_they_were_asked_for() {
    let kitty = |name: &str| (name == "TERM").then(|| "xterm-kitty".to_owned());
    for (depth, glyphs, characters) in
        [(ColorDepth::None, Glyphs::Unicode, "half-blocks"), (ColorDepth::True, Glyphs::Ascii, "ascii")]
    {
        let theme = Theme::new(depth, Background::Dark, glyphs);
        for (choice, name) in [(Choice::Auto, characters), (Choice::Kitty, "kitty")] {
            let graphics = Graphics::new(choice, kitty, Some(Size::new(10, 20)));
            assert_eq!(graphics.name(&theme), name);
            assert_eq!(graphics.pixels(&theme).is_some(), choice == Choice::Kitty);
        }
    }
}
