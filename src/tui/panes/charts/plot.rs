//! One chart: curves between their axes, uprights where something happened, the cursor.
//!
//! ```text
//!    1 │⢸            loss
//!  0.1 │ ⠈⠢⡀  │
//! 0.01 │    ⠉⠒│⠤⠤⣀⣀
//!      ╰───┬──────┬──────
//! epoch    1      2
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::symbols::Marker;
use ratatui::widgets::{Axis, Chart, Dataset, GraphType, Widget};

use super::axis::Scale;
use super::clock::Across;
use super::curves::Curves;
use super::reach::Reach;
use super::window::Window;
use crate::tui::format::{shorten, width};
use crate::tui::theme::{ColorDepth, Glyphs, Theme};

/// Columns left of the curves: a number and the axis.
const LEFT: u16 = 8;
/// Lines below the curves: the axis and its numbers.
const BELOW: u16 = 2;

/// What one chart shows.
pub struct Plot<'a> {
    /// What is measured.
    pub name: &'static str,
    /// The curves, in the axis's scale.
    pub curves: Curves,
    /// The vertical axis.
    pub scale: Scale,
    /// Which values it must reach.
    pub reach: Reach,
    /// What the horizontal one counts.
    pub across: Across,
    /// What of it is shown.
    pub window: Window,
    /// Places that an upright line marks.
    pub uprights: &'a [Upright],
    /// The place that the cursor is on.
    pub cursor: Option<u64>,
    /// Other runs' or layers' slots and names.
    pub legend: &'a [(isize, String)],
    /// What the lines behind and beside are.
    pub lines: Lines,
}

/// What the lines of a chart besides the run's own are, and so how they are told apart where there are no colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lines {
    /// Of other runs, all the same.
    #[default]
    Runs,
    /// Of layers, each of its number.
    Layers,
}

/// An upright line.
#[derive(Clone, Debug)]
pub struct Upright {
    /// Where.
    pub place: u64,
    /// How it looks.
    pub style: Style,
    /// What stands at its top, if anything.
    pub sign: Option<&'static str>,
}

/// Where the curves of a chart in `area` are.
pub fn inside(area: Rect) -> Rect {
    let (left, below) = (LEFT.min(area.width), BELOW.min(area.height));
    Rect { x: area.x + left, width: area.width - left, height: area.height - below, ..area }
}

