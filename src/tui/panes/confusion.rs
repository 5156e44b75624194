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
use crate::tui::theme::Theme;

/// Columns of the row's class and the line after it.
const LABEL: u16 = 3;

/// The matrix pane.
#[derive(Debug, Default)]
pub struct ConfusionMatrix {
    source: Source,
    row: usize,
    column: usize,
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

impl ConfusionMatrix {
    /// The cell's style: errors by the logarithm of their count, hits dimmed.
    fn style(&self, theme: &Theme, at: [usize; 2], count: u32, most: u32, focused: bool) -> Style {
        let [row, column] = at;
        let style = if row == column || count == 0 {
            theme.dim
        } else {
            let share = f64::from(count + 1).ln() / f64::from(most + 1).ln().max(1e-9);
            if share > 0.6 { theme.bad } else { theme.warning }
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
         the brighter the more. Enter lists the test digits of the selected cell."
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
        for (row, counts) in counts.iter().enumerate() {
            let wide = usize::from(width);
            put(LABEL + row as u16 * width, 0, &format!("{row:>wide$}"), context.theme.dim);
            put(0, row as u16 + 1, &row.to_string(), context.theme.dim);
            for (column, &count) in counts.iter().enumerate() {
                let text = if count == 0 { context.theme.symbols().dot.into() } else { short(count, wide - 1) };
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
