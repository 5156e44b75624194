//! Parallel coordinates: an axis for each setting and one for the score, a line for each trial.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::symbols::Marker;
use ratatui::widgets::Widget;
use ratatui::widgets::canvas::{Canvas, Line};

use crate::search::{Row, SearchState};
use crate::tui::format::{loss, percent, shorten, width};
use crate::tui::panes::Context;
use crate::tui::theme::{Glyphs, Theme};
use crate::tune::importance::importance;
use crate::tune::study::Objective;

/// Lines above the axes: names, shares, upper ends; and one below for the lower ends.
const ABOVE: u16 = 3;
/// The fewest lines that axes can be read on.
const LOWEST: u16 = 3;

/// An upright with what stands at it.
struct Axis {
    x: u16,
    name: String,
    share: String,
    ends: [String; 2],
}

/// Draws axes and lines, where there is room.
pub fn render(context: &Context, search: &SearchState, rows: &[Row], selected: usize, area: Rect, buffer: &mut Buffer) {
    let area = area.intersection(buffer.area);
    if area.height < ABOVE + 1 + LOWEST || area.width < 20 {
        return;
    }
    let scored: Vec<(usize, &Row)> = rows.iter().enumerate().filter(|(_, row)| row.score.is_some()).collect();
    let costs: Vec<f64> = scored.iter().filter_map(|(_, row)| Some(search.study.objective.cost(&row.score?))).collect();
    // One that went wrong must not press all others together.
    let (best, worst) =
        (costs.first().copied().unwrap_or(0.0), costs.get(costs.len() * 9 / 10).copied().unwrap_or(1.0));
    let axes = axes(search, area, [best, worst]);
    let inside = Rect { y: area.y + ABOVE, height: area.height - ABOVE - 1, ..area };
    uprights(&axes, context.theme, inside, buffer);
    lines(context, search, &scored, selected, [best, worst], &axes, inside, buffer);
    labels(&axes, context.theme, area, buffer);
}

fn axes(search: &SearchState, area: Rect, [best, worst]: [f64; 2]) -> Vec<Axis> {
    let parameters = &search.study.space.parameters;
    let shares = importance(&search.study, &search.trials);
    let last = parameters.len().max(1);
    // Room for half a label on both sides.
    let (margin, span) = (3, area.width.saturating_sub(8));
    let x = |index: usize| area.x + margin + (usize::from(span) * index / last) as u16;
    let named = parameters.iter().enumerate().map(|(index, parameter)| Axis {
        x: x(index),
        name: parameter.name.clone(),
        share: shares.as_ref().map_or_else(String::new, |shares| format!("{:.0} %", shares[index] * 100.0)),
        ends: [parameter.values.at(1.0), parameter.values.at(0.0)],
    });
    let (name, end): (_, fn(f64) -> String) = match search.study.objective {
        Objective::ValAccuracy => ("val acc", |cost| percent(1.0 - cost)),
        Objective::ValLoss => ("val loss", loss),
    };
    let score = Axis { x: x(last), name: name.into(), share: String::new(), ends: [end(best), end(worst)] };
    named.chain([score]).collect()
}

fn uprights(axes: &[Axis], theme: &Theme, inside: Rect, buffer: &mut Buffer) {
    for axis in axes {
        for y in inside.top()..inside.bottom() {
            buffer.set_string(axis.x, y, theme.symbols().vertical, theme.border);
        }
    }
}

/// The worst first, so that the best lies above them, and the selected one above all.
#[expect(clippy::too_many_arguments, reason = "what is drawn, how and where")]
fn lines(
    context: &Context,
    search: &SearchState,
    scored: &[(usize, &Row)],
    selected: usize,
    [best, worst]: [f64; 2],
    axes: &[Axis],
    inside: Rect,
    buffer: &mut Buffer,
) {
    let theme = context.theme;
    let style = |index: usize| match index {
        _ if index == selected => theme.accent,
        0 => theme.good,
        _ if index * 3 < scored.len() => theme.train,
        _ => theme.dim,
    };
    let mut order: Vec<&(usize, &Row)> = scored.iter().rev().collect();
    order.sort_by_key(|(index, _)| *index == selected);
    for (index, row) in order {
        let cost = row.score.map_or(worst, |score| search.study.objective.cost(&score));
        let height = if worst > best { ((worst - cost) / (worst - best)).clamp(0.0, 1.0) } else { 1.0 };
        let places: Vec<f64> = search.study.space.places(&row.values).into_iter().chain([height]).collect();
        polyline(&places, axes, style(*index), theme, inside, buffer);
    }
}

/// Draws over what is there, cell by cell, and leaves the rest.
fn polyline(places: &[f64], axes: &[Axis], style: Style, theme: &Theme, inside: Rect, buffer: &mut Buffer) {
    let marker = if theme.glyphs == Glyphs::Ascii { Marker::Custom('.') } else { Marker::Braille };
    let color = style.fg.unwrap_or_default();
    let mut layer = Buffer::empty(inside);
    let x = |axis: &Axis| f64::from(axis.x - inside.x) + 0.5;
    Canvas::default()
        .marker(marker)
        .x_bounds([0.0, f64::from(inside.width)])
        .y_bounds([0.0, 1.0])
        .paint(|canvas| {
            for (pair, heights) in axes.windows(2).zip(places.windows(2)) {
                canvas.draw(&Line { x1: x(&pair[0]), y1: heights[0], x2: x(&pair[1]), y2: heights[1], color });
            }
        })
        .render(inside, &mut layer);
    for position in inside.positions() {
        let symbol = layer[position].symbol();
        if symbol != " " && symbol != "\u{2800}" {
            buffer[position].set_symbol(symbol).set_style(style);
        }
    }
}

fn labels(axes: &[Axis], theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let room = axes.windows(2).map(|pair| pair[1].x - pair[0].x).min().unwrap_or(area.width);
    let mut write = |x: u16, y: u16, text: &str, style: Style| {
        let text = shorten(text, usize::from(room.saturating_sub(1)), theme.symbols().ellipsis);
        let columns = width(&text) as u16;
        let x = x.saturating_sub(columns / 2).clamp(area.x, area.right().saturating_sub(columns).max(area.x));
        buffer.set_string(x, y, text, style);
    };
    for axis in axes {
        write(axis.x, area.y, &axis.name, theme.text);
        write(axis.x, area.y + 1, &axis.share, theme.validation);
        write(axis.x, area.y + 2, &axis.ends[0], theme.dim);
        write(axis.x, area.bottom() - 1, &axis.ends[1], theme.dim);
    }
}
