//! Draws the model. Nothing here changes it.

pub mod dialog;
pub mod footer;
pub mod frame;
pub mod help;
pub mod status;
pub mod tabs;
pub mod tour;

use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Position, Rect};
use ratatui::text::Line;
use ratatui::widgets::Widget;

use super::layout::{Parts, SMALLEST, Screen};
use super::model::{Model, Overlay};
use super::panes::Context;
use super::theme::Glyphs;

/// What kitty's protocol puts in the place of an image.
const PLACEHOLDER: char = '\u{10EEEE}';

/// Draws everything; the cursor's place, if text is typed.
pub fn view(model: &Model, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let cursor = draw(model, area, buffer);
    if model.theme.glyphs == Glyphs::Ascii {
        to_ascii(buffer);
    }
    cursor
}

/// Writes what the lab and the user's files say with the characters there are. Where an image lies that was asked for by the
/// name of its protocol, kitty's placeholders stay.
fn to_ascii(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if !cell.symbol().is_ascii() && !cell.symbol().contains(PLACEHOLDER) {
            let plain = match cell.symbol() {
                "×" => "x",
                "·" | "–" | "−" => "-",
                "…" => "~",
                "≤" => "<",
                "→" | "≥" => ">",
                "▏" | "│" => "|",
                "’" | "‘" => "'",
                "°" => " ",
                _ => "?",
            };
            cell.set_symbol(plain);
        }
    }
}

fn draw(model: &Model, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    model.graphics.begin(model.overlay.is_some() || model.tour.is_some());
    // The terminal may have been resized after the model was told: what is drawn must fit the buffer.
    match model.screen_of(area.as_size()) {
        Screen::TooSmall => {
            too_small(model, area, buffer);
            None
        }
        Screen::Parts(parts) => {
            let cursor = parts_view(model, &parts, buffer);
            if let Some(overlay) = &model.overlay {
                overlay_view(model, overlay, area, buffer);
                return None;
            }
            if let Some(stop) = &model.tour {
                tour::render(model, stop, &parts, buffer);
            }
            cursor
        }
    }
}

fn parts_view(model: &Model, parts: &Parts, buffer: &mut Buffer) -> Option<Position> {
    status::render(model, parts.status, buffer);
    if let Some(area) = parts.tabs {
        tabs::render(model, area, buffer);
    }
    let mut cursor = None;
    for &(id, area) in &parts.panes {
        let focused = id == model.focus && model.overlay.is_none();
        let context = Context { lab: &model.lab, theme: &model.theme, graphics: &model.graphics, focused };
        let pane = model.panes.get(id);
        frame::render(model, id, focused, area, buffer);
        let inside = frame::inside(area);
        pane.render(&context, inside, buffer);
        if focused {
            cursor = pane.cursor(inside);
        }
    }
    footer::render(model, parts.footer, buffer);
    cursor
}

fn overlay_view(model: &Model, overlay: &Overlay, area: Rect, buffer: &mut Buffer) {
    match overlay {
        Overlay::Help { top } => help::render(model, *top, area, buffer),
        Overlay::Offer(offer) => {
            let text = format!("The last session is there to go on with:\n\n{}\n{}", offer.name, offer.summary);
            let keys = [("Enter", "resume"), ("Esc", "start afresh")];
            dialog::render(&model.theme, model.theme.focus, "resume", &text, &keys, area, buffer);
        }
        Overlay::EndRun => {
            let text = "The run is to end here, for all who look at it. It is saved first.\n\n`q` alone leaves the dashboard, and \
                        the run trains on.";
            let keys = [("Enter", "end the run"), ("Esc", "train on")];
            dialog::render(&model.theme, model.theme.warning, "end the run", text, &keys, area, buffer);
        }
        Overlay::Unsaved(error) => {
            let text = format!(
                "The run could not be saved: {error}\n\nIf you leave now, the session stays as it was last saved."
            );
            let keys = [("Esc", "stay"), ("Enter", "leave without saving")];
            dialog::render(&model.theme, model.theme.warning, "not saved", &text, &keys, area, buffer);
        }
        Overlay::Saving => {
            let text = "The run is still being saved.\n\nIf you leave now, the session may stay as it was last saved.";
            let keys = [("Esc", "wait"), ("Enter", "leave without saving")];
            dialog::render(&model.theme, model.theme.warning, "saving", text, &keys, area, buffer);
        }
        Overlay::Failed(sentence) => {
            let keys = [("q", "quit"), (":", "command"), ("Esc", "look around")];
            dialog::render(&model.theme, model.theme.bad, "the lab can't go on", sentence, &keys, area, buffer);
        }
    }
}

fn too_small(model: &Model, area: Rect, buffer: &mut Buffer) {
    let (have, need) = (model.size, SMALLEST);
    let times = model.theme.symbols().times;
    let text = format!("{}{times}{}, needs {}{times}{}", have.width, have.height, need.width, need.height);
    if let Some(row) = area.rows().nth(usize::from(area.height / 2)) {
        Line::raw(text).alignment(Alignment::Center).render(row, buffer);
    }
}
