//! The curves pane: loss and error rate over the steps.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Chart, Dataset, GraphType, Widget};

use super::{Context, Pane};
use crate::state::LabState;
use crate::train::history::StepRecord;
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

/// What one chart shows, all in the axis's scale.
struct Curves {
    /// Of each step, as measured.
    raw: Vec<(f64, f64)>,
    /// The same, smoothed.
    train: Vec<(f64, f64)>,
    /// After each epoch.
    validation: Vec<(f64, f64)>,
}

/// Points `(step, value)`, each the mean of what came before with weights that fade over a fiftieth of the run.
fn smooth(points: &[(u64, f64)]) -> Vec<(u64, f64)> {
    let share = (50.0 / points.len() as f64).clamp(0.02, 1.0);
    let mut mean = None;
    let mut follow = |value: f64| {
        let next = mean.map_or(value, |mean: f64| mean + share * (value - mean));
        mean = Some(next);
        next
    };
    points.iter().filter(|point| point.1.is_finite()).map(|&(step, value)| (step, follow(value))).collect()
}

impl Charts {
    fn scaled(&self, points: impl IntoIterator<Item = (u64, f64)>) -> Vec<(f64, f64)> {
        let logarithmic = self.scale == Scale::Logarithmic;
        let value = |value: f64| if logarithmic { value.max(1e-4).log10() } else { value };
        points.into_iter().filter(|point| point.1.is_finite()).map(|(step, y)| (step as f64, value(y))).collect()
    }

    fn curves(&self, steps: &[(u64, f64)], measured: impl Iterator<Item = (u64, f64)>, width: u16) -> Curves {
        let width = usize::from(width);
        Curves {
            raw: envelope(&self.scaled(steps.iter().copied()), width),
            train: envelope(&self.scaled(smooth(steps)), width),
            validation: self.scaled(measured),
        }
    }

    fn chart(&self, context: &Context, name: &str, curves: &Curves, area: Rect, buffer: &mut Buffer) {
        let (theme, history) = (context.theme, &context.lab.history);
        let Curves { raw, train, validation } = curves;
        let [low, high] = range(&[train.as_slice(), validation.as_slice()].concat());
        let end = history.steps.last().map_or(1.0, |step| step.step as f64).max(1.0);
        let label = |y: f64| loss(if self.scale == Scale::Logarithmic { 10f64.powf(y) } else { y });
        let marker = if theme.glyphs == Glyphs::Ascii { Marker::Custom('.') } else { Marker::Braille };
        let upright = |step: u64| [(step as f64, low), (step as f64, high)];
        let edits: Vec<_> = history.edits.iter().map(|edit| upright(edit.step)).collect();
        let broken: Vec<_> =
            history.steps.iter().filter(|step| !step.loss.is_finite()).map(|step| upright(step.step)).collect();

        let curve = |data, style| Dataset::default().data(data).style(style).marker(marker).graph_type(GraphType::Line);
        let mut datasets = vec![curve(raw.as_slice(), theme.dim)];
        datasets.extend(edits.iter().map(|line| curve(line, theme.marker)));
        datasets.extend(broken.iter().map(|line| curve(line, theme.bad)));
        datasets.extend([curve(train, theme.train), curve(validation, theme.validation)]);
        let middle = label(f64::midpoint(low, high));
        Chart::new(datasets)
            .legend_position(None)
            .x_axis(Axis::default().style(theme.dim).bounds([0.0, end]).labels(["0".into(), count(end)]))
            .y_axis(Axis::default().style(theme.dim).bounds([low, high]).title(name.to_owned()).labels([
                label(low),
                middle,
                label(high),
            ]))
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
        "Loss and error rate over the steps: of the training batches, smoothed and with each batch faint behind, and of the \
         validation split after each epoch. An upright line marks where a setting was changed, or a loss that was no number. \
         Where the validation curve turns up while the training curve goes on down, the network begins to overfit."
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
        let of_steps = |value: fn(&StepRecord) -> f64| -> Vec<(u64, f64)> {
            history.steps.iter().map(|step| (step.step, value(step))).collect()
        };
        let losses = of_steps(|step| step.loss.into());
        let losses = self.curves(&losses, measured().map(|(step, m)| (step, m.loss)), left.width);
        let errors = of_steps(|step| 1.0 - f64::from(step.accuracy));
        let errors = self.curves(&errors, measured().map(|(step, m)| (step, 1.0 - m.accuracy)), right.width);
        self.chart(context, "loss", &losses, left, buffer);
        self.chart(context, "error rate", &errors, right, buffer);
    }

    fn handle(&mut self, action: Action, _lab: &LabState) -> Option<Vec<Effect>> {
        if action != Action::Scale {
            return None;
        }
        self.scale = if self.scale == Scale::Linear { Scale::Logarithmic } else { Scale::Linear };
        Some(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::{envelope, smooth};

    #[test]
    fn no_spike_is_lost_between_few_columns() {
        let points: Vec<(f64, f64)> = (0..10_000).map(|x| (f64::from(x), if x == 777 { 9.0 } else { 1.0 })).collect();
        let shown = envelope(&points, 40);
        assert!(shown.len() <= 80, "{}", shown.len());
        assert!(shown.contains(&(777.0, 9.0)));
        assert!(shown.is_sorted_by(|a, b| a.0 <= b.0));
    }

    #[test]
    fn smoothing_keeps_a_level_and_leaves_out_what_is_no_number() {
        let mut points: Vec<(u64, f64)> = (0..1000).map(|step| (step, 0.5)).collect();
        points[3].1 = f64::NAN;
        let smoothed = smooth(&points);
        assert_eq!(smoothed.len(), 999);
        assert!(smoothed.iter().all(|point| (point.1 - 0.5).abs() < 1e-12));
    }
}
