//! A terminal's screen as an SVG that looks the same in every viewer: lines, blocks and dots are drawn as shapes.

use std::collections::BTreeMap;
use std::fmt::Write;

use vt100::{Cell, Color, Screen};

/// A cell's size; the letters of common monospace fonts are 0.6 of their size wide.
const WIDTH: f64 = 9.0;
const HEIGHT: f64 = 18.0;
const LETTERS: f64 = 15.0;
/// Where letters stand in a cell, from its top.
const BASELINE: f64 = 13.5;
const MARGIN: f64 = 14.0;

const BACKGROUND: Rgb = (16, 20, 28);
const FOREGROUND: Rgb = (214, 220, 228);
const ANSI: [Rgb; 16] = [
    (30, 34, 42),
    (224, 90, 90),
    (110, 190, 110),
    (220, 180, 90),
    (90, 150, 225),
    (190, 120, 210),
    (90, 190, 200),
    (200, 206, 214),
    (110, 118, 130),
    (245, 125, 125),
    (145, 220, 145),
    (245, 210, 125),
    (130, 180, 250),
    (215, 155, 235),
    (130, 220, 230),
    (255, 255, 255),
];

type Rgb = (u8, u8, u8);

/// Draws the screen.
pub fn svg(screen: &Screen) -> String {
    let (rows, columns) = screen.size();
    let (width, height) = (f64::from(columns) * WIDTH + 2.0 * MARGIN, f64::from(rows) * HEIGHT + 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"{}\"/>\n\
         <g transform=\"translate({MARGIN} {MARGIN})\" font-size=\"{LETTERS}\" \
         font-family=\"'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace\">\n",
        hex(BACKGROUND)
    );
    let (mut shapes, mut texts) = (Shapes::default(), String::new());
    for row in 0..rows {
        draw_row(&mut shapes, &mut texts, screen, row, columns);
    }
    shapes.write(&mut svg);
    svg + &texts + "</g>\n</svg>\n"
}

/// What is drawn as shapes, by colour: one path for each, which is much shorter than an element for each shape.
#[derive(Default)]
struct Shapes {
    /// Left, top, width and height, by layer, colour and opacity in percent: what lies behind a sign comes before it.
    rects: BTreeMap<(Layer, Rgb, u8), Vec<[f64; 4]>>,
    /// The middles of dots.
    dots: BTreeMap<Rgb, Vec<[f64; 2]>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    Behind,
    Sign,
}

impl Shapes {
    /// Adds a rectangle, as part of the one to its left where that has the same height and colour.
    fn rect(&mut self, layer: Layer, color: Rgb, opacity: u8, [x, y, width, height]: [f64; 4]) {
        let rects = self.rects.entry((layer, color, opacity)).or_default();
        let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
        match rects.last_mut() {
            Some(last) if near(last[0] + last[2], x) && near(last[1], y) && near(last[3], height) => last[2] += width,
            _ => rects.push([x, y, width, height]),
        }
    }

    fn write(&self, svg: &mut String) {
        for ((_, color, opacity), rects) in &self.rects {
            let parts = rects.iter().map(|[x, y, width, height]| format!("M{x} {y}h{width}v{height}h-{width}z"));
            let path = parts.collect::<Vec<_>>().concat();
            let opacity = if *opacity < 100 { format!(" fill-opacity=\"0.{opacity}\"") } else { String::new() };
            let _ =
                writeln!(svg, "<path shape-rendering=\"crispEdges\" fill=\"{}\"{opacity} d=\"{path}\"/>", hex(*color));
        }
        for (color, dots) in &self.dots {
            let path = dots.iter().map(|[x, y]| format!("M{x} {y}h0")).collect::<Vec<_>>().concat();
            let _ = writeln!(
                svg,
                "<path stroke-linecap=\"round\" stroke-width=\"3\" stroke=\"{}\" d=\"{path}\"/>",
                hex(*color)
            );
        }
    }
}

/// How a cell's sign is drawn.
#[derive(Clone, Copy, PartialEq)]
struct Style {
    color: Rgb,
    bold: bool,
    italic: bool,
    underline: bool,
}

fn draw_row(shapes: &mut Shapes, texts: &mut String, screen: &Screen, row: u16, columns: u16) {
    let cells: Vec<&Cell> = (0..columns).filter_map(|column| screen.cell(row, column)).collect();
    let y = f64::from(row) * HEIGHT;
    let mut column = 0;
    for run in cells.chunk_by(|a, b| colors(a).1 == colors(b).1) {
        let background = colors(run[0]).1;
        if background != BACKGROUND {
            let place = [column as f64 * WIDTH, y, run.len() as f64 * WIDTH, HEIGHT];
            shapes.rect(Layer::Behind, background, 100, place);
        }
        column += run.len();
    }
    let mut word = Word::default();
    for (column, cell) in cells.iter().enumerate() {
        let x = column as f64 * WIDTH;
        let (color, _) = colors(cell);
        let sign = cell.contents();
        let is_shape = sign.chars().next().is_some_and(|sign| draw_shape(shapes, sign, x, y, color));
        if is_shape || sign.trim().is_empty() {
            word.flush(texts);
            continue;
        }
        let style = Style { color, bold: cell.bold(), italic: cell.italic(), underline: cell.underline() };
        word.add(texts, sign, style, (x, y), if cell.is_wide() { 2 } else { 1 });
    }
    word.flush(texts);
}

