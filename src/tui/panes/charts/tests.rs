//! What the cursor and the closer look do, and that no history is too odd to draw.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::{Charts, Pane};
use crate::command::Command;
use crate::state::LabState;
use crate::train::history::{History, StepRecord};
use crate::tui::graphics::Graphics;
use crate::tui::keymap::Action;
use crate::tui::message::Effect;
use crate::tui::panes::Context;
use crate::tui::samples;
use crate::tui::theme::{Background, ColorDepth, Glyphs, Theme};

fn press(pane: &mut Charts, lab: &LabState, actions: &[Action]) {
    for action in actions {
        pane.handle(*action, lab);
    }
}

/// After these keys on the curves of the sample run, whose newest step is 1710, the cursor is here.
#[track_caller]
fn check(actions: &[Action], cursor: Option<u64>) -> Charts {
    let (mut pane, lab) = (Charts::default(), samples::training());
    press(&mut pane, &lab, actions);
    assert_eq!(pane.cursor, cursor, "{actions:?}");
    pane
}

#[test]
fn a_search_shows_itself_once_and_its_trials_open() {
    let (mut pane, lab) = (Charts::default(), samples::searching());
    pane.changed(&lab);
    assert!(pane.title(&lab).starts_with("search search-1: random 9/20, best 98."), "{}", pane.title(&lab));
    let rows = lab.search.as_ref().unwrap().rows();
    let open = |number| Some(Effect::ask(Command::parse(&format!("tune {number}")).unwrap().unwrap()));
    assert_eq!(pane.handle(Action::Enter, &lab), open(rows[0].number));
    press(&mut pane, &lab, &[Action::Down, Action::Down]);
    assert_eq!(pane.handle(Action::Enter, &lab), open(rows[2].number));
    press(&mut pane, &lab, &[Action::Bottom, Action::Down]);
    assert_eq!(pane.handle(Action::Enter, &lab), open(rows[10].number));
    // What is left stays left, until it is asked for.
    press(&mut pane, &lab, &[Action::Escape]);
    pane.changed(&lab);
    assert!(pane.title(&lab).contains("axis"));
    press(&mut pane, &lab, &[Action::Search]);
    assert!(pane.title(&lab).starts_with("search"));
}

#[test]
fn keys_move_the_cursor_by_a_hundredth_of_what_is_shown() {
    use Action::{Bottom, Escape, Left, Right, Top, ZoomIn, ZoomOut};
    check(&[Left], Some(1692));
    check(&[Left, Left, Right], Some(1692));
    check(&[Left, Right, Right], None);
    check(&[Right], None);
    check(&[Top], Some(1));
    check(&[Top, Left], Some(1));
    check(&[Top, Right], Some(19));
    check(&[Top, Bottom], None);
    check(&[Top, Escape], None);
    check(&[Top, ZoomIn, ZoomIn, ZoomIn, ZoomIn, ZoomIn, Right], Some(2));
    check(&[ZoomIn, ZoomOut, ZoomOut, Left], Some(1692));
}

#[test]
fn the_cursor_goes_from_epoch_to_epoch_and_the_run_back_there() {
    use Action::{Left, NextEpoch, PreviousEpoch, Rewind};
    check(&[PreviousEpoch], Some(1500));
    check(&[PreviousEpoch, PreviousEpoch, PreviousEpoch], Some(750));
    check(&[PreviousEpoch, PreviousEpoch, NextEpoch, NextEpoch], Some(1500));
    check(&[NextEpoch], None);
    let mut pane = check(&[PreviousEpoch, Left], Some(1482));
    let rewind = |epoch| Some(Effect::ask(Command::Rewind { epoch }));
    assert_eq!(pane.handle(Rewind, &samples::training()), rewind(1), "epoch 2 had not ended");
    assert_eq!(Charts::default().handle(Rewind, &samples::training()), rewind(2));
    // What lies ahead of a run that went back can be gone to as well.
    let mut pane = Charts::default();
    press(&mut pane, &samples::rewound(), &[PreviousEpoch]);
    assert_eq!((pane.cursor, pane.handle(Rewind, &samples::rewound())), (Some(1500), rewind(2)));
}

#[test]
fn escape_without_a_cursor_is_somebody_elses() {
    assert!(Charts::default().handle(Action::Escape, &samples::training()).is_none());
}

#[test]
fn the_cursor_stays_while_the_run_goes_on_and_goes_with_its_step() {
    let mut pane = check(&[Action::Top, Action::Right], Some(19));
    pane.changed(&samples::diverged());
    assert_eq!(pane.cursor, Some(19));
    pane.changed(&samples::ready());
    assert_eq!(pane.cursor, None);
    press(&mut pane, &samples::ready(), &[Action::Left, Action::Top, Action::Right]);
    assert_eq!(pane.cursor, None);
}

#[test]
fn a_click_puts_the_cursor_under_the_mouse() {
    let lab = samples::training();
    let area = Rect::new(2, 2, 68, 12);
    let mut pane = Charts::default();
    let mut click = |x, y| {
        pane.click(Position::new(x, y), area, &lab);
        pane.cursor
    };
    assert_eq!(click(5, 5), None, "left of the axis");
    assert_eq!(click(10, 5), Some(36));
    assert_eq!(click(35, 5), Some(1710), "right of the newest step");
    assert_eq!(click(44 + 13, 5), Some(938), "the other chart");
}

/// What the odd histories are drawn after, one by one.
const TURNS: [Action; 14] = [
    Action::Left,
    Action::Top,
    Action::Scale,
    Action::ZoomIn,
    Action::Across,
    Action::Range,
    Action::Smoothing,
    Action::NextPage,
    Action::Right,
    Action::Across,
    Action::NextPage,
    Action::Range,
    Action::ZoomIn,
    Action::Bottom,
];

/// Histories that are empty, short, long, of no numbers, or odd are drawn at every size, with the cursor anywhere.
#[test]
fn no_history_is_too_odd_to_draw() {
    let record = |step, loss| StepRecord { step, loss, accuracy: loss, learning_rate: 1e-3 };
    let run = |steps: u64, loss: fn(u64) -> f32| History {
        steps: (1..=steps).map(|step| record(step, loss(step))).collect(),
        ..samples::training().history.as_ref().clone()
    };
    let histories = [
        run(0, |_| 0.0),
        run(1, |_| 0.5),
        run(2, |_| f32::NAN),
        run(100_000, |step| if step % 3 == 0 { f32::INFINITY } else { 1.0 / step as f32 }),
        run(3000, |_| 0.0),
        run(9, |step| if step == 5 { f32::MAX } else { -1.0 }),
        History { steps: [record(u64::MAX, 1.0)].into_iter().collect(), ..History::default() },
    ];
    let graphics = Graphics::default();
    for history in histories {
        let lab = LabState { history: history.into(), ..samples::on_a_gpu() };
        for glyphs in [Glyphs::Unicode, Glyphs::Ascii] {
            let theme = Theme::new(ColorDepth::Sixteen, Background::Dark, glyphs);
            let context = Context { lab: &lab, theme: &theme, graphics: &graphics, focused: true };
            let mut pane = Charts::default();
            for action in TURNS {
                press(&mut pane, &lab, &[action]);
                for (width, height) in [(0, 0), (1, 9), (9, 3), (17, 9), (18, 10), (60, 14), (200, 60)] {
                    let area = Rect::new(0, 0, width, height);
                    pane.render(&context, area, &mut Buffer::empty(area));
                    pane.click(Position::new(width / 2, height / 2), area, &lab);
                }
            }
        }
    }
}
