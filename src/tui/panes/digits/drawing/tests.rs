//! Strokes, questions and answers of a drawing.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Rect;

use super::{Drawing, Seen};
use crate::command::{Command, Depth, Keep};
use crate::data::{CLASSES, Image};
use crate::error::Error;
use crate::reply::{Classified, Reply};
use crate::state::LabState;
use crate::tui::keymap::Action;
use crate::tui::message::{Effect, Origin};

/// Where the drawing lies, with exact paper at its top left.
const AREA: Rect = Rect::new(4, 3, 68, 15);

fn mouse(drawing: &mut Drawing, kind: MouseEventKind, column: u16, row: u16) -> Option<Vec<Effect>> {
    drawing.drag(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }, AREA)
}

const LEFT: MouseEventKind = MouseEventKind::Down(MouseButton::Left);
const MOVE: MouseEventKind = MouseEventKind::Drag(MouseButton::Left);
const UP: MouseEventKind = MouseEventKind::Up(MouseButton::Left);
const RIGHT: MouseEventKind = MouseEventKind::Down(MouseButton::Right);

/// The image that an effect asks the network about.
fn asked(effects: &[Effect]) -> Option<Image> {
    match effects {
        [Effect::Ask(Command::Classify { images, depth: Depth::Classes }, Origin::Drawing)] => images.first().copied(),
        _ => None,
    }
}

fn said(class: usize, step: u64) -> Reply {
    let mut row = [0.0; CLASSES];
    row[class] = 1.0;
    Reply::Classified(Classified { probabilities: vec![row], saliency: Vec::new(), epoch: 0, step })
}

fn shown(drawing: &Drawing) -> Option<u8> {
    drawing.digit().map(|digit| digit.predicted)
}

/// A one, by mouse.
fn one() -> Drawing {
    let mut drawing = Drawing::default();
    assert!(mouse(&mut drawing, LEFT, 18, 6).is_some_and(|effects| asked(&effects).is_some()));
    assert_eq!(mouse(&mut drawing, MOVE, 18, 14), Some(Vec::new()), "one question is under way");
    assert_eq!(mouse(&mut drawing, UP, 18, 14), Some(Vec::new()));
    drawing
}

#[test]
fn one_question_at_a_time_and_the_newest_drawing_is_answered() {
    let mut drawing = one();
    assert_eq!(shown(&drawing), None);
    let next = drawing.answered(Ok(said(8, 5)));
    let Seen::Picture(seen) = drawing.seen() else { panic!("it is not blank") };
    assert_eq!(asked(&next), Some(seen.image));
    assert_eq!(shown(&drawing), Some(8), "better an old answer than none");
    assert_eq!(drawing.answered(Ok(said(1, 5))), []);
    assert_eq!(shown(&drawing), Some(1));
}

#[test]
fn it_is_asked_again_when_the_network_has_learned() {
    let mut drawing = one();
    drawing.answered(Ok(said(8, 0)));
    drawing.answered(Ok(said(1, 0)));
    let mut lab = LabState::default();
    assert_eq!(drawing.watch(&lab), []);
    lab.progress.step = 7;
    assert!(asked(&drawing.watch(&lab)).is_some());
    assert_eq!(drawing.watch(&lab), [], "it is being asked");
    drawing.answered(Ok(said(7, 7)));
    assert_eq!(drawing.watch(&lab), []);
    let mut other = crate::tui::samples::ready();
    other.progress.step = 7;
    assert!(asked(&drawing.watch(&other)).is_some(), "another network");
    drawing.answered(Err(Error::Failed("the lab has ended".into())));
    assert_eq!(drawing.refusal(), Some("the lab has ended"));
}

#[test]
fn a_cleared_paper_has_no_answer() {
    let mut drawing = one();
    drawing.answered(Ok(said(8, 0)));
    assert_eq!(drawing.handle(Action::Clear), Some(Vec::new()));
    assert_eq!(drawing.answered(Ok(said(1, 0))), [], "the answer to what is no longer there");
    assert_eq!((shown(&drawing), drawing.canvas.is_blank()), (None, true));
    assert!(drawing.handle(Action::Undo).is_some_and(|effects| asked(&effects).is_some()));
    assert!(!drawing.canvas.is_blank());
}

#[test]
fn strokes_leave_the_paper_and_come_back() {
    let mut drawing = one();
    let before = *drawing.image();
    for outside in [(80, 3), (40, 3), (10, 30), (0, 0)] {
        assert_eq!(mouse(&mut drawing, LEFT, outside.0, outside.1), None, "{outside:?}");
        assert_eq!(mouse(&mut drawing, MOVE, 18, 8), None, "no stroke began");
    }
    assert_eq!(*drawing.image(), before);
    mouse(&mut drawing, RIGHT, 18, 10);
    for (column, row) in [(500, 0), (0, 500), (u16::MAX, u16::MAX), (18, 10)] {
        assert!(mouse(&mut drawing, MouseEventKind::Drag(MouseButton::Right), column, row).is_some());
    }
    assert_ne!(*drawing.image(), before);
    drawing.handle(Action::Undo);
    assert_eq!(*drawing.image(), before);
}

#[test]
fn the_pen_is_moved_with_keys() {
    let mut drawing = Drawing::default();
    drawing.handle(Action::Down);
    assert!(drawing.canvas.is_blank(), "the pen is up");
    assert_eq!(drawing.title(), "draw, pen up");
    for action in [Action::Pen].into_iter().chain([Action::Down; 40]) {
        assert!(drawing.handle(action).is_some());
    }
    let ink = |drawing: &Drawing| drawing.image().iter().filter(|&&pixel| pixel > 0).count();
    assert!(ink(&drawing) > 60, "{}", ink(&drawing));
    assert_eq!((drawing.title(), drawing.mark()), ("draw, pen down", "*"));
    let full = ink(&drawing);
    for action in [Action::Eraser].into_iter().chain([Action::Up; 10]) {
        drawing.handle(action);
    }
    assert!(ink(&drawing) < full);
    assert_eq!(drawing.handle(Action::NextPage), None);
}

#[test]
fn keeping_asks_for_the_digit() {
    let mut drawing = one();
    let press = |drawing: &mut Drawing, c| drawing.key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
    assert_eq!(press(&mut drawing, '7'), None, "no digit is asked for");
    drawing.handle(Action::Keep);
    assert!(drawing.title().contains("which digit"));
    let add = Command::Draw { keep: Keep::Add, name: "7".into(), image: None };
    assert_eq!(press(&mut drawing, '7'), Some(Effect::ask(add)));
    drawing.handle(Action::Keep);
    assert_eq!(press(&mut drawing, 'q'), Some(Vec::new()), "anything else keeps nothing");
    assert_eq!(press(&mut drawing, 'q'), None);
}