/// Letters of one style that stand side by side.
#[derive(Default)]
struct Word {
    text: String,
    cells: usize,
    style: Option<Style>,
    at: (f64, f64),
}

impl Word {
    fn add(&mut self, svg: &mut String, sign: &str, style: Style, at: (f64, f64), cells: usize) {
        if self.style != Some(style) {
            self.flush(svg);
            (self.style, self.at) = (Some(style), at);
        }
        self.text += sign;
        self.cells += cells;
    }

    fn flush(&mut self, svg: &mut String) {
        let Some(style) = self.style.take() else { return };
        let text = self.text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let mut attributes = format!("fill=\"{}\"", hex(style.color));
        for (is_on, attribute) in [
            (style.bold, " font-weight=\"bold\""),
            (style.italic, " font-style=\"italic\""),
            (style.underline, " text-decoration=\"underline\""),
        ] {
            attributes += if is_on { attribute } else { "" };
        }
        // The length holds the columns together whatever font the viewer finds.
        let length = self.cells as f64 * WIDTH;
        let (x, y) = (self.at.0, self.at.1 + BASELINE);
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{y}\" textLength=\"{length}\" lengthAdjust=\"spacingAndGlyphs\" {attributes}>{text}</text>"
        );
        *self = Self::default();
    }
}

/// Draws a block, line or braille sign; whether it was one.
fn draw_shape(shapes: &mut Shapes, sign: char, x: f64, y: f64, color: Rgb) -> bool {
    let code = sign as u32;
    match code {
        0x2580..=0x259f => draw_block(shapes, code, x, y, color),
        0x2800..=0x28ff => draw_braille(shapes, code - 0x2800, x, y, color),
        _ => {
            let Some(arms) = arms(sign) else { return false };
            draw_lines(shapes, arms, x, y, color);
        }
    }
    true
}

fn draw_block(shapes: &mut Shapes, code: u32, x: f64, y: f64, color: Rgb) {
    let eighths = |count: u32| f64::from(count) / 8.0;
    let mut part = |left: f64, top: f64, width: f64, height: f64, opacity: u8| {
        let place = [x + left * WIDTH, y + top * HEIGHT, width * WIDTH, height * HEIGHT];
        shapes.rect(Layer::Sign, color, opacity, place);
    };
    match code {
        0x2580 => part(0.0, 0.0, 1.0, 0.5, 100),
        0x2581..=0x2588 => part(0.0, 1.0 - eighths(code - 0x2580), 1.0, eighths(code - 0x2580), 100),
        0x2589..=0x258f => part(0.0, 0.0, eighths(0x2590 - code), 1.0, 100),
        0x2590 => part(0.5, 0.0, 0.5, 1.0, 100),
        0x2591..=0x2593 => part(0.0, 0.0, 1.0, 1.0, (code - 0x2590) as u8 * 25),
        0x2594 => part(0.0, 0.0, 1.0, 0.125, 100),
        0x2595 => part(0.875, 0.0, 0.125, 1.0, 100),
        _ => {
            // Upper left, upper right, lower left, lower right.
            let quarters = [4, 8, 1, 0b1101, 0b1001, 0b0111, 0b1011, 2, 0b0110, 0b1110][(code - 0x2596) as usize];
            for quarter in 0..4u32 {
                if quarters & (1 << quarter) != 0 {
                    part(f64::from(quarter % 2) * 0.5, f64::from(quarter / 2) * 0.5, 0.5, 0.5, 100);
                }
            }
        }
    }
}

fn draw_braille(shapes: &mut Shapes, dots: u32, x: f64, y: f64, color: Rgb) {
    for dot in (0..8u32).filter(|dot| dots & (1 << dot) != 0) {
        let (column, row) = if dot < 6 { (dot / 3, dot % 3) } else { (dot - 6, 3) };
        let middle = [x + (0.25 + 0.5 * f64::from(column)) * WIDTH, y + (0.125 + 0.25 * f64::from(row)) * HEIGHT];
        shapes.dots.entry(color).or_default().push(middle);
    }
}

