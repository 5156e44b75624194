//! Training curves as a picture: loss and accuracy of the steps, smoothed, and of the validation, over the epochs, with other
//! runs behind; or as a table.

mod axis;
mod curve;
mod scene;
mod table;

use std::io::Cursor;
use std::ops::Range;
use std::path::Path;
use std::sync::Once;

use image::imageops::thumbnail;
use image::{ImageFormat, RgbImage};
use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, RGBColor, ShapeStyle, TextStyle, WHITE, register_font};

use super::{ExportError, write_bytes};
use crate::error::Error;
use crate::reply::Plotted;
use crate::state::LabState;
use crate::train::history::History;
use axis::{Axis, Ticked, progress};
use curve::{Curve, Segment};
use scene::{CHARTS, FOOTER_LINE, FOOTER_LINES, HEADER, Joints, NAMED, NAMES, Panel, SCALE, Scene, WIDTH};

/// `DejaVu Sans`, cut down to Latin letters and the signs used here, so that a machine without fonts can draw.
const FONT: &[u8] = include_bytes!("plot/DejaVuSans-subset.ttf");

/// Pixels of a unit in a PNG: the finer drawing is averaged, which smooths the edges.
const PNG_SCALE: i32 = 2;

// Blue and vermilion of Okabe and Ito's palette, which colour-blind people tell apart.
const TRAIN: RGBColor = RGBColor(0, 114, 178);
const VALIDATION: RGBColor = RGBColor(213, 94, 0);
/// Other runs', the rest of the palette.
const OTHERS: [RGBColor; 5] = [
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(130, 130, 130),
];
const BREAK: RGBColor = RGBColor(204, 0, 60);
const INK: RGBColor = RGBColor(40, 40, 40);
const FAINT_INK: RGBColor = RGBColor(120, 120, 120);
const GRID: RGBColor = RGBColor(228, 228, 228);

/// The kinds of file that can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines and text that scale to any size.
    Svg,
    /// Pixels.
    Png,
    /// A table; its columns are described [there](table).
    Csv,
}

/// One run's curves.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// What it is called.
    pub name: &'a str,
    /// What is drawn.
    pub history: &'a History,
}

impl Format {
    /// The format that the ending of `path` names.
    ///
    /// # Errors
    /// If it names none.
    pub fn of(path: &Path) -> Result<Self, ExportError> {
        let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
        match ending.as_deref() {
            Some("svg") => Ok(Self::Svg),
            Some("png") => Ok(Self::Png),
            Some("csv") => Ok(Self::Csv),
            _ => Err(ExportError::Ending { path: path.into(), possible: ".svg, .png or .csv" }),
        }
    }
}

/// Writes the curves of the lab's run, its other branches and the sessions beside it, as the ending of `path` says.
///
/// # Errors
/// If the ending names no format, or the file system refuses.
pub fn state(state: &LabState, path: &Path) -> Result<Plotted, Error> {
    let (name, others) = (state.run.as_ref().map_or("", |run| run.name.as_str()), state.overlays());
    let others = others.iter().map(|other| Run { name: &other.name, history: &other.history });
    let runs: Vec<Run> = std::iter::once(Run { name, history: &state.history }).chain(others).collect();
    let bytes = write(&runs, path)?;
    let runs = runs.iter().map(|run| run.name.to_owned()).collect();
    Ok(Plotted { path: path.display().to_string(), bytes, runs })
}

/// Writes the curves of `runs` to `path`, as its ending says; gives the file's size in bytes.
///
/// # Errors
/// If the ending names no format, or the file system refuses.
pub fn write(runs: &[Run], path: &Path) -> Result<u64, ExportError> {
    write_bytes(path, &plot(runs, Format::of(path)?)?)
}

/// The curves of `runs`, the first in front of the others, as the bytes of a file.
///
/// # Errors
/// If they can't be drawn.
pub fn plot(runs: &[Run], format: Format) -> Result<Vec<u8>, ExportError> {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| {
        // The bytes are a font, as the tests see; without it the drawing itself fails and says so.
        let _ = register_font("sans-serif", FontStyle::Normal, FONT);
    });
    match format {
        Format::Svg => svg(&Scene::new(runs, Joints::Mitred)),
        Format::Png => png(&Scene::new(runs, Joints::Plain)),
        Format::Csv => table::table(runs).map_err(|error| ExportError::encoding("csv", &error)),
    }
}

