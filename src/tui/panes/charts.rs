//! The curves pane: loss and error rate over the steps.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Chart, Dataset, GraphType, Widget};

use super::{Context, Pane};
use crate::state::LabState;
use crate::tui::format::{count, loss, percent};
use crate::tui::keymap::Action;
use crate::tui::message::Effect;
use crate::tui::theme::Glyphs;

/// Below this an axis takes more room than the curve.
const SMALLEST: u16 = 6;

/// The curves pane.
#[derive(Debug, Default)]
pub struct Charts {
    scale: Scale,
}

/// The vertical axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Scale {
    #[default]
    Logarithmic,
    Linear,
}

/// At most two points for each of `buckets`, its least and its largest value, so that no spike is lost.
fn envelope(points: &[(f64, f64)], buckets: usize) -> Vec<(f64, f64)> {
    if points.len() <= 2 * buckets {
        return points.to_vec();
    }
    let size = points.len().div_ceil(buckets.max(1));
    let ends = |bucket: &[(f64, f64)]| {
        let low = bucket.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
        let high = bucket.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
        let mut ends: Vec<_> = low.into_iter().chain(high).collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        ends
    };
    points.chunks(size).flat_map(ends).collect()
}

/// The values' range without the highest hundredth, which the first steps take.
fn range(points: &[(f64, f64)]) -> [f64; 2] {
    let mut values: Vec<f64> = points.iter().map(|point| point.1).collect();
    values.sort_by(f64::total_cmp);
    let low = values.first().copied().unwrap_or(0.0);
    let high = values.get((values.len().max(1) - 1) * 99 / 100).copied().unwrap_or(1.0);
    if high > low { [low, high] } else { [low - 0.5, low + 0.5] }
}

impl Charts {
    fn scaled(&self, points: impl Iterator<Item = (u64, f64)>) -> Vec<(f64, f64)> {
        let logarithmic = self.scale == Scale::Logarithmic;
        let value = |value: f64| if logarithmic { value.max(1e-4).log10() } else { value };
        points.filter(|point| point.1.is_finite()).map(|(step, y)| (step as f64, value(y))).collect()
    }

    fn chart(&self, context: &Context, name: &str, curves: [Vec<(f64, f64)>; 2], area: Rect, buffer: &mut Buffer) {
        let theme = context.theme;
        let [train, validation] = curves;
        let train = envelope(&train, usize::from(area.width));
        let [low, high] = range(&[train.as_slice(), validation.as_slice()].concat());
        let end = train.iter().chain(&validation).map(|point| point.0).fold(1.0, f64::max);
        let label = |y: f64| loss(if self.scale == Scale::Logarithmic { 10f64.powf(y) } else { y });
        let marker = if theme.glyphs == Glyphs::Ascii { Marker::Custom('.') } else { Marker::Braille };
        let curve = |data, style| Dataset::default().data(data).style(style).marker(marker).graph_type(GraphType::Line);
        Chart::new(vec![curve(&train, theme.train), curve(&validation, theme.validation)])
            .legend_position(None)
            .x_axis(Axis::default().style(theme.dim).bounds([0.0, end]).labels(["0".into(), count(end)]))
            .y_axis(
                Axis::default()
                    .style(theme.dim)
                    .bounds([low, high])
                    .title(name.to_owned())
                    .labels([label(low), label(high)]),
            )
            .render(area, buffer);
    }
}

/// The last figures on one line.
fn summary<'a>(context: &Context<'a>) -> Line<'a> {
    let (history, theme) = (&context.lab.history, context.theme);
    let mut spans = Vec::new();
    if let Some(step) = history.steps.last() {
        let text =
            format!("step {} loss {} acc {}  ", step.step, loss(step.loss.into()), percent(step.accuracy.into()));
        spans.push(Span::styled(text, theme.train));
    }
    if let Some(measured) = history.epochs.last().and_then(|epoch| epoch.validation) {
        let text = format!("val loss {} acc {}", loss(measured.loss), percent(measured.accuracy));
        spans.push(Span::styled(text, theme.validation));
    }
    Line::from(spans)
}

impl Pane for Charts {
    fn title(&self, _lab: &LabState) -> String {
        if self.scale == Scale::Logarithmic { "log axis".into() } else { String::new() }
    }

    fn help(&self) -> &'static str {
        "Loss and error rate over the steps: of each training batch, and of the validation split after each epoch."
    }

    fn render(&self, context: &Context, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        let history = &context.lab.history;
        if area.is_empty() {
            return;
        }
        if history.steps.is_empty() {
            buffer.set_stringn(area.x, area.y, "Space begins training", usize::from(area.width), context.theme.dim);
            return;
        }
        let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
        summary(context).render(head, buffer);
        if body.height < SMALLEST {
            return;
        }
        let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).areas(body);
        let measured = || history.epochs.iter().filter_map(|epoch| Some((epoch.step, epoch.validation?)));
        let losses = [
            self.scaled(history.steps.iter().map(|step| (step.step, step.loss.into()))),
            self.scaled(measured().map(|(step, measured)| (step, measured.loss))),
        ];
        let errors = [
            self.scaled(history.steps.iter().map(|step| (step.step, 1.0 - f64::from(step.accuracy)))),
            self.scaled(measured().map(|(step, measured)| (step, 1.0 - measured.accuracy))),
        ];
        self.chart(context, "loss", losses, left, buffer);
        self.chart(context, "error rate", errors, right, buffer);
    }

    fn handle(&mut self, action: Action, _lab: &LabState) -> Option<Vec<Effect>> {
        if action != Action::Scale {
            return None;
        }
        self.scale = if self.scale == Scale::Linear { Scale::Logarithmic } else { Scale::Linear };
        Some(Vec::new())
    }
}
