//! Training curves as a picture: loss and accuracy of the steps, smoothed, and of the validation, over the epochs.

mod axis;
mod curve;

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
use crate::train::history::History;
use axis::{Axis, Ticked, progress};
use curve::{Clock, Curve, Segment, curve, edits};

/// `DejaVu Sans`, cut down to Latin letters and the signs used here, so that a machine without fonts can draw.
const FONT: &[u8] = include_bytes!("plot/DejaVuSans-subset.ttf");

/// Pixels of a unit in which everything is drawn; all sizes below are in units.
const SCALE: i32 = 4;
/// Pixels of a unit in a PNG: the finer drawing is averaged, which smooths the edges.
const PNG_SCALE: i32 = 2;
const WIDTH: i32 = 1000;
const HEADER: i32 = 44;
const CHARTS: i32 = 350;
const FOOTER_LINE: i32 = 17;
/// Changes of settings that are spelled out below the charts.
const FOOTER_LINES: usize = 12;

/// The share of the run at whose start the accuracy may lie below the chart.
const WARM_UP: f64 = 0.04;

// Blue and vermilion of Okabe and Ito's palette, which colour-blind people tell apart.
const TRAIN: RGBColor = RGBColor(0, 114, 178);
const VALIDATION: RGBColor = RGBColor(213, 94, 0);
const BREAK: RGBColor = RGBColor(204, 0, 60);
const INK: RGBColor = RGBColor(40, 40, 40);
const FAINT_INK: RGBColor = RGBColor(120, 120, 120);
const GRID: RGBColor = RGBColor(228, 228, 228);

/// The kinds of picture that can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines and text that scale to any size.
    Svg,
    /// Pixels.
    Png,
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
            _ => Err(ExportError::Ending { path: path.into(), possible: ".svg or .png" }),
        }
    }
}

/// Writes the curves of `history` to `path`, as its ending says; gives the file's size in bytes.
///
/// # Errors
/// If the ending names no format, or the file system refuses.
pub fn write(history: &History, title: &str, path: &Path) -> Result<u64, ExportError> {
    write_bytes(path, &plot(history, title, Format::of(path)?)?)
}

/// The curves of `history` as the bytes of a picture.
///
/// # Errors
/// If it can't be drawn.
pub fn plot(history: &History, title: &str, format: Format) -> Result<Vec<u8>, ExportError> {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| {
        // The bytes are a font, as the tests see; without it the drawing itself fails and says so.
        let _ = register_font("sans-serif", FontStyle::Normal, FONT);
    });
    let scene = Scene::new(history, title, format);
    match format {
        Format::Svg => svg(&scene),
        Format::Png => png(&scene),
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

/// How the strokes of a line meet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Joints {
    /// As one path, whose corners the viewer makes.
    Mitred,
    /// Each stroke for itself: the corners of the bitmap backend shoot far out where a line turns sharply.
    Plain,
}

/// All that is drawn, before anything is.
struct Scene {
    title: String,
    unit: &'static str,
    joints: Joints,
    end: f64,
    charts: [(Axis, Curve); 2],
    edits: Vec<(f64, String)>,
}

impl Scene {
    fn new(history: &History, title: &str, format: Format) -> Self {
        let clock = Clock::new(history);
        let measured = |epoch: &crate::train::history::EpochRecord| epoch.validation;
        let loss = curve(history, &clock, |step| step.loss, |epoch| Some(measured(epoch)?.loss));
        let accuracy = curve(history, &clock, |step| step.accuracy, |epoch| Some(measured(epoch)?.accuracy));
        Self {
            title: title.into(),
            unit: clock.unit(),
            joints: if format == Format::Png { Joints::Plain } else { Joints::Mitred },
            end: clock.end(history),
            charts: [
                (Axis::loss(loss.values_after(0.0)), loss),
                (Axis::accuracy(accuracy.values_after(clock.end(history) * WARM_UP)), accuracy),
            ],
            edits: edits(history, &clock),
        }
    }

    /// In pixels.
    fn size(&self) -> (u32, u32) {
        let lines = self.footer().len() as i32;
        let footer = if lines > 0 { lines * FOOTER_LINE + 10 } else { 0 };
        ((WIDTH * SCALE) as u32, ((HEADER + CHARTS + footer) * SCALE) as u32)
    }

    fn footer(&self) -> Vec<String> {
        let spelled_out = self.edits.iter().zip(1..).take(FOOTER_LINES);
        let mut lines: Vec<String> =
            spelled_out.map(|((at, text), number)| format!("{number}   {} {at:.2}: {text}", self.unit)).collect();
        if self.edits.len() > FOOTER_LINES {
            lines.push(format!("… and {} more changes", self.edits.len() - FOOTER_LINES));
        }
        lines
    }
}

type Area<B> = DrawingArea<B, Shift>;
type Axes = Cartesian2d<Ticked, Ticked>;
type Chart<'a, B> = ChartContext<'a, B, Axes>;
type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

fn draw<B: DrawingBackend>(scene: &Scene, backend: B) -> Result<(), String> {
    let area = backend.into_drawing_area();
    let all = || {
        area.fill(&WHITE)?;
        let (header, rest) = area.split_vertically(HEADER * SCALE);
        let (charts, footer) = rest.split_vertically(CHARTS * SCALE);
        draw_header(scene, &header)?;
        for (part, (axis, curve)) in charts.split_evenly((1, 2)).iter().zip(&scene.charts) {
            draw_chart(scene, axis, curve, part)?;
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
    Ok(())
}

fn draw_chart<B: DrawingBackend>(scene: &Scene, axis: &Axis, curve: &Curve, area: &Area<B>) -> Drawn<B> {
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