impl Plot<'_> {
    /// Draws the chart into `area`.
    pub fn render(&self, theme: &Theme, area: Rect, buffer: &mut Buffer) {
        let inside = inside(area);
        if inside.is_empty() {
            return;
        }
        let range =
            self.scale.around(self.curves.range(self.reach).unwrap_or([self.scale.of(0.0), self.scale.of(1.0)]));
        for upright in self.uprights {
            self.upright(upright.place, theme, inside, buffer, |_| upright.style);
        }
        self.curves(theme, range, inside, buffer);
        if let Some(place) = self.cursor {
            self.upright(place, theme, inside, buffer, |style| style.patch(theme.selection));
        }
        for Upright { place, style, sign } in self.uprights {
            if let (Some(x), Some(sign)) = (self.column(*place, theme, inside), sign) {
                buffer.set_string(x, inside.y, sign, *style);
            }
        }
        self.vertical_axis(theme, range, area, inside, buffer);
        self.horizontal_axis(theme, area, inside, buffer);
        let name = width(self.name).min(usize::from(inside.width)) as u16;
        buffer.set_stringn(inside.right() - name, inside.y, self.name, usize::from(name), theme.dim);
        self.legend(theme, inside, buffer);
    }

    /// The names of other runs below the chart's own, in their curves' colours.
    fn legend(&self, theme: &Theme, inside: Rect, buffer: &mut Buffer) {
        for (row, (slot, name)) in inside.rows().skip(1).zip(self.legend) {
            let sign = self.sign(*slot, theme).map_or_else(|| theme.symbols().dot.to_owned(), String::from);
            let name = shorten(&format!("{sign} {name}"), usize::from(row.width / 2), theme.symbols().ellipsis);
            let columns = width(&name);
            buffer.set_stringn(row.right() - columns as u16, row.y, &name, columns, theme.other(*slot));
        }
    }

    /// The character that a layer's line is drawn of where colours can't tell it from others.
    fn sign(&self, slot: isize, theme: &Theme) -> Option<char> {
        let told_apart = theme.glyphs != Glyphs::Ascii && theme.depth != ColorDepth::None;
        let number = u32::try_from(slot + 1).ok().filter(|_| self.lines == Lines::Layers && !told_apart)?;
        char::from_digit(number % 36, 36)
    }

    fn column(&self, place: u64, theme: &Theme, inside: Rect) -> Option<u16> {
        let dots = if theme.glyphs == Glyphs::Ascii { 1 } else { 2 };
        self.window.column(place, inside.width, dots).map(|column| inside.x + column)
    }

    /// Draws a line at `place` that leaves the curves as they are.
    fn upright(&self, place: u64, theme: &Theme, inside: Rect, buffer: &mut Buffer, style: impl Fn(Style) -> Style) {
        let Some(x) = self.column(place, theme, inside) else { return };
        for y in inside.top()..inside.bottom() {
            let cell = &mut buffer[(x, y)];
            if cell.symbol() == " " {
                cell.set_symbol(theme.symbols().vertical);
            }
            cell.set_style(style(cell.style()));
        }
    }

    fn curves(&self, theme: &Theme, range: [f64; 2], inside: Rect, buffer: &mut Buffer) {
        let marker = if theme.glyphs == Glyphs::Ascii { Marker::Custom('.') } else { Marker::Braille };
        let Curves { others, raw, train, validation } = &self.curves;
        let other = |(slot, points): &'_ (isize, Vec<(f64, f64)>)| {
            let sign = self.sign(*slot, theme).map_or(marker, Marker::Custom);
            (points.clone(), theme.other(*slot), sign)
        };
        let own = [(train, theme.train), (validation, theme.validation)];
        let own = own.map(|(points, style)| (points.clone(), style, marker));
        let curves: Vec<_> =
            std::iter::once((raw.clone(), theme.dim, marker)).chain(others.iter().map(other)).chain(own).collect();
        let datasets = curves.iter().map(|(points, style, marker)| {
            // A line of a single point is none.
            let kind = if points.len() == 1 { GraphType::Scatter } else { GraphType::Line };
            Dataset::default().data(points).style(*style).marker(*marker).graph_type(kind)
        });
        Chart::new(datasets.collect())
            .legend_position(None)
            .x_axis(Axis::default().bounds([self.window.first as f64, self.window.last as f64]))
            .y_axis(Axis::default().bounds(range))
            .render(inside, buffer);
    }

    fn vertical_axis(&self, theme: &Theme, range: [f64; 2], area: Rect, inside: Rect, buffer: &mut Buffer) {
        for y in inside.top()..inside.bottom() {
            buffer.set_string(inside.x - 1, y, theme.symbols().vertical, theme.border);
        }
        for (row, label) in self.scale.labels(range, inside.height) {
            gutter(&label, theme, area, inside.y + row, buffer);
        }
    }

    fn horizontal_axis(&self, theme: &Theme, area: Rect, inside: Rect, buffer: &mut Buffer) {
        let symbols = theme.symbols();
        let line = symbols.horizontal.repeat(usize::from(inside.width));
        let axis = symbols.border.bottom_left.to_owned() + &line;
        buffer.set_stringn(inside.x - 1, inside.bottom(), axis, usize::from(inside.width) + 1, theme.border);
        let below = inside.bottom() + 1;
        let mut label = |x: u16, text: &str| {
            let room = inside.right().saturating_sub(width(text) as u16).max(inside.x);
            let x = x.saturating_sub(width(text) as u16 / 2).clamp(inside.x, room);
            buffer.set_stringn(x, below, text, usize::from(inside.right() - x), theme.dim);
        };
        let ticks = self.ticks(theme, inside);
        for (x, text) in &ticks {
            label(*x, text);
        }
        for (x, _) in &ticks {
            buffer.set_string(*x, inside.bottom(), symbols.tick, theme.border);
        }
        gutter(self.across.unit(self.window.last - self.window.first).0, theme, area, below, buffer);
    }

    /// Round numbers and their columns, as many as stand apart.
    fn ticks(&self, theme: &Theme, inside: Rect) -> Vec<(u16, String)> {
        let Window { first, last } = self.window;
        let (_, unit) = self.across.unit(last - first);
        let (low, high) = (first as f64 / unit, last as f64 / unit);
        let least = ((high - low) / f64::from(inside.width.max(1))).log10().floor() as i32;
        let spacings = (least..least + 9).flat_map(|power| [1, 2, 5].map(|factor| (factor, power)));
        // A step is whole.
        let spacings = spacings.filter(|(_, power)| self.across != Across::Steps || *power >= 0);
        let every = |(factor, power): (i32, i32)| -> Vec<(u16, String)> {
            let (step, decimals) = (f64::from(factor) * 10f64.powi(power), usize::try_from(-power).unwrap_or(0));
            let numbers =
                ((low / step).ceil() as u64..=(high / step).floor() as u64).take(1 + usize::from(inside.width));
            let tick = |number: u64| {
                let number = number as f64 * step;
                let x = self.column((number * unit).round() as u64, theme, inside)?;
                Some((x, format!("{number:.decimals$}")))
            };
            numbers.filter_map(tick).collect()
        };
        let stand_apart = |ticks: &Vec<(u16, String)>| {
            let room = ticks.iter().map(|(_, text)| width(text) as u16 + 2).max().unwrap_or(0);
            // Labels at the edges are moved inside, by half their width.
            ticks.windows(2).all(|pair| pair[1].0 >= pair[0].0 + room + u16::from(pair[0].0 == inside.x))
        };
        spacings.map(every).find(stand_apart).unwrap_or_default()
    }
}

