//! The curves pane: loss and error rate over the steps, and a cursor that reads them.

mod axis;
mod curves;
mod figures;
mod plot;
mod window;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::Style;
use ratatui::widgets::Widget;

use super::{Context, Pane};
use crate::command::Command;
use crate::state::LabState;
use crate::train::history::{History, Measured, StepRecord};
use crate::tui::keymap::Action;
use crate::tui::message::Effect;
use crate::tui::theme::Theme;
use axis::Scale;
use curves::Curves;
use plot::Plot;
use window::Window;

/// Below this an axis takes more room than the curve.
const SMALLEST: u16 = 6;
/// From this height on the cursor's figures get a second line.
const HIGH: u16 = 10;
/// From this width on they need none.
const WIDE: u16 = 100;
/// How often the steps that are shown can be halved.
const CLOSEST: u32 = 12;

/// The curves pane.
#[derive(Debug, Default)]
pub struct Charts {
    scale: Scale,
    /// How often the steps that are shown were halved.
    zoom: u32,
    /// The step whose figures are read; without one those of the newest step are shown.
    cursor: Option<u64>,
}

/// Lines of the figures, and where the two charts are.
struct Parts {
    figures: Rect,
    charts: [Rect; 2],
}

impl Charts {
    /// What is shown of the run and of others beside it: without a closer look all of them, with one this run.
    fn window(&self, lab: &LabState) -> Window {
        let own = newest(lab.whole_history());
        let others = lab.overlays().iter().map(|other| newest(&other.history)).max().unwrap_or(0);
        Window::new(if self.zoom == 0 { own.max(others) } else { own }, self.zoom, self.cursor)
    }

    fn parts(&self, area: Rect) -> Parts {
        let two = self.cursor.is_some() && area.height >= HIGH && area.width < WIDE;
        let lines = if two { 2 } else { 1 };
        let [figures, below] = Layout::vertical([Constraint::Length(lines), Constraint::Fill(1)]).areas(area);
        let below = if below.height < SMALLEST { Rect { height: 0, ..below } } else { below };
        Parts { figures, charts: Layout::horizontal([Constraint::Fill(1); 2]).spacing(1).areas(below) }
    }

    /// Moves the cursor by `strides`; past the newest step it goes away.
    fn walk(&mut self, strides: i64, lab: &LabState) {
        let history = lab.whole_history();
        let (Some(first), last) = (history.steps.first(), newest(history)) else { return };
        let stride = self.window(lab).stride().saturating_mul(strides.unsigned_abs());
        let from = self.cursor.unwrap_or(last);
        self.cursor = if strides < 0 {
            Some(from.saturating_sub(stride).max(first.step))
        } else {
            self.cursor.map(|cursor| cursor.saturating_add(stride)).filter(|cursor| *cursor <= last)
        };
    }

    /// Puts the cursor on the end of the next epoch or of the one before; it stays where there is none.
    fn scrub(&mut self, forward: bool, history: &History) {
        let from = self.cursor.unwrap_or_else(|| newest(history) + 1);
        let mut ends = history.epochs.iter().map(|epoch| epoch.step);
        let next = if forward { ends.find(|end| *end > from) } else { ends.rfind(|end| *end < from) };
        self.cursor = next.or(self.cursor);
    }

    /// The epoch whose end is the last one at or before the cursor.
    fn epoch(&self, lab: &LabState) -> u32 {
        let history = lab.whole_history();
        let at = self.cursor.unwrap_or_else(|| newest(history));
        history.epochs.iter().rev().find(|epoch| epoch.step <= at).map_or(0, |epoch| epoch.epoch)
    }

    fn charts(&self, context: &Context, charts: [Rect; 2], buffer: &mut Buffer) {
        let (lab, theme) = (context.lab, context.theme);
        let (window, overlays) = (self.window(lab), lab.overlays());
        let uprights = uprights(lab.whole_history(), theme, window, charts[0].width);
        let legend: Vec<(isize, String)> = overlays.iter().map(|other| (other.slot, other.name.clone())).collect();
        let draw =
            |name, of_step: fn(&StepRecord) -> f64, of_epoch: fn(Measured) -> f64, area: Rect, buffer: &mut Buffer| {
                let steps = |history: &History| -> Vec<(u64, f64)> {
                    history.steps.iter().map(|step| (step.step, of_step(step))).collect()
                };
                let measured = |history: &History| -> Vec<(u64, f64)> {
                    let measured = history.epochs.iter().filter_map(|epoch| Some((epoch.step, epoch.validation?)));
                    measured.map(|(step, measured)| (step, of_epoch(measured))).collect()
                };
                let (own, width) = (&lab.history, area.width);
                let mut curves = Curves::new(&steps(own), measured(own).into_iter(), self.scale, window, width);
                for other in &overlays {
                    let history = &other.history;
                    curves.behind(other.slot, &steps(history), measured(history), self.scale, window, width);
                }
                let epochs = &lab.whole_history().epochs;
                let (scale, cursor) = (self.scale, self.cursor);
                let plot = Plot { name, curves, scale, window, epochs, uprights: &uprights, cursor, legend: &legend };
                plot.render(theme, area, buffer);
            };
        let [losses, errors] = charts;
        draw("loss", |step| step.loss.into(), |measured| measured.loss, losses, buffer);
        draw("error rate", |step| 1.0 - f64::from(step.accuracy), |measured| 1.0 - measured.accuracy, errors, buffer);
    }
}

