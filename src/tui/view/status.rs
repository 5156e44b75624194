//! The first line: which run, what it does, how far it is, how fast, how good.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::state::{GpuFigure, LabState, Phase};
use crate::train::event::Reason;
use crate::tui::Seat;
use crate::tui::format::{percent, rate, remaining};
use crate::tui::model::Model;
use crate::tui::theme::{Symbols, Theme};

/// One fact; those of a higher rank stay longer where the line is short.
struct Fact<'a> {
    rank: u8,
    spans: Vec<Span<'a>>,
}

impl Fact<'_> {
    fn new(rank: u8, text: impl Into<String>, style: Style) -> Self {
        Self { rank, spans: vec![Span::styled(text.into(), style)] }
    }

    fn width(&self) -> usize {
        self.spans.iter().map(Span::width).sum()
    }
}

/// Draws the line.
pub fn render(model: &Model, area: Rect, buffer: &mut Buffer) {
    let (lab, theme) = (&*model.lab, &model.theme);
    let symbols = theme.symbols();
    let separator = format!(" {} ", symbols.dot);
    let room = usize::from(area.width.saturating_sub(2));
    let mut facts = facts(lab, theme, usize::from(area.width));
    if model.seat == Seat::Guest {
        facts.insert(1, Fact::new(8, "attached", theme.accent));
    }
    let needed = |facts: &[Fact]| facts.iter().map(Fact::width).sum::<usize>() + 3 * facts.len().saturating_sub(1);
    while needed(&facts) > room && facts.len() > 1 {
        let least = facts.iter().enumerate().min_by_key(|(_, fact)| fact.rank).map_or(0, |(at, _)| at);
        facts.remove(least);
    }
    let mut spans = vec![Span::raw(" ")];
    for (number, fact) in facts.into_iter().enumerate() {
        if number > 0 {
            spans.push(Span::styled(separator.clone(), theme.border));
        }
        spans.extend(fact.spans);
    }
    Line::from(spans).render(area, buffer);
}

fn facts<'a>(lab: &LabState, theme: &'a Theme, columns: usize) -> Vec<Fact<'a>> {
    let mut facts = vec![name(lab, theme)];
    let (word, style) = phase(lab, theme);
    facts.push(Fact::new(13, word, style));
    let Some(run) = &lab.run else { return facts };
    // The GPU's figures say more than a long bar.
    let share = if lab.gpu.newest().is_some() { 12 } else { 8 };
    facts.push(epochs(lab, theme, (columns / share).clamp(6, 24)));
    if let Some(speed) = lab.samples_per_second() {
        facts.push(Fact::new(9, format!("{} img/s", rate(speed)), theme.text));
    }
    if let Some(seconds) = lab.eta().filter(|_| lab.phase == Phase::Training) {
        facts.push(Fact::new(10, format!("ETA {}", remaining(seconds)), theme.text));
    }
    if let Some(measured) = lab.history.epochs.last().and_then(|epoch| epoch.validation) {
        facts.push(Fact {
            rank: 11,
            spans: vec![Span::styled("val ", theme.dim), Span::styled(percent(measured.accuracy), theme.validation)],
        });
    }
    facts.extend(gpu(lab, theme));
    facts.push(Fact::new(3, run.device.to_string(), theme.dim));
    facts.push(Fact::new(1, run.device.name.clone(), theme.dim));
    facts.push(Fact::new(2, format!("{} parameters", grouped(run.parameters)), theme.dim));
    facts.retain(|fact| fact.width() > 0);
    facts
}

/// `gpu 87 %`, `2.1/80 GiB`, `61 °C`, `320 W`: what the driver tells, the most telling kept longest.
fn gpu<'a>(lab: &LabState, theme: &'a Theme) -> Vec<Fact<'a>> {
    let Some(reading) = lab.gpu.newest() else { return Vec::new() };
    let texts = GpuFigure::ALL.into_iter().filter_map(|figure| figure.text(reading));
    let fact = |(text, rank)| Fact::new(rank, text, theme.text);
    let mut facts: Vec<Fact> = texts.zip((4..8).rev()).map(fact).collect();
    if let Some(first) = facts.first_mut() {
        first.spans.insert(0, Span::styled("gpu ", theme.dim));
    }
    facts
}

fn name<'a>(lab: &LabState, theme: &'a Theme) -> Fact<'a> {
    let name = lab.run.as_ref().map_or("mnist-lab", |run| run.name.as_str());
    let mut spans = vec![Span::styled(name.to_owned(), theme.focus)];
    if lab.is_unsaved() {
        spans.push(Span::styled(format!(" {}", theme.symbols().unsaved), theme.warning));
    }
    Fact { rank: 14, spans }
}

fn phase(lab: &LabState, theme: &Theme) -> (String, Style) {
    match &lab.phase {
        Phase::Loading if lab.dataset.is_none() => ("reading the data".into(), theme.dim),
        Phase::Loading => ("building the network".into(), theme.dim),
        Phase::Ready => ("ready".into(), theme.good),
        Phase::Training => match lab.validating {
            Some((done, total)) => (format!("validating {:>3.0} %", share(done, total)), theme.validation),
            None => ("training".into(), theme.good),
        },
        Phase::Paused => ("paused".into(), theme.warning),
        Phase::Finished(reason) => finished(reason, theme),
        Phase::Failed(_) => ("failed".into(), theme.bad),
        Phase::Closed => ("closed".into(), theme.dim),
    }
}

fn share(done: usize, total: usize) -> f64 {
    100.0 * done as f64 / total.max(1) as f64
}

fn finished(reason: &Reason, theme: &Theme) -> (String, Style) {
    match reason {
        Reason::Completed => ("completed".into(), theme.good),
        Reason::EarlyStop { best_epoch } => (format!("stopped early: epoch {best_epoch} is back"), theme.good),
        Reason::Target => ("target reached".into(), theme.good),
        Reason::Diverged { step, .. } => (format!("diverged at step {step}"), theme.bad),
        Reason::Interrupted => ("stopped".into(), theme.warning),
    }
}

/// `epoch 3/10 ━━━━────── 28 %`, the bar over the whole run.
fn epochs<'a>(lab: &LabState, theme: &'a Theme, cells: usize) -> Fact<'a> {
    let total = lab.settings.epochs.max(lab.progress.epoch);
    let running = u32::from(lab.progress.sample > 0 || lab.phase == Phase::Training);
    let epoch = (lab.progress.epoch + running).min(total);
    let share = (lab.epochs_done() / f64::from(total.max(1))).clamp(0.0, 1.0);
    let Symbols { bar: [done, left], .. } = theme.symbols();
    let full = (share * cells as f64).round() as usize;
    Fact {
        rank: 12,
        spans: vec![
            Span::styled("epoch ", theme.dim),
            Span::styled(format!("{epoch}/{total} "), theme.text),
            Span::styled(done.repeat(full), theme.train),
            Span::styled(left.repeat(cells - full), theme.border),
            Span::styled(format!(" {:.0} %", (share * 100.0).floor()), theme.text),
        ],
    }
}

/// `93,322`
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
