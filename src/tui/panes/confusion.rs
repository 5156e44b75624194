//! The confusion pane: which class is taken for which, how each class fares, and whether the confidences are true.

mod calibration;
mod classes;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Modifier, Style};

use super::{Context, Pane};
use crate::command::{Command, Filter};
use crate::data::{CLASSES, DIGIT_CLASSES};
use crate::metrics::Confusion;
use crate::metrics::calibration::BINS;
use crate::state::{LabState, Phase};
use crate::tui::format::{percent, shorten, width};
use crate::tui::keymap::Action;
use crate::tui::message::Effect;
use crate::tui::theme::{ColorDepth, Theme};

/// Columns of a cell, at least and at most: the last one is air, which only the largest numbers take.
const CELL: [u16; 2] = [2, 6];
/// Columns of a cell in which every count of ten thousand samples has room.
const GOOD_CELL: u16 = 4;
/// The fewest columns in which a name says more than the class's number.
const SHORTEST_NAME: usize = 3;
/// Columns of the recall on the right.
const RECALL: u16 = 6;

/// The matrix pane.
#[derive(Debug, Default)]
pub struct ConfusionMatrix {
    shown: Shown,
    source: Source,
    numbers: Numbers,
    row: usize,
    column: usize,
}

/// What the pane shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Shown {
    #[default]
    Matrix,
    Classes,
    /// Of the test set: of no other the single predictions are kept.
    Calibration,
}

impl Shown {
    const fn next(self) -> Self {
        match self {
            Self::Matrix => Self::Classes,
            Self::Classes => Self::Calibration,
            Self::Calibration => Self::Matrix,
        }
    }
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

    /// What stands there while nothing is counted yet.
    fn missing(self, lab: &LabState) -> &'static str {
        let begins = lab.phase == Phase::Ready && lab.progress.epoch < lab.settings.epochs;
        let never = lab.run.as_ref().is_some_and(|run| run.split.validation.is_empty());
        match self {
            Self::Training if begins => "Space begins training",
            Self::Training => "counted while it trains",
            Self::Validation if never => "there is no validation split",
            Self::Validation => "measured at each epoch's end",
            Self::Test => "`eval` measures the test set",
        }
    }
}

/// Columns of the row's class and the air after it, and of a cell: full names as far as cells stay good.
fn columns(area: Rect, names: &[&str; CLASSES]) -> [u16; 2] {
    let longest = names.iter().map(|name| width(name) as u16).max().unwrap_or(0);
    let spare = area.width.saturating_sub(CLASSES as u16 * GOOD_CELL);
    let label = (longest + 2).min(spare).max(3);
    [label, (area.width.saturating_sub(label) / CLASSES as u16).clamp(CELL[0], CELL[1])]
}

/// What the classes are called: digits before the data is there.
fn names(lab: &LabState) -> [&'static str; CLASSES] {
    lab.dataset.as_ref().map_or(DIGIT_CLASSES, |dataset| dataset.classes)
}

