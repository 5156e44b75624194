//! The curves pane: loss and error rate over the steps, how large the steps are layer by layer, a cursor that reads them, and the
//! GPU that it costs.

mod axis;
mod clock;
mod curves;
mod figures;
mod gpu;
mod layers;
mod plot;
mod reach;
mod search;
mod smoothing;
mod window;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::widgets::Widget;

use super::{Context, Pane};
use crate::command::Command;
use crate::state::LabState;
use crate::train::history::{History, Measured, StepRecord};
use crate::tui::keymap::{Action, Scope};
use crate::tui::message::Effect;
use crate::tui::theme::Theme;
use axis::Scale;
use clock::{Across, Clock};
use curves::{Curves, Drawing};
use layers::Figure;
use plot::{Lines, Plot, Upright};
use reach::Reach;
use search::Search;
use smoothing::Smoothing;
use window::Window;

/// Below this an axis takes more room than the curve.
const SMALLEST: u16 = 6;
/// From this height on the cursor's figures get a second line.
const HIGH: u16 = 10;
/// From this width on they need none.
const WIDE: u16 = 100;
/// How often what is shown can be halved.
const CLOSEST: u32 = 12;
/// The fewest steps that can be zoomed to.
const FEWEST: u64 = 20;

/// The curves pane.
#[derive(Debug, Default)]
pub struct Charts {
    shown: Shown,
    scale: Scale,
    across: Across,
    reach: Reach,
    smoothing: Smoothing,
    /// How often what is shown was halved.
    zoom: u32,
    /// The step whose figures are read; without one those of the newest step are shown.
    cursor: Option<u64>,
    /// The search in the place of the curves, while it is looked at.
    search: Option<Search>,
    /// The search that was seen last: a new one shows itself.
    known: Option<String>,
}

/// What the two charts show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Shown {
    /// Loss and error rate.
    #[default]
    Learning,
    /// Gradient norm and update ratio of each layer.
    Steps,
    /// Weight norm of each layer, and the learning rate.
    Weights,
}

impl Shown {
    const fn next(self) -> Self {
        match self {
            Self::Learning => Self::Steps,
            Self::Steps => Self::Weights,
            Self::Weights => Self::Learning,
        }
    }

    /// What stands on the frame; nothing for the usual.
    const fn words(self) -> &'static str {
        match self {
            Self::Learning => "",
            Self::Steps => "gradients and updates by layer",
            Self::Weights => "weights by layer, learning rate",
        }
    }
}

/// Lines of the figures, where the two charts are, and the GPU's line, where there is one.
struct Parts {
    figures: Rect,
    charts: [Rect; 2],
    gpu: Rect,
}

/// What both charts have in common.
struct Frame<'a> {
    context: &'a Context<'a>,
    clock: Clock,
    window: Window,
    uprights: Vec<Upright>,
}

impl Charts {
    fn clock(&self, lab: &LabState) -> Clock {
        Clock::of(self.across, lab)
    }

    /// The clock of another run, which goes on as this one does if it has no epoch.
    fn other_clock(&self, lab: &LabState, history: &History) -> Clock {
        Clock::new(self.across, history, history.epochs.is_empty().then(|| self.clock(lab).pace()))
    }

    /// What is shown of the run and of others beside it: without a closer look all of them; with one, or by layer, this run.
    fn window(&self, lab: &LabState) -> Window {
        let (clock, end) =
            (self.clock(lab), |clock: &Clock, history: &History| clock.at(newest(history)).ceil() as u64);
        let own = end(&clock, lab.whole_history());
        let others = lab.overlays();
        let others = others.iter().map(|other| end(&self.other_clock(lab, &other.history), &other.history)).max();
        let beside = self.zoom == 0 && self.shown == Shown::Learning;
        let places = if beside { own.max(others.unwrap_or(0)) } else { own };
        let cursor = self.cursor.map(|cursor| clock.at(cursor).round() as u64);
        Window::new(places, self.zoom, cursor, clock.places(FEWEST))
    }

