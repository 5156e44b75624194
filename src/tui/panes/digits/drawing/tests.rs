//! Strokes, questions and answers of a drawing.

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Rect;

use super::{Drawing, Seen};
use crate::command::{Command, Depth, Keep};
use crate::data::{CLASSES, Image};
use crate::error::Error;
use crate::reply::{Classified, Reply};
use crate::state::{LabState, RunInfo};
use crate::train::tree::Tree;
use crate::tui::keymap::Action;
use crate::tui::message::Effect;
use crate::tui::samples::{ready, rewound};

/// Where the drawing lies, with exact paper at its top left.
const AREA: Rect = Rect::new(4, 3, 68, 15);

fn mouse(drawing: &mut Drawing, kind: MouseEventKind, column: u16, row: u16) -> bool {
    drawing.drag(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }, AREA)
}

const LEFT: MouseEventKind = MouseEventKind::Down(MouseButton::Left);
const MOVE: MouseEventKind = MouseEventKind::Drag(MouseButton::Left);
const UP: MouseEventKind = MouseEventKind::Up(MouseButton::Left);
const RIGHT: MouseEventKind = MouseEventKind::Down(MouseButton::Right);

/// The image that the network is asked about, if it is asked.
fn asked(drawing: &mut Drawing, lab: &LabState) -> Option<Image> {
    match drawing.refresh(lab)? {
        Command::Classify { images, depth: Depth::Classes } => images.first().copied(),
        other => panic!("no question: {other:?}"),
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
    assert!(mouse(&mut drawing, LEFT, 18, 6) && asked(&mut drawing, &ready()).is_some());
    assert!(mouse(&mut drawing, MOVE, 18, 14));
    assert_eq!(asked(&mut drawing, &ready()), None, "one question is under way");
    assert!(mouse(&mut drawing, UP, 18, 14));
    drawing
}

#[test]
fn one_question_at_a_time_and_the_newest_drawing_is_answered() {
    let mut drawing = one();
    assert_eq!(shown(&drawing), None);
    drawing.answer(Ok(said(8, 0)));
    let Seen::Picture(seen) = drawing.seen() else { panic!("it is not blank") };
    let image = seen.image;
    assert_eq!(asked(&mut drawing, &ready()), Some(image));
    assert_eq!(shown(&drawing), Some(8), "better an old answer than none");
    drawing.answer(Ok(said(1, 0)));
    assert_eq!((shown(&drawing), asked(&mut drawing, &ready())), (Some(1), None));
}

#[test]
fn it_is_asked_again_when_the_network_has_learned() {
    let mut drawing = one();
    let mut lab = ready();
    drawing.answer(Ok(said(8, 0)));
    assert!(asked(&mut drawing, &lab).is_some());
    drawing.answer(Ok(said(1, 0)));
    assert_eq!(asked(&mut drawing, &lab), None);
    lab.progress.step = 7;
    assert!(asked(&mut drawing, &lab).is_some());
    assert_eq!(asked(&mut drawing, &lab), None, "it is being asked");
    drawing.answer(Ok(said(7, 7)));
    assert_eq!(asked(&mut drawing, &lab), None);
    lab.tree = Arc::new(Tree::new(rewound().tree.branches().to_vec(), 1).unwrap());
    assert!(asked(&mut drawing, &lab).is_some(), "another branch at the same step");
    drawing.answer(Ok(said(2, 7)));
    lab.run = lab.run.map(|run| Arc::new(RunInfo { name: "run-2".into(), ..(*run).clone() }));
    assert!(asked(&mut drawing, &lab).is_some(), "another network");
    drawing.answer(Err(Error::Failed("the lab has ended".into())));
    assert_eq!(drawing.refusal(), Some("the lab has ended"));
    assert_eq!(drawing.refresh(&LabState::default()), None, "there is no network yet");
}

#[test]
fn a_cleared_paper_has_no_answer() {
    let mut drawing = one();
    drawing.answer(Ok(said(8, 0)));
    assert!(asked(&mut drawing, &ready()).is_some());
    assert_eq!(drawing.handle(Action::Clear), Some(Vec::new()));
    assert_eq!(asked(&mut drawing, &ready()), None);
    drawing.answer(Ok(said(1, 0)));
    assert_eq!((shown(&drawing), drawing.canvas.is_blank()), (None, true));
    assert!(drawing.handle(Action::Undo).is_some());
    assert_eq!(shown(&drawing), None, "the answer to what was no longer there");
    assert!(asked(&mut drawing, &ready()).is_some());
    assert!(!drawing.canvas.is_blank());
}

#[test]
fn strokes_leave_the_paper_and_come_back() {
    let mut drawing = one();
    let before = *drawing.image();
    for outside in [(80, 3), (40, 3), (10, 30), (0, 0)] {
        assert!(!mouse(&mut drawing, LEFT, outside.0, outside.1), "{outside:?}");
        assert!(!mouse(&mut drawing, MOVE, 18, 8), "no stroke began");
    }
    assert_eq!(*drawing.image(), before);
    mouse(&mut drawing, RIGHT, 18, 10);
    for (column, row) in [(500, 0), (0, 500), (u16::MAX, u16::MAX), (18, 10)] {
        assert!(mouse(&mut drawing, MouseEventKind::Drag(MouseButton::Right), column, row));
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