fn newest(history: &History) -> u64 {
    history.steps.last().map_or(0, |record| record.step)
}

/// Where settings were changed and losses were no numbers; a run of such losses as one line a column.
fn uprights(history: &History, theme: &Theme, window: Window, columns: u16) -> Vec<(u64, Style)> {
    let mut broken: Vec<u64> =
        history.steps.iter().filter(|record| !record.loss.is_finite()).map(|record| record.step).collect();
    broken.dedup_by_key(|step| window.column(*step, columns, 2));
    let edits = history.edits.iter().map(|edit| (edit.step, theme.marker));
    edits.chain(broken.into_iter().map(|step| (step, theme.bad))).collect()
}

impl Pane for Charts {
    fn title(&self, _lab: &LabState) -> String {
        let scale = if self.scale == Scale::Logarithmic { "log axis" } else { "linear axis" };
        if self.zoom == 0 { scale.into() } else { format!("{scale}, {}× closer", 1 << self.zoom) }
    }

    fn help(&self) -> &'static str {
        "Loss and error rate over the steps: of the training batches, smoothed and with each batch faint behind, and of the \
         validation split after each epoch. Other branches of the run, what lies ahead after `rewind`, and sessions of \
         `overlay NAME` are drawn behind, named in their colours. An upright line marks where a setting was changed, or a loss that was no number. \
         Where the validation curve turns up while the training curve goes on down, the network begins to overfit. Left and \
         Right, or a click, put a cursor on a step: its figures stand above the curves, with the last validation before it \
         and what was changed there; it stays there while the run goes on, until Esc. `[` and `]` move it from epoch to epoch, `r` rewinds the run to the \
         last epoch that ended there."
    }

    fn render(&self, context: &Context, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        let history = context.lab.whole_history();
        if area.is_empty() {
            return;
        }
        if history.steps.is_empty() && context.lab.overlays().is_empty() {
            buffer.set_stringn(area.x, area.y, "Space begins training", usize::from(area.width), context.theme.dim);
            return;
        }
        let Parts { figures, charts } = self.parts(area);
        let columns = usize::from(figures.width);
        let lines = match self.cursor {
            Some(cursor) => figures::at(history, cursor, self.window(context.lab).stride() / 2, context.theme, columns),
            None => figures::newest(&context.lab.history, context.theme, columns),
        };
        for (row, line) in figures.rows().zip(lines) {
            line.render(row, buffer);
        }
        self.charts(context, charts, buffer);
    }

    fn handle(&mut self, action: Action, lab: &LabState) -> Option<Vec<Effect>> {
        match action {
            Action::Left => self.walk(-1, lab),
            Action::Right => self.walk(1, lab),
            Action::PreviousEpoch => self.scrub(false, lab.whole_history()),
            Action::NextEpoch => self.scrub(true, lab.whole_history()),
            Action::Rewind => return Some(Effect::ask(Command::Rewind { epoch: self.epoch(lab) })),
            Action::Top => self.cursor = lab.whole_history().steps.first().map(|record| record.step),
            Action::Bottom => self.cursor = None,
            Action::Escape if self.cursor.is_some() => self.cursor = None,
            Action::Scale => self.scale = self.scale.other(),
            Action::ZoomIn => self.zoom = (self.zoom + 1).min(CLOSEST),
            Action::ZoomOut => self.zoom = self.zoom.saturating_sub(1),
            _ => return None,
        }
        Some(Vec::new())
    }

    fn click(&mut self, position: Position, area: Rect, lab: &LabState) -> Vec<Effect> {
        let (history, window) = (lab.whole_history(), self.window(lab));
        let chart = self.parts(area).charts.map(plot::inside).into_iter().find(|inside| inside.contains(position));
        if let (Some(inside), Some(first)) = (chart, history.steps.first()) {
            let step = window.step(position.x - inside.x, inside.width);
            self.cursor = Some(step.clamp(first.step, newest(history)));
        }
        Vec::new()
    }

    fn changed(&mut self, lab: &LabState) {
        // Another run, or one that went back: there is no such step any more.
        self.cursor = self.cursor.filter(|cursor| *cursor <= newest(lab.whole_history()));
    }
}

#[cfg(test)]
mod tests;