    /// How many steps the cursor moves at a time: a hundredth of what is shown.
    fn stride(&self, lab: &LabState) -> u64 {
        let (clock, window) = (self.clock(lab), self.window(lab));
        let steps = clock.step(window.last as f64).saturating_sub(clock.step(window.first as f64));
        (steps / 100).max(1)
    }

    fn parts(&self, lab: &LabState, area: Rect) -> Parts {
        let two = self.cursor.is_some() && area.height >= HIGH && area.width < WIDE;
        let lines = if two { 2 } else { 1 };
        let heights =
            [Constraint::Length(lines), Constraint::Fill(1), Constraint::Length(gpu::lines(&lab.gpu, area.height))];
        let [figures, below, gpu] = Layout::vertical(heights).areas(area);
        let below = if below.height < SMALLEST { Rect { height: 0, ..below } } else { below };
        Parts { figures, charts: Layout::horizontal([Constraint::Fill(1); 2]).spacing(1).areas(below), gpu }
    }

    /// Moves the cursor by `strides`; past the newest step it goes away.
    fn walk(&mut self, strides: i64, lab: &LabState) {
        let history = lab.whole_history();
        let (Some(first), last) = (history.steps.first(), newest(history)) else { return };
        let stride = self.stride(lab).saturating_mul(strides.unsigned_abs());
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
        let (clock, window) = (self.clock(lab), self.window(lab));
        let uprights = uprights(lab.whole_history(), theme, &clock, window, charts[0].width);
        let frame = Frame { context, clock, window, uprights };
        let [left, right] = charts;
        match self.shown {
            Shown::Learning => {
                let loss = |step: &StepRecord| step.loss.into();
                let error = |step: &StepRecord| 1.0 - f64::from(step.accuracy);
                self.learning(&frame, "loss", loss, |measured| measured.loss, left, buffer);
                self.learning(&frame, "error rate", error, |measured| 1.0 - measured.accuracy, right, buffer);
            }
            Shown::Steps => {
                self.layers(&frame, Figure::Gradient, left, buffer);
                self.layers(&frame, Figure::Ratio, right, buffer);
            }
            Shown::Weights => {
                self.layers(&frame, Figure::Weight, left, buffer);
                self.rate(&frame, right, buffer);
            }
        }
    }

    /// A figure of the steps, smoothed, and of the validations; the other runs' behind.
    fn learning(
        &self,
        frame: &Frame,
        name: &'static str,
        of_step: impl Fn(&StepRecord) -> f64,
        of_epoch: impl Fn(Measured) -> f64,
        area: Rect,
        buffer: &mut Buffer,
    ) {
        let lab = frame.context.lab;
        let drawing = Drawing { scale: self.scale, window: frame.window, columns: area.width };
        let steps = |history: &History, clock: &Clock| -> Vec<(f64, f64)> {
            history.steps.iter().map(|step| (clock.at(step.step), of_step(step))).collect()
        };
        let measured = |history: &History, clock: &Clock| -> Vec<(f64, f64)> {
            let measured = history.epochs.iter().filter_map(|epoch| Some((epoch.step, epoch.validation?)));
            measured.map(|(step, measured)| (clock.at(step), of_epoch(measured))).collect()
        };
        let keep = |history: &History| self.smoothing.keeps(newest(history));
        let (own, clock, overlays) = (&lab.history, &frame.clock, lab.overlays());
        let mut curves = Curves::new(&steps(own, clock), &measured(own, clock), keep(own), drawing);
        for other in &overlays {
            let (history, clock) = (&other.history, self.other_clock(lab, &other.history));
            curves.behind(other.slot, &steps(history, &clock), &measured(history, &clock), keep(history), drawing);
        }
        let legend: Vec<(isize, String)> = overlays.iter().map(|other| (other.slot, other.name.clone())).collect();
        let plot = Plot { legend: &legend, ..self.plot(frame, name, curves, self.scale) };
        plot.render(frame.context.theme, area, buffer);
    }

