//! How the screen is left, and what becomes of the run.

use std::sync::Arc;

use super::{ask, check, keys, play};
use crate::command::Command;
use crate::error::Error;
use crate::state::{LabState, Phase, Saved};
use crate::tui::Seat;
use crate::tui::message::{Effect, Message, Origin};
use crate::tui::model::{Leaving, Model, Overlay};
use crate::tui::samples;
use crate::tui::tests::{draw, model};

#[test]
fn leaving_saves_first() {
    let quit = Effect::Ask(Command::Quit, Origin::Quit);
    let mut model = check(samples::training(), "qq", &[quit]);
    assert_eq!(model.leaving, Leaving::Saving(0));
    let closed = LabState { phase: Phase::Closed, ..samples::training() };
    assert_eq!(play(&mut model, vec![Message::State(Arc::new(closed))]), [Effect::Leave]);
}

#[test]
fn control_c_works_everywhere() {
    let quit = || Effect::Ask(Command::Quit, Origin::Quit);
    let left = check(samples::training(), "^c^c", &[quit(), Effect::Leave]);
    assert!(left.lab.is_unsaved() && left.unsaved.is_some(), "the shell is told");
    check(samples::training(), "?^c", &[quit()]);
    check(samples::training(), "3⏎^c", &[quit()]);
    check(samples::training(), ":trai^c", &[]);
    check(samples::training(), ":trai^c^c", &[quit()]);
    check(samples::failed(), "^c", &[quit()]);
    check(samples::training(), "^z^l", &[Effect::Suspend, Effect::Redraw]);
}

#[test]
fn a_run_that_can_not_be_saved_is_not_lost_without_asking() {
    let refused = || Message::Answer { origin: Origin::Quit, result: Err(Error::Failed("disk full".into())) };
    let mut model = check(samples::training(), "q", &[Effect::Ask(Command::Quit, Origin::Quit)]);
    assert_eq!(play(&mut model, vec![refused()]), []);
    assert_eq!(model.overlay, Some(Overlay::Unsaved("disk full".into())));
    assert_eq!(play(&mut model, keys("⎋")), []);
    assert_eq!((model.leaving, &model.overlay, &model.unsaved), (Leaving::No, &None, &None));
    play(&mut model, keys("q"));
    play(&mut model, vec![refused()]);
    assert_eq!(play(&mut model, keys("q")), [Effect::Ask(Command::Quit, Origin::Quit)]);
    assert_eq!(model.unsaved, None, "it is tried again");
    play(&mut model, vec![refused()]);
    assert_eq!(play(&mut model, keys("⏎")), [Effect::Leave]);
    assert_eq!(model.unsaved.as_deref(), Some("disk full"), "the shell is told");
    // What the screen last heard of, all of it saved, may be some steps ago.
    let earlier = samples::training();
    let saved = earlier.saved.clone().map(|saved| Saved {
        step: earlier.progress.step,
        edits: earlier.history.edits.len(),
        ..saved
    });
    let mut model = check(LabState { saved, ..earlier }, "q", &[Effect::Ask(Command::Quit, Origin::Quit)]);
    assert!(!model.lab.is_unsaved());
    assert_eq!(play(&mut model, vec![refused()]), []);
    assert_eq!(model.overlay, Some(Overlay::Unsaved("disk full".into())));
    // The system doesn't wait for an answer.
    let mut model = check(samples::training(), "", &[]);
    let quit = [Effect::Ask(Command::Quit, Origin::Quit)];
    assert_eq!(play(&mut model, vec![Message::Terminate]), quit);
    assert_eq!(play(&mut model, vec![refused()]), [Effect::Leave]);
    assert_eq!(model.unsaved.as_deref(), Some("disk full"));
}

#[test]
fn a_save_that_takes_long_is_waited_for_or_left() {
    let wait = |model: &mut Model, seconds: usize| play(model, (0..seconds).map(|_| Message::Tick).collect());
    let closed = || Message::State(Arc::new(LabState { phase: Phase::Closed, ..samples::training() }));
    let mut model = check(samples::training(), "q", &[Effect::Ask(Command::Quit, Origin::Quit)]);
    assert_eq!(wait(&mut model, 15), []);
    assert!(draw(&model).contains("still being saved"));
    // Who waits on is asked again, and nothing more is asked of the lab.
    assert_eq!(play(&mut model, keys("⎋")), []);
    assert_eq!(wait(&mut model, 14), []);
    assert_eq!((model.leaving, &model.overlay), (Leaving::Saving(14), &None));
    assert_eq!(wait(&mut model, 300), []);
    assert_eq!(model.overlay, Some(Overlay::Saving));
    assert_eq!(play(&mut model, vec![closed()]), [Effect::Leave]);
    assert_eq!(model.unsaved, None, "it is saved");
    let mut model = check(samples::training(), "q", &[Effect::Ask(Command::Quit, Origin::Quit)]);
    wait(&mut model, 15);
    assert_eq!(play(&mut model, keys("⏎")), [Effect::Leave]);
    assert!(model.unsaved.is_some(), "the shell is told");
    // The system waits no longer.
    let mut model = check(samples::training(), "", &[]);
    play(&mut model, vec![Message::Terminate]);
    assert_eq!(wait(&mut model, 14), []);
    assert_eq!(wait(&mut model, 1), [Effect::Leave]);
    assert!(model.unsaved.is_some());
}

fn guest() -> Model {
    let mut model = model(samples::training(), 120, 40);
    model.seat = Seat::Guest;
    model
}

#[test]
fn a_guest_leaves_and_the_run_goes_on() {
    for script in ["q", "^c", "?^c", ":trai^c^c"] {
        assert_eq!(play(&mut guest(), keys(script)), [Effect::Leave], "{script}");
    }
    assert_eq!(play(&mut guest(), vec![Message::Terminate]), [Effect::Leave]);
    // All else is done as ever.
    assert_eq!(play(&mut guest(), keys(" ")), [ask(Command::Pause)]);
}

#[test]
fn a_guest_who_types_quit_is_asked_whether_the_run_is_meant() {
    let mut model = guest();
    assert_eq!(play(&mut model, keys(":quit⏎")), []);
    assert_eq!(model.overlay, Some(Overlay::EndRun));
    assert_eq!(play(&mut model, keys("⎋")), []);
    assert_eq!((&model.overlay, model.leaving), (&None, Leaving::No));
    assert_eq!(play(&mut model, keys("quit⏎⏎")), [Effect::Ask(Command::Quit, Origin::Quit)]);
    let closed = LabState { phase: Phase::Closed, ..samples::training() };
    assert_eq!(play(&mut model, vec![Message::State(Arc::new(closed))]), [Effect::Leave]);
}
