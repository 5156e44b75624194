//! The matrix pane: which class is taken for which.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Modifier, Style};

use super::{Context, Pane};
use crate::command::{Command, Filter};
use crate::data::CLASSES;
use crate::metrics::Confusion;
use crate::state::LabState;
use crate::tui::format::percent;
use crate::tui::keymap::Action;
use crate::tui::message::Effect;
use crate::tui::theme::{ColorDepth, Theme};

/// Columns of the row's class and the line after it.
const LABEL: u16 = 3;

/// Columns of the recall on the right.
const RECALL: u16 = 5;

/// The matrix pane.
#[derive(Debug, Default)]
pub struct ConfusionMatrix {
    source: Source,
    numbers: Numbers,
    row: usize,
    column: usize,
}

/// What stands in a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Numbers {
    #[default]
    Counts,
    /// Percent of the row's samples.
    Shares,
}

/// Whose predictions are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Source {
    /// The running epoch's training samples.
    #[default]
    Training,
    Validation,
    Test,
}

impl Source {
    const fn next(self) -> Self {
        match self {
            Self::Training => Self::Validation,
            Self::Validation => Self::Test,
            Self::Test => Self::Training,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }

    fn confusion(self, lab: &LabState) -> Option<Confusion> {
        let confusion = match self {
            Self::Training => Some(lab.training),
            Self::Validation => lab.validation,
            Self::Test => lab.test.as_ref().map(|tested| tested.evaluation.confusion),
        };
        confusion.filter(|confusion| confusion.total() > 0)
    }
}

/// Columns of a cell: as wide as the area allows, 2 to 6.
fn cell_width(area: Rect) -> u16 {
    (area.width.saturating_sub(LABEL) / CLASSES as u16).clamp(2, 6)
}

/// A count in at most `room` columns, `+` where it can't be said.
fn short(count: u32, room: usize) -> String {
    let exact = count.to_string();
    let thousands = format!("{}k", count / 1000);
    [exact, thousands].into_iter().find(|text| text.len() <= room).unwrap_or_else(|| "+".into())
}

/// From a dull to a glowing orange, legible on dark and light.
fn heat(share: f64) -> [u8; 3] {
    let mix = |from: f64, to: f64| (from + (to - from) * share.clamp(0.0, 1.0)) as u8;
    [mix(150.0, 255.0), mix(130.0, 90.0), mix(90.0, 0.0)]
}

impl ConfusionMatrix {
    /// What stands in a cell of `room` columns.
    fn number(&self, count: u32, support: u32, room: usize) -> String {
        match self.numbers {
            Numbers::Counts => short(count, room),
            Numbers::Shares => short((100.0 * f64::from(count) / f64::from(support.max(1))).round() as u32, room),
        }
    }

    /// The cell's style: errors by the logarithm of their count, hits dimmed.
    fn style(&self, theme: &Theme, at: [usize; 2], count: u32, most: u32, focused: bool) -> Style {
        let [row, column] = at;
        let style = if row == column || count == 0 {
            theme.dim
        } else {
            let share = f64::from(count + 1).ln() / f64::from(most + 1).ln().max(1e-9);
            match theme.depth {
                ColorDepth::True | ColorDepth::Indexed => theme.text.fg(theme.rgb(heat(share))),
                ColorDepth::Sixteen | ColorDepth::None if share > 0.6 => theme.bad,
                ColorDepth::Sixteen | ColorDepth::None => theme.warning,
            }
        };
        let selected = focused && (row, column) == (self.row, self.column);
        if selected { style.add_modifier(Modifier::REVERSED) } else { style }
    }
}

impl Pane for ConfusionMatrix {
    fn title(&self, lab: &LabState) -> String {
        match self.source.confusion(lab) {
            Some(confusion) => format!("{} {}", self.source.word(), percent(confusion.accuracy())),
            None => self.source.word().into(),
        }
    }

    fn help(&self) -> &'static str {
        "Rows are the labels, columns what the network takes them for: the diagonal is right, all else are errors, \
         the brighter the more, on a logarithmic scale. `y` changes between counts and percent of the row. Where there is \
         room, recall in percent (the share of a class that is found) stands on the right, precision (the share of a \
         prediction that is right) below. Enter lists the test digits of the selected cell."
    }