/// Writes `text` left of the axis.
fn gutter(text: &str, theme: &Theme, area: Rect, y: u16, buffer: &mut Buffer) {
    let room = usize::from(LEFT) - 2;
    buffer.set_stringn(area.x, y, format!("{text:>room$}"), room, theme.dim);
}

#[cfg(test)]
mod tests {
    use super::{Across, Curves, Lines, Plot, Reach, Rect, Scale, Window, inside};
    use crate::tui::theme::{Background, ColorDepth, Glyphs, Theme};

    #[track_caller]
    fn check(across: Across, window: Window, columns: u16, expected: &[&str]) {
        let plot = Plot {
            name: "",
            curves: Curves::default(),
            scale: Scale::Linear,
            reach: Reach::Usual,
            across,
            window,
            uprights: &[],
            cursor: None,
            legend: &[],
            lines: Lines::Runs,
        };
        let theme = Theme::new(ColorDepth::True, Background::Dark, Glyphs::Unicode);
        let ticks = plot.ticks(&theme, inside(Rect::new(0, 0, columns + 8, 10)));
        assert_eq!(ticks.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn many_epochs_share_the_axis() {
        let epochs = |first: u64, last: u64| Window { first: first * 10_000, last: last * 10_000 };
        check(Across::Epochs, epochs(0, 5), 26, &["0", "1", "2", "3", "4", "5"]);
        check(Across::Epochs, epochs(0, 10), 26, &["0", "2", "4", "6", "8", "10"]);
        check(Across::Epochs, epochs(50, 100), 26, &["60", "80", "100"]);
        check(Across::Epochs, epochs(0, 1000), 26, &["0", "500", "1000"]);
        check(Across::Epochs, epochs(0, 10), 1, &["0"]);
        check(Across::Epochs, Window { first: 0, last: 900 }, 26, &["0.00", "0.05"]);
    }

    #[test]
    fn steps_are_whole_and_long_times_are_minutes() {
        check(Across::Steps, Window { first: 0, last: 3 }, 60, &["0", "1", "2", "3"]);
        check(Across::Steps, Window { first: 0, last: 8000 }, 30, &["0", "2000", "4000", "6000", "8000"]);
        check(Across::Time, Window { first: 0, last: 20_000 }, 30, &["0", "5", "10", "15", "20"]);
        check(Across::Time, Window { first: 0, last: 1_200_000 }, 30, &["0", "5", "10", "15", "20"]);
        check(Across::Steps, Window { first: 0, last: u64::MAX }, 30, &["0"]);
    }
}
