//! The mouse: clicks, the wheel, and panes that hold it.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;

use super::{Draw, focus, help_key, settle};
use crate::tui::keymap::Action;
use crate::tui::layout::Screen;
use crate::tui::message::Effect;
use crate::tui::model::{Model, Overlay};
use crate::tui::view::{frame, tabs};

/// Lines of the log or the curve that one turn of the wheel moves by.
const WHEEL: i32 = 1;

/// What the mouse does.
pub fn mouse(model: &mut Model, event: MouseEvent) -> (Vec<Effect>, Draw) {
    if drag(model, event) {
        return (Vec::new(), Draw::Now);
    }
    let turned = match event.kind {
        MouseEventKind::ScrollUp => -WHEEL,
        MouseEventKind::ScrollDown => WHEEL,
        MouseEventKind::Down(MouseButton::Left) => 0,
        _ => return (Vec::new(), Draw::No),
    };
    let position = Position::new(event.column, event.row);
    let effects = match (&model.overlay, turned) {
        (Some(Overlay::Help { top }), lines) => {
            let action = if lines < 0 { Action::Up } else { Action::Down };
            model.overlay = help_key(model, *top, Some(if lines == 0 { Action::Escape } else { action }));
            Vec::new()
        }
        (Some(_), _) => Vec::new(),
        (None, 0) => click(model, position),
        (None, lines) => scroll(model, position, lines),
    };
    (effects, Draw::Now)
}

/// What the mouse does in a pane that holds it until the button is let go, wherever that is.
fn drag(model: &mut Model, event: MouseEvent) -> bool {
    let Screen::Parts(parts) = model.screen() else { return false };
    let place = match event.kind {
        _ if model.overlay.is_some() => None,
        MouseEventKind::Down(_) => parts.pane_at(Position::new(event.column, event.row)),
        MouseEventKind::Drag(_) | MouseEventKind::Up(_) => {
            parts.panes.iter().find(|(pane, _)| *pane == model.focus).copied()
        }
        _ => None,
    };
    let Some((pane, area)) = place else { return false };
    let lab = model.lab.clone();
    let held = model.panes.get_mut(pane).drag(event, frame::inside(area), &lab);
    if held && pane != model.focus {
        focus(model, pane);
    }
    held
}

fn click(model: &mut Model, position: Position) -> Vec<Effect> {
    let Screen::Parts(parts) = model.screen() else { return Vec::new() };
    if let Some(pane) = parts.tabs.and_then(|area| tabs::at(area, position)) {
        focus(model, pane);
        return Vec::new();
    }
    let Some((pane, area)) = parts.pane_at(position) else { return Vec::new() };
    if pane != model.focus {
        focus(model, pane);
    }
    let inside = frame::inside(area);
    if !inside.contains(position) {
        return Vec::new();
    }
    let lab = model.lab.clone();
    let effects = model.panes.get_mut(pane).click(position, inside, &lab);
    settle(model, effects)
}

fn scroll(model: &mut Model, position: Position, lines: i32) -> Vec<Effect> {
    let Screen::Parts(parts) = model.screen() else { return Vec::new() };
    let Some((pane, _)) = parts.pane_at(position) else { return Vec::new() };
    let lab = model.lab.clone();
    let effects = model.panes.get_mut(pane).scroll(lines, &lab);
    settle(model, effects)
}