    /// A norm of each layer.
    fn layers(&self, frame: &Frame, figure: Figure, area: Rect, buffer: &mut Buffer) {
        let lab = frame.context.lab;
        let scale = if self.scale == Scale::Linear { Scale::Linear } else { Scale::Magnitudes };
        let drawing = Drawing { scale, window: frame.window, columns: area.width };
        let (mut curves, legend) = (Curves::default(), layers::legend(lab));
        for layer in 0..layers::count(&lab.history) {
            curves.beside(layer as isize, &layers::line(&lab.history, &frame.clock, layer, figure), drawing);
        }
        // The same legend twice would only take room.
        let legend = if figure == Figure::Ratio { &[][..] } else { &legend };
        let plot = Plot { legend, lines: Lines::Layers, ..self.plot(frame, figure.name(), curves, scale) };
        plot.render(frame.context.theme, area, buffer);
    }

    fn rate(&self, frame: &Frame, area: Rect, buffer: &mut Buffer) {
        let scale = if self.scale == Scale::Linear { Scale::Linear } else { Scale::Magnitudes };
        let drawing = Drawing { scale, window: frame.window, columns: area.width };
        let steps = frame.context.lab.history.steps.iter();
        let rates: Vec<(f64, f64)> = steps.map(|step| (frame.clock.at(step.step), step.learning_rate.into())).collect();
        let curves = Curves::new(&rates, &[], Smoothing::Off.keeps(0), drawing);
        self.plot(frame, "learning rate", curves, scale).render(frame.context.theme, area, buffer);
    }

    fn plot<'a>(&self, frame: &'a Frame, name: &'static str, curves: Curves, scale: Scale) -> Plot<'a> {
        Plot {
            name,
            curves,
            scale,
            reach: self.reach,
            across: self.across,
            window: frame.window,
            uprights: &frame.uprights,
            cursor: self.cursor.map(|cursor| frame.clock.at(cursor).round() as u64),
            legend: &[],
            lines: Lines::Runs,
        }
    }
}

fn newest(history: &History) -> u64 {
    history.steps.last().map_or(0, |record| record.step)
}

/// Where settings were changed and losses were no numbers; a run of such losses as one line a column.
fn uprights(history: &History, theme: &Theme, clock: &Clock, window: Window, columns: u16) -> Vec<Upright> {
    let place = |step: u64| clock.at(step).round() as u64;
    let mut broken: Vec<u64> =
        history.steps.iter().filter(|record| !record.loss.is_finite()).map(|record| place(record.step)).collect();
    broken.dedup_by_key(|place| window.column(*place, columns, 2));
    let edits = history.edits.iter();
    let edits = edits.map(|edit| Upright { place: place(edit.step), style: theme.marker, sign: None });
    let nan = Some(theme.symbols().nan);
    edits.chain(broken.into_iter().map(|place| Upright { place, style: theme.bad, sign: nan })).collect()
}

impl Pane for Charts {
    fn title(&self, lab: &LabState) -> String {
        if self.search.is_some() {
            return Search::title(lab);
        }
        let closer = if self.zoom == 0 { String::new() } else { format!("{}× closer", 1 << self.zoom) };
        let across = if self.across == Across::default() { "" } else { self.across.words() };
        let smoothing = if self.shown == Shown::Learning { self.smoothing.words() } else { "" };
        let scale = if self.scale == Scale::Linear { "linear axis" } else { "log axis" };
        let words = [self.shown.words(), scale, across, smoothing, self.reach.words(), &closer];
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ")
    }

