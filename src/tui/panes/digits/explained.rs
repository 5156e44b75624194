//! An explained digit, page by page: where the network looked, what spoke for each class, what its layers saw.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::data::SIDE;
use crate::explain::{Explanation, LayerMaps};
use crate::state::DigitView;
use crate::tui::format::{percent, shorten};
use crate::tui::panes::Context;

/// Columns and lines of an image with its caption.
const IMAGE: [u16; 2] = [SIDE as u16, SIDE as u16 / 2 + 1];
/// Lines below the images that another page fits into.
const BELOW: u16 = 8;
/// Columns of a small picture, from the largest size to the smallest.
const SIDES: [u16; 4] = [28, 14, 10, 7];

/// What a page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// The digit and its maps.
    Maps,
    /// The digit and the map that may have had no room.
    Occlusion,
    /// Each class's logit.
    Evidence,
    /// The feature maps of this layer.
    Layer(usize),
    /// The weights of the first layer.
    Filters,
}

impl Page {
    /// How many there are.
    pub fn count(explanation: &Explanation) -> usize {
        explanation.layers.len() + 4
    }

    /// Page `number`, which goes round.
    pub fn new(explanation: &Explanation, number: usize) -> Self {
        let layers = explanation.layers.len();
        match number % Self::count(explanation) {
            0 => Self::Maps,
            1 => Self::Occlusion,
            2 => Self::Evidence,
            number if number - 3 < layers => Self::Layer(number - 3),
            _ => Self::Filters,
        }
    }

    /// What stands on the frame.
    pub fn title(self, explanation: &Explanation) -> String {
        let of = explanation.class;
        match self {
            Self::Maps => format!("saliency for {of}"),
            Self::Occlusion => format!("occlusion for {of}"),
            Self::Evidence => "evidence".into(),
            Self::Layer(layer) => {
                let maps = &explanation.layers[layer];
                format!("layer {}: {} maps of {}", layer + 1, maps.pictures.len(), maps.layer)
            }
            Self::Filters => format!("{} filters of {}", explanation.filters.pictures.len(), explanation.filters.layer),
        }
    }
}

/// Draws a page; where there is room, below the digit and its maps.
pub fn render(
    context: &Context,
    digit: &DigitView,
    explanation: &Explanation,
    page: Page,
    area: Rect,
    buffer: &mut Buffer,
) {
    let [above, below] = if page != Page::Maps && area.height >= IMAGE[1] + BELOW {
        let above = Rect { height: IMAGE[1], ..area };
        [above, Rect { y: above.bottom(), height: area.height - above.height, ..area }]
    } else {
        [Rect { height: 0, ..area }, area]
    };
    match page {
        Page::Maps => images(context, digit, &[saliency(explanation), occlusion(explanation)], area, buffer),
        Page::Occlusion => images(context, digit, &[occlusion(explanation), saliency(explanation)], area, buffer),
        _ => {
            images(context, digit, &[saliency(explanation), occlusion(explanation)], above, buffer);
            match page {
                Page::Layer(layer) => pictures(context, &explanation.layers[layer], below, buffer),
                Page::Filters => pictures(context, &explanation.filters, below, buffer),
                _ => evidence(context, digit, explanation, below, buffer),
            }
        }
    }
}

type Named<'a> = (&'static str, &'a [f32]);

fn saliency(explanation: &Explanation) -> Named<'_> {
    ("saliency: gradient × pixel", &explanation.saliency[..])
}

fn occlusion(explanation: &Explanation) -> Named<'_> {
    ("occlusion: what wiping costs", &explanation.occlusion[..])
}

/// The digit and, as far as there is room, the maps beside it.
fn images(context: &Context, digit: &DigitView, maps: &[Named], area: Rect, buffer: &mut Buffer) {
    if area.height < 2 {
        return;
    }
    let theme = context.theme;
    let lines = IMAGE[1].min(area.height) - 1;
    let shown = context.graphics.digit(
        &digit.image,
        theme,
        Rect { height: lines, width: IMAGE[0].min(area.width), ..area },
        buffer,
    );
    let caption = |text: &str, x: u16, columns: u16, buffer: &mut Buffer| {
        let columns = usize::from(columns.min(area.right().saturating_sub(x)));
        buffer.set_stringn(x, area.y + lines, shorten(text, columns, ""), columns, theme.dim);
    };
    let verdict = format!("{}: {} at {}", digit.source, digit.predicted, percent(f64::from(digit.confidence())));
    caption(&verdict, area.x, IMAGE[0], buffer);
    let mut x = area.x + shown.width.max(IMAGE[0].min(area.width)) + 1;
    for (name, values) in maps {
        if x + shown.width > area.right() || shown.width == 0 {
            break;
        }
        let peak = values.iter().fold(0.0f32, |peak, value| peak.max(value.abs()));
        let place = Rect { x, height: lines, width: shown.width, ..area };
        context.graphics.signed(values, [SIDE; 2], peak, theme, place, buffer);
        caption(name, x, IMAGE[0], buffer);
        x += IMAGE[0] + 1;
    }
}

/// A line for each class: its logit, what spoke for it and against it.
fn evidence(context: &Context, digit: &DigitView, explanation: &Explanation, area: Rect, buffer: &mut Buffer) {
    let theme = context.theme;
    let mut put = |row: usize, text: String, style| {
        if row < usize::from(area.height) {
            buffer.set_stringn(area.x, area.y + row as u16, text, usize::from(area.width), style);
        }
    };
    put(0, "class        probability    logit      for  against   biases".into(), theme.dim);
    for (row, evidence) in explanation.evidence.iter().enumerate() {
        let biases = evidence.logit - evidence.pro - evidence.con;
        let style = match evidence.class {
            class if class == digit.predicted => theme.title,
            class if Some(class) == digit.label => theme.warning,
            _ => theme.text,
        };
        let name = shorten(&context.class_name(evidence.class), 12, "");
        let probability = percent(f64::from(evidence.probability));
        let text = format!(
            "{name:<12} {probability:>11} {:>8.2} {:>8.2} {:>8.2} {biases:>8.2}",
            evidence.logit, evidence.pro, evidence.con
        );
        put(row + 1, text, style);
    }
}

/// A layer's pictures in a grid: as large as they can be while all are there, else the smallest, as many as fit.
fn pictures(context: &Context, maps: &LayerMaps, area: Rect, buffer: &mut Buffer) {
    let Some(first) = maps.pictures.first() else { return };
    let cell = |side: u16| -> [u16; 2] {
        let [rows, columns] = first.size;
        let tall = (usize::from(side) * rows).div_ceil(2 * columns.max(1)).max(1);
        [side, tall as u16]
    };
    let fits = |[wide, tall]: [u16; 2]| -> [u16; 2] { [(area.width + 1) / (wide + 1), (area.height + 1) / (tall + 1)] };
    let all = |side: &u16| {
        let [columns, rows] = fits(cell(*side));
        usize::from(columns) * usize::from(rows) >= maps.pictures.len()
    };
    let [wide, tall] = cell(SIDES.into_iter().find(all).unwrap_or(SIDES[SIDES.len() - 1]));
    let [columns, rows] = fits([wide, tall]);
    let peak = maps.peak();
    for (at, picture) in maps.pictures.iter().enumerate().take(usize::from(columns) * usize::from(rows)) {
        let (row, column) = (at as u16 / columns.max(1), at as u16 % columns.max(1));
        let place = Rect { x: area.x + column * (wide + 1), y: area.y + row * (tall + 1), width: wide, height: tall };
        context.graphics.signed(&picture.values, picture.size, peak, context.theme, place.intersection(area), buffer);
    }
}