/// Thickness of a line sign's arms: up, right, down, left.
fn arms(sign: char) -> Option<[f64; 4]> {
    let (light, heavy) = (1.3, 2.6);
    let table = [
        ("─┄┈╌", [0., 1., 0., 1.]),
        ("│┆┊╎", [1., 0., 1., 0.]),
        ("┌╭", [0., 1., 1., 0.]),
        ("┐╮", [0., 0., 1., 1.]),
        ("└╰", [1., 1., 0., 0.]),
        ("┘╯", [1., 0., 0., 1.]),
        ("├", [1., 1., 1., 0.]),
        ("┤", [1., 0., 1., 1.]),
        ("┬", [0., 1., 1., 1.]),
        ("┴", [1., 1., 0., 1.]),
        ("┼", [1., 1., 1., 1.]),
        ("╴", [0., 0., 0., 1.]),
        ("╵", [1., 0., 0., 0.]),
        ("╶", [0., 1., 0., 0.]),
        ("╷", [0., 0., 1., 0.]),
    ];
    let heavy_table = [
        ("━┅┉═", [0., 1., 0., 1.]),
        ("┃┇┋║", [1., 0., 1., 0.]),
        ("┏╔", [0., 1., 1., 0.]),
        ("┓╗", [0., 0., 1., 1.]),
        ("┗╚", [1., 1., 0., 0.]),
        ("┛╝", [1., 0., 0., 1.]),
        ("┣╠", [1., 1., 1., 0.]),
        ("┫╣", [1., 0., 1., 1.]),
        ("┳╦", [0., 1., 1., 1.]),
        ("┻╩", [1., 1., 0., 1.]),
        ("╋╬", [1., 1., 1., 1.]),
    ];
    let find = |table: &[(&str, [f64; 4])], thickness: f64| {
        let row = table.iter().find(|(signs, _)| signs.contains(sign))?;
        Some(row.1.map(|arm| arm * thickness))
    };
    find(&table, light).or_else(|| find(&heavy_table, heavy))
}

fn draw_lines(shapes: &mut Shapes, [up, right, down, left]: [f64; 4], x: f64, y: f64, color: Rgb) {
    let (middle_x, middle_y) = (x + WIDTH / 2.0, y + HEIGHT / 2.0);
    let (across, along) = (up.max(down) / 2.0, left.max(right) / 2.0);
    for (thickness, from, to) in [(left, x, middle_x + across), (right, middle_x - across, x + WIDTH)] {
        if thickness > 0.0 {
            shapes.rect(Layer::Sign, color, 100, [from, middle_y - thickness / 2.0, to - from, thickness]);
        }
    }
    for (thickness, from, to) in [(up, y, middle_y + along), (down, middle_y - along, y + HEIGHT)] {
        if thickness > 0.0 {
            shapes.rect(Layer::Sign, color, 100, [middle_x - thickness / 2.0, from, thickness, to - from]);
        }
    }
}

/// Colour of the sign and of what lies behind it.
fn colors(cell: &Cell) -> (Rgb, Rgb) {
    let foreground = rgb(cell.fgcolor()).unwrap_or(FOREGROUND);
    let background = rgb(cell.bgcolor()).unwrap_or(BACKGROUND);
    let (foreground, background) = if cell.inverse() { (background, foreground) } else { (foreground, background) };
    if cell.dim() { (mix(foreground, background), background) } else { (foreground, background) }
}

fn mix(a: Rgb, b: Rgb) -> Rgb {
    let mean = |a: u8, b: u8| ((u16::from(a) * 3 + u16::from(b) * 2) / 5) as u8;
    (mean(a.0, b.0), mean(a.1, b.1), mean(a.2, b.2))
}

fn rgb(color: Color) -> Option<Rgb> {
    match color {
        Color::Default => None,
        Color::Rgb(r, g, b) => Some((r, g, b)),
        Color::Idx(index @ 0..=15) => Some(ANSI[usize::from(index)]),
        Color::Idx(index @ 16..=231) => {
            let level = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
            let index = index - 16;
            Some((level(index / 36), level(index / 6 % 6), level(index % 6)))
        }
        Color::Idx(index) => {
            let grey = 8 + 10 * (index - 232);
            Some((grey, grey, grey))
        }
    }
}

fn hex((r, g, b): Rgb) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

#[test]
fn every_kind_of_sign_is_drawn() {
    let mut parser = vt100::Parser::new(3, 20, 0);
    parser.process("\x1b[1;38;2;255;0;0mbold\x1b[0m <&> \x1b[48;5;196m ▀▄ \x1b[0m\r\n┌─┐ ⣿ ▟".as_bytes());
    let svg = svg(parser.screen());
    for part in [
        "fill=\"#ff0000\" font-weight=\"bold\">bold<",
        "&lt;&amp;&gt;",
        // What lies behind the blocks, and the half blocks.
        "fill=\"#ff0000\" d=\"M81 0h36v18h-36z\"",
        "d=\"M90 0h9v9h-9zM99 9h9v9h-9z",
    ] {
        assert!(svg.contains(part), "{part} in\n{svg}");
    }
    assert_eq!(svg.matches("h0").count(), 8);
    assert!(!svg.contains('┌') && !svg.contains('▀'));
}