fn svg(scene: &Scene) -> Result<Vec<u8>, ExportError> {
    let (width, height) = scene.size();
    let mut text = String::new();
    draw(scene, SVGBackend::with_string(&mut text, scene.size())).map_err(|problem| failed("SVG", problem))?;
    // Shown at the size in units; the finer grid of pixels keeps the lines smooth.
    let scale = SCALE as u32;
    let size = format!(r#"width="{width}" height="{height}""#);
    let shown = format!(r#"width="{}" height="{}""#, width / scale, height / scale);
    Ok(text.replacen(&size, &shown, 1).into_bytes())
}

fn png(scene: &Scene) -> Result<Vec<u8>, ExportError> {
    let (width, height) = scene.size();
    let mut image = RgbImage::new(width, height);
    draw(scene, BitMapBackend::with_buffer(&mut image, scene.size())).map_err(|problem| failed("PNG", problem))?;
    let shrink = (SCALE / PNG_SCALE) as u32;
    let image = thumbnail(&image, width / shrink, height / shrink);
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).map_err(|problem| failed("PNG", problem.to_string()))?;
    Ok(bytes.into_inner())
}

fn failed(format: &'static str, problem: String) -> ExportError {
    ExportError::Encoding { format, problem }
}

type Area<B> = DrawingArea<B, Shift>;
type Axes = Cartesian2d<Ticked, Ticked>;
type Chart<'a, B> = ChartContext<'a, B, Axes>;
type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

fn draw<B: DrawingBackend>(scene: &Scene, backend: B) -> Result<(), String> {
    let area = backend.into_drawing_area();
    let all = || {
        area.fill(&WHITE)?;
        let (header, rest) = area.split_vertically(scene.header() * SCALE);
        let (charts, footer) = rest.split_vertically(CHARTS * SCALE);
        draw_header(scene, &header)?;
        for (part, panel) in charts.split_evenly((1, 2)).iter().zip(&scene.charts) {
            draw_chart(scene, panel, part)?;
        }
        for (line, row) in scene.footer().iter().zip(0..) {
            footer.draw_text(line, &ink(11, INK), at(60, row * FOOTER_LINE))?;
        }
        area.present()
    };
    all().map_err(|problem| problem.to_string())
}

/// The title, and what the colours mean.
fn draw_header<B: DrawingBackend>(scene: &Scene, area: &Area<B>) -> Drawn<B> {
    area.draw_text(&scene.title, &ink(17, INK), at(14, 14))?;
    let middle = Pos::new(HPos::Left, VPos::Center);
    for (x, text, style) in [
        (WIDTH - 350, "single steps", single_steps()),
        (WIDTH - 233, "train, smoothed", line(TRAIN)),
        (WIDTH - 90, "validation", line(VALIDATION)),
    ] {
        area.draw(&PathElement::new(vec![at(x - 26, 24), at(x - 6, 24)], style))?;
        area.draw_text(text, &ink(12, INK).pos(middle), at(x, 24))?;
    }
    for (number, name) in scene.others.iter().enumerate() {
        let (x, y) = (40 + (number % NAMED) as i32 * 160, HEADER + (number / NAMED) as i32 * NAMES + 4);
        area.draw(&PathElement::new(vec![at(x - 26, y), at(x - 6, y)], line(other(number))))?;
        let name: String = name.chars().take(20).collect();
        area.draw_text(&name, &ink(12, INK).pos(middle), at(x, y))?;
    }
    Ok(())
}

fn draw_chart<B: DrawingBackend>(scene: &Scene, panel: &Panel, area: &Area<B>) -> Drawn<B> {
    let Panel { axis, curve, others } = panel;
    let mut chart = ChartBuilder::on(area)
        .margin_left(10 * SCALE)
        .margin_right(16 * SCALE)
        .margin_top(12 * SCALE)
        .margin_bottom(4 * SCALE)
        .x_label_area_size(40 * SCALE)
        .y_label_area_size(58 * SCALE)
        .build_cartesian_2d(progress(scene.end), axis.shown.clone())?;
    chart
        .configure_mesh()
        .bold_line_style(hairline(GRID))
        .axis_style(hairline(FAINT_INK))
        .label_style(ink(12, INK))
        .axis_desc_style(ink(13, INK))
        .x_desc(scene.unit)
        .y_desc(axis.title)
        .x_label_formatter(&|tick| format!("{}", (tick * 100.0).round() / 100.0))
        .y_label_formatter(&|tick| axis.label(*tick))
        .draw()?;
    draw_edits(scene, axis, &mut chart)?;
    draw_segments(&curve.raw, axis, scene.joints, &mut chart, single_steps())?;
    for (number, behind) in others.iter().enumerate() {
        draw_segments(behind.foreground(), axis, scene.joints, &mut chart, line(other(number)))?;
    }
    draw_segments(&curve.smooth, axis, scene.joints, &mut chart, line(TRAIN))?;
    draw_segments(&curve.validation, axis, scene.joints, &mut chart, line(VALIDATION))?;
    let points = curve.validation.iter().flatten();
    let dots = points.map(|&(x, y)| Circle::new((x, axis.place(y)), 3 * SCALE, VALIDATION.filled()));
    chart.draw_series(dots)?;
    draw_breaks(curve, axis, &mut chart)?;
    if curve.raw.is_empty() && curve.breaks.is_empty() {
        let (x, y) = (scene.end / 2.0, f64::midpoint(axis.shown.range.start, axis.shown.range.end));
        let style = ink(13, FAINT_INK).pos(Pos::new(HPos::Center, VPos::Center));
        chart.plotting_area().draw(&Text::new("no step was made yet", (x, y), style))?;
    }
    Ok(())
}

/// A dashed line with a number wherever settings were changed.
fn draw_edits<B: DrawingBackend>(scene: &Scene, axis: &Axis, chart: &mut Chart<'_, B>) -> Drawn<B> {
    let Range { start: bottom, end: top } = axis.shown.range;
    let dash = (top - bottom) / 80.0;
    for ((progress, _), number) in scene.edits.iter().zip(1..) {
        let lower_ends = (0..40).map(|n| bottom + f64::from(n) * 2.0 * dash);
        let dashes =
            lower_ends.map(|y| PathElement::new(vec![(*progress, y), (*progress, y + dash)], hairline(FAINT_INK)));
        chart.draw_series(dashes)?;
        if number <= FOOTER_LINES {
            chart.draw_series([Text::new(format!(" {number}"), (*progress, top), ink(11, INK))])?;
        }
    }
    Ok(())
}

fn draw_segments<B: DrawingBackend>(
    segments: &[Segment],
    axis: &Axis,
    joints: Joints,
    chart: &mut Chart<'_, B>,
    style: ShapeStyle,
) -> Drawn<B> {
    for segment in segments {
        let points: Vec<(f64, f64)> = segment.iter().map(|&(x, y)| (x, axis.place(y))).collect();
        if let [point] = points[..] {
            chart.draw_series([Circle::new(point, style.stroke_width, style.filled())])?;
        } else if joints == Joints::Plain {
            chart.draw_series(points.windows(2).map(|ends| PathElement::new(ends, style)))?;
        } else {
            chart.draw_series([PathElement::new(points, style)])?;
        }
    }
    Ok(())
}

/// A short red line at the top wherever a value was no number.
fn draw_breaks<B: DrawingBackend>(curve: &Curve, axis: &Axis, chart: &mut Chart<'_, B>) -> Drawn<B> {
    let (top, below) =
        (axis.shown.range.end, axis.shown.range.end - (axis.shown.range.end - axis.shown.range.start) * 0.05);
    let marks = curve.breaks.iter().map(|&x| PathElement::new(vec![(x, below), (x, top)], line(BREAK)));
    chart.draw_series(marks)?;
    Ok(())
}

/// A line of the foreground.
fn line(color: RGBColor) -> ShapeStyle {
    color.stroke_width(3 * SCALE as u32 / 2)
}

/// The colour of another run.
fn other(number: usize) -> RGBColor {
    OTHERS[number % OTHERS.len()]
}

fn hairline(color: RGBColor) -> ShapeStyle {
    color.stroke_width(SCALE as u32 / 2)
}

fn single_steps() -> ShapeStyle {
    TRAIN.mix(0.25).stroke_width(SCALE as u32 / 2)
}

/// Text of this size in units.
fn ink(size: i32, color: RGBColor) -> TextStyle<'static> {
    // The backends draw letters at 1/1.24 of the size that they are asked for.
    let size = f64::from(size * SCALE) * 1.24;
    TextStyle { color: color.to_backend_color(), ..TextStyle::from(("sans-serif", size)) }
}

fn at(x: i32, y: i32) -> (i32, i32) {
    (x * SCALE, y * SCALE)
}

#[cfg(test)]
mod tests;