    fn help(&self) -> &'static str {
        if self.search.is_some() {
            return search::HELP;
        }
        "Loss and error rate: of the training batches, smoothed and with each batch faint behind, and of the validation \
         split after each epoch. Other branches of the run, what lies ahead after `rewind`, and sessions of `overlay NAME` are \
         drawn behind, named in their colours. An upright line marks where a setting was changed, or, with a × at its top, a \
         loss that was no number. Where the validation curve turns up while the training curve goes on down, the network begins \
         to overfit. `w` turns the smoothing (an exponential moving average; its weight stands on the frame), `y` the axis, `x` \
         what it counts across: epochs, steps, or seconds of training; `i` leaves outliers out of the range. `m` shows how large \
         the steps are, layer by layer, every fiftieth step: the norm of the gradient, and the update beside the weights, which \
         is about 0.001 where a network learns well; then the norm of the weights and the learning rate. Left and Right, or a \
         click, put a cursor on a step: its figures stand above the curves, with the last validation before it and what was \
         changed there; it stays there while the run goes on, until Esc. `[` and `]` move it from epoch to epoch, `r` rewinds \
         the run to the last epoch that ended there. `plot FILE.svg` (.png, .csv) writes the curves to a file. Of a run on an \
         NVIDIA GPU the last line tells how busy that is, how much of its memory is in use (by other programs too), how hot it is \
         and what power it draws, beside bars of the last five minutes: full is all the time, all the memory, 100 °C, and the \
         limit that is set for its power. What the driver does not tell is left out."
    }

    fn render(&self, context: &Context, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        let history = context.lab.whole_history();
        if area.is_empty() {
            return;
        }
        if let Some(search) = &self.search {
            return search.render(context, area, buffer);
        }
        if history.steps.is_empty() && context.lab.overlays().is_empty() {
            buffer.set_stringn(area.x, area.y, "Space begins training", usize::from(area.width), context.theme.dim);
            return;
        }
        let Parts { figures, charts, gpu } = self.parts(context.lab, area);
        let columns = usize::from(figures.width);
        let lines = match (self.shown, self.cursor) {
            (Shown::Learning, Some(cursor)) => {
                figures::at(history, cursor, self.stride(context.lab) / 2, context.theme, columns)
            }
            (Shown::Learning, None) => figures::newest(&context.lab.history, context.theme, columns),
            (shown, cursor) => {
                let figures: &[Figure] =
                    if shown == Shown::Steps { &[Figure::Gradient, Figure::Ratio] } else { &[Figure::Weight] };
                figures::of_layers(context.lab, cursor, figures, context.theme, columns)
            }
        };
        for (row, line) in figures.rows().zip(lines) {
            line.render(row, buffer);
        }
        self.charts(context, charts, buffer);
        gpu::render(&context.lab.gpu, context.theme, gpu, buffer);
    }

    fn handle(&mut self, action: Action, lab: &LabState) -> Option<Vec<Effect>> {
        match (&mut self.search, action) {
            (None, Action::Search) => self.search = Some(Search::default()),
            (Some(_), Action::Search | Action::Escape) => self.search = None,
            (Some(search), _) => return search.handle(action, lab),
            (None, _) => return self.handle_curves(action, lab),
        }
        Some(Vec::new())
    }

    fn mode(&self, _lab: &LabState) -> Option<Scope> {
        self.search.as_ref().map(|_| Scope::Search)
    }

    fn click(&mut self, position: Position, area: Rect, lab: &LabState) -> Vec<Effect> {
        if self.search.is_some() {
            return Vec::new();
        }
        let (history, clock, window) = (lab.whole_history(), self.clock(lab), self.window(lab));
        let chart = self.parts(lab, area).charts.map(plot::inside).into_iter().find(|inside| inside.contains(position));
        if let (Some(inside), Some(first)) = (chart, history.steps.first()) {
            let step = clock.step(window.place(position.x - inside.x, inside.width) as f64);
            self.cursor = Some(step.clamp(first.step, newest(history)));
        }
        Vec::new()
    }

    fn changed(&mut self, lab: &LabState) {
        // Another run, or one that went back: there is no such step any more.
        self.cursor = self.cursor.filter(|cursor| *cursor <= newest(lab.whole_history()));
        let name = lab.search.as_ref().map(|search| &search.name);
        if name.is_some() && name != self.known.as_ref() {
            self.known = name.cloned();
            self.search = Some(Search::default());
        }
    }
}

impl Charts {
    /// What a key does to the curves.
    fn handle_curves(&mut self, action: Action, lab: &LabState) -> Option<Vec<Effect>> {
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
            Action::Across => self.across = self.across.next(),
            Action::Range => self.reach = self.reach.next(),
            Action::Smoothing => self.smoothing = self.smoothing.next(),
            Action::NextPage => self.shown = self.shown.next(),
            Action::ZoomIn => self.zoom = (self.zoom + 1).min(CLOSEST),
            Action::ZoomOut => self.zoom = self.zoom.saturating_sub(1),
            _ => return None,
        }
        Some(Vec::new())
    }
}

#[cfg(test)]
mod tests;