/// The beginning of a class's name, or its number where a name would say nothing.
fn short_name(names: &[&'static str; CLASSES], class: usize, room: usize) -> String {
    if room < SHORTEST_NAME { class.to_string() } else { shorten(names[class], room, "").trim_end().to_owned() }
}

/// A count in at most `room` columns, in thousands or `+` where it can't be said.
fn short(count: u32, room: usize) -> String {
    let exact = count.to_string();
    let thousands = if count < 1000 { "+".into() } else { format!("{}k", (count + 500) / 1000) };
    [exact, thousands].into_iter().find(|text| text.len() <= room).unwrap_or_else(|| "+".into())
}

/// From a dull to a glowing orange, legible on dark and light, in steps: a shade more is not worth sending.
fn heat(share: f64) -> [u8; 3] {
    let share = (share.clamp(0.0, 1.0) * 6.0).round() / 6.0;
    let mix = |from: f64, to: f64| (from + (to - from) * share) as u8;
    [mix(150.0, 255.0), mix(130.0, 90.0), mix(90.0, 0.0)]
}

impl ConfusionMatrix {
    /// What stands in the cells of a row, each `wide` columns with one of air at its end. A number that needs the air gets it
    /// where the next one is so short that they stay apart.
    fn row(&self, counts: &[u32; CLASSES], wide: usize, zero: &str) -> [String; CLASSES] {
        let support = counts.iter().sum::<u32>().max(1);
        let number = |count: u32| match self.numbers {
            Numbers::Counts => count,
            Numbers::Shares => (100.0 * f64::from(count) / f64::from(support)).round() as u32,
        };
        let digits = |column: usize| counts.get(column).map_or(0, |&count| number(count).to_string().len());
        std::array::from_fn(|column| match counts[column] {
            0 => zero.to_owned(),
            count => short(number(count), if digits(column + 1) + 1 < wide { wide } else { wide - 1 }),
        })
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

impl ConfusionMatrix {
    fn calibration(&self, context: &Context, area: Rect, buffer: &mut Buffer) {
        match &context.lab.test {
            Some(tested) => calibration::render(context, &tested.evaluation.calibration(), self.row, area, buffer),
            None if area.is_empty() => {}
            None => {
                let text = Source::Test.missing(context.lab);
                buffer.set_stringn(area.x, area.y, text, usize::from(area.width), context.theme.dim);
            }
        }
    }
}

/// The test's accuracy, where labels are in doubt also without them.
fn tested(lab: &LabState) -> String {
    let (Some(tested), Some(dataset)) = (&lab.test, &lab.dataset) else { return String::new() };
    let all = percent(tested.evaluation.confusion.accuracy());
    if !dataset.is_mnist() {
        return format!("test {all}");
    }
    let without = tested.evaluation.accuracy_without(|index| dataset.doubtful(index as usize));
    format!("test {all}, sound {}", percent(without))
}

impl Pane for ConfusionMatrix {
    fn title(&self, lab: &LabState) -> String {
        if self.shown == Shown::Calibration {
            return "calibration, test".into();
        }
        match self.source.confusion(lab) {
            Some(_) if self.source == Source::Test => tested(lab),
            Some(confusion) => format!("{} {}", self.source.word(), percent(confusion.accuracy())),
            None => self.source.word().into(),
        }
    }

    fn help(&self) -> &'static str {
        "Rows are the labels, columns what the network takes them for: the diagonal is right, all else are errors, \
         the brighter the more, on a logarithmic scale. `y` changes between counts and percent of the row. Where there is \
         room, recall in percent (the share of a class that is found) stands on the right, precision (the share of a \
         prediction that is right) below. Of the test, `sound` is the accuracy without the digits whose label most \
         reviewers reject. Enter lists the test digits of the selected cell. `m` shows precision, recall and F1 of each \
         class (Enter: its errors), and then the calibration: how often the network is right (bar) where it is so sure \
         (upright); the expected calibration error (ECE) is the mean distance of both (Enter: these digits)."
    }

    fn render(&self, context: &Context, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        if self.shown == Shown::Calibration {
            return self.calibration(context, area, buffer);
        }
        let Some(confusion) = self.source.confusion(context.lab) else {
            if !area.is_empty() {
                let text = self.source.missing(context.lab);
                buffer.set_stringn(area.x, area.y, text, usize::from(area.width), context.theme.dim);
            }
            return;
        };
        if self.shown == Shown::Classes {
            return classes::render(context, &confusion, self.row, area, buffer);
        }
        let counts = confusion.counts;
        let errors = |row: usize, column: usize| if row == column { 0 } else { counts[row][column] };
        let most = (0..CLASSES * CLASSES).map(|at| errors(at / CLASSES, at % CLASSES)).max().unwrap_or(0);
        let names = names(context.lab);
        let [label, cell] = columns(area, &names);
        let (wide, room) = (usize::from(cell), usize::from(cell) - 1);
        let mut put = |x: u16, y: u16, text: &str, style: Style| {
            if y < area.height && x < area.width {
                buffer.set_stringn(area.x + x, area.y + y, text, usize::from(area.width - x), style);
            }
        };
        let (dim, text) = (context.theme.dim, context.theme.text);
        let recall = label + CLASSES as u16 * cell;
        let fits = recall + RECALL <= area.width + 1;
        put(recall, 0, if fits { "  rec" } else { "" }, dim);
        put(0, CLASSES as u16 + 1, "pr", dim);
        for (class, report) in confusion.per_class().iter().enumerate() {
            let (x, y) = (label + class as u16 * cell, class as u16 + 1);
            put(x, 0, &format!("{:>room$}", short_name(&names, class, room)), dim);
            put(0, y, &short_name(&names, class, usize::from(label) - 1), dim);
            if fits {
                put(recall, y, &format!("{:>5.1}", report.recall * 100.0), text);
            }
            let precision = short((report.precision * 100.0).round() as u32, wide);
            put(x, CLASSES as u16 + 1, &format!("{precision:>room$}"), text);
        }
        for (row, counts) in counts.iter().enumerate() {
            for (column, text) in self.row(counts, wide, context.theme.symbols().dot).iter().enumerate() {
                let style = self.style(context.theme, [row, column], counts[column], most, context.focused);
                put(label + column as u16 * cell, row as u16 + 1, &format!("{text:>room$}"), style);
            }
        }
    }

    fn footnote(&self, lab: &LabState) -> String {
        if self.shown != Shown::Matrix {
            return String::new();
        }
        let Some(confusion) = self.source.confusion(lab) else { return String::new() };
        let ([label, taken], counts) = ([self.row, self.column].map(|class| names(lab)[class]), confusion.counts);
        let (count, support) = (counts[self.row][self.column], counts[self.row].iter().sum::<u32>());
        let share = percent(f64::from(count) / f64::from(support.max(1)));
        let what = if label == taken { format!("{label} right") } else { format!("{label} taken for {taken}") };
        format!("{what}: {count} of {support}, {share}")
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
            Action::NextPage => self.shown = self.shown.next(),
            Action::Enter => {
                let class = self.row as u8;
                let tenth = |part: usize| part as f32 / BINS as f32;
                let filters = match self.shown {
                    Shown::Matrix => vec![Filter::True(class), Filter::Predicted(self.column as u8)],
                    Shown::Classes => vec![Filter::Class(class), Filter::Wrong],
                    Shown::Calibration => {
                        vec![Filter::Surer(tenth(self.row)), Filter::LessSure(tenth(self.row + 1))]
                    }
                };
                return Some(Effect::ask(Command::Find { filters }));
            }
            _ => return None,
        }
        Some(Vec::new())
    }

    fn click(&mut self, position: Position, area: Rect, lab: &LabState) -> Vec<Effect> {
        if self.shown != Shown::Matrix {
            return Vec::new();
        }
        let [label, cell] = columns(area, &names(lab));
        let column = position.x.checked_sub(area.x + label).map(|x| usize::from(x / cell));
        let row = position.y.checked_sub(area.y + 1).map(usize::from);
        if let Some((row, column)) = row.zip(column).filter(|&(row, column)| row < CLASSES && column < CLASSES) {
            (self.row, self.column) = (row, column);
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        CLASSES, Command, ConfusionMatrix, DIGIT_CLASSES, Effect, Filter, LabState, Pane, Phase, Rect, Source, columns,
        heat, short_name,
    };
    use crate::tui::keymap::Action;
    use crate::tui::samples;

    #[track_caller]
    fn check(pane: &ConfusionMatrix, counts: [u32; CLASSES], wide: usize, expected: &str) {
        assert_eq!(pane.row(&counts, wide, "."), expected.split(' ').collect::<Vec<_>>()[..], "{counts:?} {wide}");
    }

    #[test]
    fn cells_show_counts_or_percent_of_the_row() {
        let (mut pane, lab) = (ConfusionMatrix::default(), LabState::default());
        check(&pane, [30, 10, 0, 0, 0, 0, 0, 0, 0, 0], 4, "30 10 . . . . . . . .");
        assert!(pane.handle(Action::Scale, &lab).is_some());
        check(&pane, [30, 10, 0, 0, 0, 0, 0, 0, 0, 0], 4, "75 25 . . . . . . . .");
    }

    #[test]
    fn what_is_not_counted_yet_says_when_it_will_be() {
        let check = |lab: &LabState, expected: [&str; 2]| {
            assert_eq!([Source::Training, Source::Validation].map(|source| source.missing(lab)), expected);
        };
        let mut lab = samples::ready();
        check(&lab, ["Space begins training", "measured at each epoch's end"]);
        lab.progress.epoch = lab.settings.epochs;
        check(&lab, ["counted while it trains", "measured at each epoch's end"]);
        lab.phase = Phase::Training;
        lab.progress.epoch = 0;
        check(&lab, ["counted while it trains", "measured at each epoch's end"]);
        if let Some(run) = &mut lab.run {
            std::sync::Arc::make_mut(run).split.validation = 0..0;
        }
        check(&lab, ["counted while it trains", "there is no validation split"]);
    }

    #[test]
    fn enter_lists_what_is_selected() {
        let lab = LabState::default();
        let enter = |views: usize| {
            let mut pane = ConfusionMatrix::default();
            for _ in 0..views {
                pane.handle(Action::NextPage, &lab);
            }
            for action in [Action::Down, Action::Down, Action::Right] {
                pane.handle(action, &lab);
            }
            pane.handle(Action::Enter, &lab)
        };
        let find = |filters| Some(Effect::ask(Command::Find { filters }));
        assert_eq!(enter(0), find(vec![Filter::True(2), Filter::Predicted(1)]));
        assert_eq!(enter(1), find(vec![Filter::Class(2), Filter::Wrong]));
        assert_eq!(enter(2), find(vec![Filter::Surer(0.2), Filter::LessSure(0.3)]));
        assert_eq!(enter(3), enter(0));
    }

    #[test]
    fn a_count_is_said_in_full_where_it_stays_apart_from_the_next() {
        let pane = ConfusionMatrix::default();
        check(&pane, [1010, 12, 1010, 123, 0, 0, 0, 0, 64, 1280], 4, "1010 12 1k 123 . . . . 64 1280");
        check(&pane, [1999, 0, 150, 150, 0, 0, 0, 0, 7, 12_345], 3, "2k . + 150 . . . . 7 12k");
        check(&pane, [9, 0, 20, 0, 200, 5, 0, 0, 0, 0], 2, "9 . + . + 5 . . . .");
    }

    #[test]
    fn names_get_the_room_that_good_cells_leave() {
        let names = ["Ankle boot"; CLASSES];
        for (width, expected) in [(116, [12, 6]), (76, [12, 6]), (44, [4, 4]), (42, [3, 3]), (9, [3, 2])] {
            assert_eq!(columns(Rect::new(0, 0, width, 9), &names), expected);
        }
        assert_eq!(columns(Rect::new(0, 0, 76, 9), &DIGIT_CLASSES), [3, 6]);
        assert_eq!([3, 2].map(|room| short_name(&names, 7, room)), ["Ank", "7"]);
    }

    #[test]
    fn more_errors_glow_more() {
        assert!(heat(0.9)[0] > heat(0.1)[0] && heat(0.9)[2] < heat(0.1)[2]);
    }
}