    fn render(&self, context: &Context, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        let Some(confusion) = self.source.confusion(context.lab) else {
            let text =
                if self.source == Source::Test { "`eval` measures the test set" } else { "Space begins training" };
            if !area.is_empty() {
                buffer.set_stringn(area.x, area.y, text, usize::from(area.width), context.theme.dim);
            }
            return;
        };
        let counts = confusion.counts;
        let errors = |row: usize, column: usize| if row == column { 0 } else { counts[row][column] };
        let most = (0..CLASSES * CLASSES).map(|at| errors(at / CLASSES, at % CLASSES)).max().unwrap_or(0);
        let width = cell_width(area);
        let mut put = |x: u16, y: u16, text: &str, style: Style| {
            if y < area.height && x < area.width {
                buffer.set_stringn(area.x + x, area.y + y, text, usize::from(area.width - x), style);
            }
        };
        let recall = LABEL + CLASSES as u16 * width;
        let classes = confusion.per_class();
        let fits = recall + RECALL <= area.width;
        put(recall, 0, if fits { "  rec" } else { "" }, context.theme.dim);
        put(0, CLASSES as u16 + 1, "pr", context.theme.dim);
        for (class, report) in classes.iter().enumerate() {
            if fits {
                put(recall, class as u16 + 1, &format!("{:>5.1}", report.recall * 100.0), context.theme.text);
            }
            let precision = format!("{:>1$.0}", report.precision * 100.0, usize::from(width));
            put(LABEL + class as u16 * width, CLASSES as u16 + 1, &precision, context.theme.text);
        }
        for (row, counts) in counts.iter().enumerate() {
            let wide = usize::from(width);
            put(LABEL + row as u16 * width, 0, &format!("{row:>wide$}"), context.theme.dim);
            put(0, row as u16 + 1, &row.to_string(), context.theme.dim);
            for (column, &count) in counts.iter().enumerate() {
                let text = if count == 0 {
                    context.theme.symbols().dot.into()
                } else {
                    self.number(count, counts.iter().sum(), wide - 1)
                };
                let style = self.style(context.theme, [row, column], count, most, context.focused);
                put(LABEL + column as u16 * width, row as u16 + 1, &format!("{text:>wide$}"), style);
            }
        }
    }

    fn handle(&mut self, action: Action, _lab: &LabState) -> Option<Vec<Effect>> {
        match action {
            Action::Up => self.row = self.row.saturating_sub(1),
            Action::Down => self.row = (self.row + 1).min(CLASSES - 1),
            Action::Left => self.column = self.column.saturating_sub(1),
            Action::Right => self.column = (self.column + 1).min(CLASSES - 1),
            Action::Scale => {
                self.numbers = if self.numbers == Numbers::Counts { Numbers::Shares } else { Numbers::Counts };
            }
            Action::Source => self.source = self.source.next(),
            Action::Enter => {
                let filters = vec![Filter::True(self.row as u8), Filter::Predicted(self.column as u8)];
                return Some(Effect::ask(Command::Find { filters }));
            }
            _ => return None,
        }
        Some(Vec::new())
    }

    fn click(&mut self, position: Position, area: Rect, _lab: &LabState) -> Vec<Effect> {
        let column = position.x.checked_sub(area.x + LABEL).map(|x| usize::from(x / cell_width(area)));
        let row = position.y.checked_sub(area.y + 1).map(usize::from);
        if let Some((row, column)) = row.zip(column).filter(|&(row, column)| row < CLASSES && column < CLASSES) {
            (self.row, self.column) = (row, column);
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{ConfusionMatrix, Pane, heat};
    use crate::state::LabState;
    use crate::tui::keymap::Action;

    #[test]
    fn cells_show_counts_or_percent_of_the_row() {
        let (mut pane, lab) = (ConfusionMatrix::default(), LabState::default());
        assert_eq!(pane.number(30, 40, 4), "30");
        assert!(pane.handle(Action::Scale, &lab).is_some());
        assert_eq!(pane.number(30, 40, 4), "75");
        assert_eq!(pane.number(0, 0, 4), "0");
    }

    #[test]
    fn more_errors_glow_more() {
        assert!(heat(0.9)[0] > heat(0.1)[0] && heat(0.9)[2] < heat(0.1)[2]);
    }
}
