//! The first line: which run, what it does, how far it is, how fast, how good.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::state::{LabState, Phase};
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
        facts.insert(1, Fact::new(4, "attached", theme.accent));
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
    let symbols = theme.symbols();
    let mut facts = vec![name(lab, theme)];
    let (word, style) = phase(lab, theme);
    facts.push(Fact::new(9, word, style));
    let Some(run) = &lab.run else { return facts };
    facts.push(epochs(lab, theme, (columns / 8).clamp(6, 24)));
    if let Some(speed) = lab.samples_per_second() {
        facts.push(Fact::new(5, format!("{} img/s", rate(speed)), theme.text));
    }
    if let Some(seconds) = lab.eta().filter(|_| lab.phase == Phase::Training) {
        facts.push(Fact::new(6, format!("ETA {}", remaining(seconds)), theme.text));
    }
    if let Some(measured) = lab.history.epochs.last().and_then(|epoch| epoch.validation) {
        facts.push(Fact {
            rank: 7,
            spans: vec![Span::styled("val ", theme.dim), Span::styled(percent(measured.accuracy), theme.validation)],
        });
    }
    facts.push(Fact::new(3, format!("{}{}{}", run.device.device, symbols.times, run.device.threads), theme.dim));
    facts.push(Fact::new(1, run.device.name.clone(), theme.dim));
    facts.push(Fact::new(2, format!("{} parameters", grouped(run.parameters)), theme.dim));
    facts.retain(|fact| fact.width() > 0);
    facts
}

fn name<'a>(lab: &LabState, theme: &'a Theme) -> Fact<'a> {
    let name = lab.run.as_ref().map_or("mnist-lab", |run| run.name.as_str());
    let mut spans = vec![Span::styled(name.to_owned(), theme.focus)];
    if lab.is_unsaved() {
        spans.push(Span::styled(format!(" {}", theme.symbols().unsaved), theme.warning));
    }
    Fact { rank: 10, spans }
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
        rank: 8,
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
