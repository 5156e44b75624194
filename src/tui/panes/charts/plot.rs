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
use super::curves::Curves;
use super::window::Window;
use crate::train::history::EpochRecord;
use crate::tui::format::width;
use crate::tui::theme::{Glyphs, Theme};

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
    /// The horizontal one.
    pub window: Window,
    /// The epochs, for its ticks.
    pub epochs: &'a [EpochRecord],
    /// Steps that an upright line marks, and how it looks.
    pub uprights: &'a [(u64, Style)],
    /// The step that the cursor is on.
    pub cursor: Option<u64>,
    /// Other runs' slots and names.
    pub legend: &'a [(isize, String)],
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
        let range = self.scale.around(self.curves.range().unwrap_or([self.scale.of(0.0), self.scale.of(1.0)]));
        for (step, style) in self.uprights {
            self.upright(*step, theme, inside, buffer, |_| *style);
        }
        self.curves(theme, range, inside, buffer);
        if let Some(step) = self.cursor {
            self.upright(step, theme, inside, buffer, |style| style.patch(theme.selection));
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
            let name = format!("{} {name}", theme.symbols().dot);
            let columns = width(&name).min(usize::from(row.width));
            buffer.set_stringn(row.right() - columns as u16, row.y, &name, columns, theme.other(*slot));
        }
    }

    fn column(&self, step: u64, theme: &Theme, inside: Rect) -> Option<u16> {
        let dots = if theme.glyphs == Glyphs::Ascii { 1 } else { 2 };
        self.window.column(step, inside.width, dots).map(|column| inside.x + column)
    }

    /// Draws a line at `step` that leaves the curves as they are.
    fn upright(&self, step: u64, theme: &Theme, inside: Rect, buffer: &mut Buffer, style: impl Fn(Style) -> Style) {
        let Some(x) = self.column(step, theme, inside) else { return };
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
        let others = others.iter().map(|(slot, points)| (points, theme.other(*slot)));
        let own = [(train, theme.train), (validation, theme.validation)];
        let curves = std::iter::once((raw, theme.dim)).chain(others).chain(own);
        let dataset = |(points, style): (&Vec<(f64, f64)>, Style)| {
            // A line of a single point is none.
            let kind = if points.len() == 1 { GraphType::Scatter } else { GraphType::Line };
            (points.clone(), style, kind)
        };
        let curves: Vec<_> = curves.map(dataset).collect();
        let datasets = curves.iter().map(|(points, style, kind)| {
            Dataset::default().data(points).style(*style).marker(marker).graph_type(*kind)
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
        if ticks.is_empty() {
            label(inside.x, &self.window.first.to_string());
            label(inside.right(), &self.window.last.to_string());
            gutter("step", theme, area, below, buffer);
            return;
        }
        for (x, epoch) in &ticks {
            label(*x, &epoch.to_string());
        }
        for (x, _) in &ticks {
            buffer.set_string(*x, inside.bottom(), symbols.tick, theme.border);
        }
        gutter("epoch", theme, area, below, buffer);
    }

    /// The ends of epochs and their columns; of many epochs every second, fifth, tenth …, so that the numbers stand apart.
    fn ticks(&self, theme: &Theme, inside: Rect) -> Vec<(u16, u32)> {
        let shown = self.epochs.iter().filter(|record| record.step > self.window.first);
        let ends: Vec<(u16, u32)> =
            shown.filter_map(|record| Some((self.column(record.step, theme, inside)?, record.epoch))).collect();
        let room = ends.last().map_or(0, |(_, epoch)| width(&epoch.to_string()) as u16 + 2);
        let every = |every: u32| -> Vec<(u16, u32)> {
            ends.iter().copied().filter(|(_, epoch)| epoch.is_multiple_of(every)).collect()
        };
        let stand_apart = |ticks: &Vec<(u16, u32)>| ticks.windows(2).all(|pair| pair[1].0 >= pair[0].0 + room);
        let spacings = (0..9).flat_map(|power| [1, 2, 5].map(|factor| factor * 10u32.pow(power)));
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
    use super::{Curves, Plot, Rect, Scale, Window, inside};
    use crate::train::history::EpochRecord;
    use crate::tui::theme::{Background, ColorDepth, Glyphs, Theme};

    fn epoch(epoch: u32) -> EpochRecord {
        EpochRecord {
            epoch,
            step: u64::from(epoch) * 750,
            train_loss: 0.1,
            train_accuracy: 0.9,
            validation: None,
            learning_rate: 1e-3,
            seconds: 1.0,
            samples: 48_000,
        }
    }

    #[track_caller]
    fn check(epochs: u32, columns: u16, expected: &[u32]) {
        let epochs: Vec<EpochRecord> = (1..=epochs).map(epoch).collect();
        let window = Window::new(epochs.len() as u64 * 750, 0, None);
        let curves = Curves::new(&[], std::iter::empty(), Scale::Linear, window, columns);
        let plot = Plot {
            name: "",
            curves,
            scale: Scale::Linear,
            window,
            epochs: &epochs,
            uprights: &[],
            cursor: None,
            legend: &[],
        };
        let theme = Theme::new(ColorDepth::True, Background::Dark, Glyphs::Unicode);
        let ticks = plot.ticks(&theme, inside(Rect::new(0, 0, columns + 8, 10)));
        assert_eq!(ticks.into_iter().map(|(_, epoch)| epoch).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn many_epochs_share_the_axis() {
        check(0, 26, &[]);
        check(1, 26, &[1]);
        check(5, 26, &[1, 2, 3, 4, 5]);
        check(10, 26, &[2, 4, 6, 8, 10]);
        check(100, 26, &[50, 100]);
        check(1000, 26, &[500, 1000]);
        check(10, 1, &[10]);
    }
}
