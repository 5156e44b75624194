//! Scripts of messages: what is done, and what must come of it.

mod leaving;
mod typing;

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::model;
use crate::command::{Command, Keep, ListName};
use crate::error::Error;
use crate::reply::{Classified, Reply};
use crate::state::LabState;
use crate::train::settings::Setting;
use crate::tui::layout::Screen;
use crate::tui::message::{Effect, Message, Origin};
use crate::tui::model::{Model, Overlay, Tone, View};
use crate::tui::panes::PaneId;
use crate::tui::samples;
use crate::tui::update::{Draw, update};

fn press(code: KeyCode) -> Message {
    Message::Key(KeyEvent::new(code, KeyModifiers::NONE))
}

/// The keys of a text in which `⏎` is Enter, `⇥` Tab, `⎋` Escape, `↑` `↓` `←` `→` the arrows and `^c` Ctrl-c.
pub(super) fn keys(text: &str) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        messages.push(match c {
            '⏎' => press(KeyCode::Enter),
            '⇥' => press(KeyCode::Tab),
            '⎋' => press(KeyCode::Esc),
            '↑' => press(KeyCode::Up),
            '↓' => press(KeyCode::Down),
            '←' => press(KeyCode::Left),
            '→' => press(KeyCode::Right),
            '^' => {
                let c = chars.next().unwrap();
                Message::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL))
            }
            c => press(KeyCode::Char(c)),
        });
    }
    messages
}

pub(super) const DOWN: MouseEventKind = MouseEventKind::Down(MouseButton::Left);
pub(super) const MOVE: MouseEventKind = MouseEventKind::Drag(MouseButton::Left);

pub(super) fn touch(model: &mut Model, kind: MouseEventKind, column: u16, row: u16) -> Vec<Effect> {
    update(model, Message::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })).0
}

/// Draws a one with the mouse, and lets the network take it for one.
pub(super) fn draw_one(model: &mut Model) {
    play(model, keys("d"));
    let Screen::Parts(parts) = model.screen() else { panic!("it is large enough") };
    let (_, area) = *parts.panes.iter().find(|(pane, _)| *pane == PaneId::Digits).unwrap();
    let (x, y) = (area.x + 14, area.y + 3);
    let asked = touch(model, DOWN, x, y);
    let is_question = |effect: &Effect| matches!(effect, Effect::Ask(Command::Classify { .. }, Origin::Drawing));
    assert!(asked.len() == 1 && asked.iter().all(is_question), "{asked:?}");
    assert_eq!(touch(model, MOVE, x, y + 7), [], "one question at a time");
    touch(model, MouseEventKind::Up(MouseButton::Left), x, y + 7);
    let mut probabilities = [0.001; 10];
    probabilities[1] = 0.991;
    let said = || {
        Reply::Classified(Classified { probabilities: vec![probabilities], saliency: Vec::new(), epoch: 2, step: 0 })
    };
    let (next, _) = update(model, Message::Answer { origin: Origin::Drawing, result: Ok(said()) });
    assert!(next.iter().all(is_question) && next.len() == 1, "the newest is asked for: {next:?}");
    update(model, Message::Answer { origin: Origin::Drawing, result: Ok(said()) });
}

#[test]
fn what_is_drawn_goes_along_with_the_wish_to_keep_it() {
    let mut model = model(samples::paused(), 120, 40);
    draw_one(&mut model);
    assert_eq!(model.focus, PaneId::Digits);
    let image = Some(Box::new(*model.panes.digits.drawn()));
    let add = Command::Draw { keep: Keep::Add, name: "1".into(), image: image.clone() };
    assert_eq!(play(&mut model, keys("+1")), [ask(add)]);
    assert_eq!(play(&mut model, keys("w")), []);
    assert_eq!(model.focus, PaneId::CommandLine);
    let save = Command::Draw { keep: Keep::Save, name: "one.png".into(), image };
    assert_eq!(play(&mut model, keys("one.png⏎")), [typed(0, save)]);
    // Another digit takes its place; `d` brings it back.
    play(&mut model, keys("⎋"));
    assert!(super::draw(&model).contains("draw, pen up"));
    play(&mut model, keys("⎋"));
    assert!(!super::draw(&model).contains("draw, pen up"));
    play(&mut model, keys("dc"));
    assert!(super::draw(&model).contains("press the mouse"));
    play(&mut model, keys("u"));
    assert!(!super::draw(&model).contains("press the mouse"), "it is back");
}

pub(super) fn play(model: &mut Model, messages: Vec<Message>) -> Vec<Effect> {
    messages.into_iter().flat_map(|message| update(model, message).0).collect()
}

/// In `lab`, the keys of `script` make `effects`.
#[track_caller]
pub(super) fn check(lab: LabState, script: &str, effects: &[Effect]) -> Model {
    let mut model = model(lab, 120, 40);
    assert_eq!(play(&mut model, keys(script)), effects, "{script}");
    model
}

pub(super) fn ask(command: Command) -> Effect {
    Effect::Ask(command, Origin::Key)
}

fn typed(number: usize, command: Command) -> Effect {
    Effect::Ask(command, Origin::CommandLine(number))
}

fn set(setting: Setting, value: &str) -> Effect {
    let command = Command::Set { name: Some(setting.name().into()), value: Some(value.into()) };
    Effect::Ask(command, Origin::Setting(setting))
}

#[test]
fn space_does_what_the_phase_wants() {
    check(samples::ready(), " ", &[ask(Command::Train { epochs: None })]);
    check(samples::training(), " ", &[ask(Command::Pause)]);
    check(samples::paused(), " ", &[ask(Command::Resume)]);
    check(samples::diverged(), " ", &[ask(Command::Train { epochs: None })]);
    check(LabState::default(), " ", &[]);
}

#[test]
fn keys_ask_the_lab() {
    check(samples::ready(), "s", &[ask(Command::Step { batches: 1 })]);
    check(samples::training(), "S", &[ask(Command::Save { name: None })]);
    let model = check(samples::training(), "e", &[ask(Command::Next { list: Some(ListName::Wrong) })]);
    assert_eq!(model.focus, PaneId::Digits);
    check(
        samples::training(),
        "eE",
        &[ask(Command::Next { list: Some(ListName::Wrong) }), ask(Command::Prev { list: Some(ListName::Wrong) })],
    );
}

#[test]
fn enter_in_the_log_does_what_is_advised() {
    let set = Command::Set { name: Some("dropout".into()), value: Some("0.3".into()) };
    check(samples::overfitting(), "6⏎", &[ask(set), ask(Command::Train { epochs: None })]);
    check(samples::training(), "6⏎", &[]);
}

#[test]
fn the_studio_turns_and_applies() {
    let set = Command::Set { name: Some("augment".into()), value: Some("rotate=5,zoom=0.1".into()) };
    let model = check(samples::ready(), "a→jj→l⏎", &[ask(set)]);
    assert_eq!(model.focus, PaneId::Digits);
    check(samples::ready(), "a→⎋⏎", &[ask(Command::Next { list: None })]);
    // Its arrows are not the digits' own, and keys that it does not have are those of everywhere.
    check(samples::ready(), "a→→s", &[ask(Command::Step { batches: 1 })]);
    let click = MouseEventKind::Down(MouseButton::Left);
    let mut model = check(samples::ready(), "a", &[]);
    let row = super::draw(&model).lines().position(|line| line.contains("elastic ")).unwrap() as u16;
    let mouse = MouseEvent { kind: click, column: 60, row, modifiers: KeyModifiers::NONE };
    play(&mut model, vec![Message::Mouse(mouse)]);
    play(&mut model, keys("→"));
    assert!(super::draw(&model).contains("augment not applied: elastic=0.5"));
}

#[test]
fn corruptions_ask_while_they_are_seen_and_are_measured_in_the_command_line() {
    let mut model = check(samples::paused(), "4", &[]);
    let effects = play(&mut model, keys("c"));
    assert!(matches!(&effects[..], [Effect::Ask(Command::Classify { .. }, Origin::Corruptions)]), "{effects:?}");
    assert_eq!(play(&mut model, keys("ll")), [], "one question is under way");
    let eval = Command::parse("eval --corrupt all:5").unwrap().unwrap();
    assert_eq!(play(&mut model, keys("⏎")), [typed(0, eval)]);
    assert_eq!(model.focus, PaneId::CommandLine);
    let failed = |origin| Message::Answer { origin, result: Err(Error::Failed("gone".into())) };
    let again = play(&mut model, vec![failed(Origin::Corruptions)]);
    assert!(matches!(&again[..], [Effect::Ask(Command::Classify { .. }, _)]), "the newest is asked for");
    assert_eq!(play(&mut model, vec![failed(Origin::Corruptions)]), [], "and a lab that can't answer is left alone");
    // Where only one pane is seen, nothing is asked for another.
    let mut small = super::model(samples::paused(), 80, 24);
    assert_eq!(play(&mut small, keys("4c")).len(), 1);
    play(&mut small, keys("h1"));
    assert_eq!(play(&mut small, vec![failed(Origin::Corruptions)]), []);
    assert_eq!(play(&mut small, keys("4")).len(), 1);
}

#[test]
fn the_focus_goes_around() {
    for (script, focus) in [
        ("", PaneId::Charts),
        ("⇥", PaneId::Confusion),
        ("4", PaneId::Digits),
        ("3⇥⇥", PaneId::CommandLine),
        ("3:⎋", PaneId::Settings),
        ("5⇥", PaneId::Log),
        ("4/", PaneId::CommandLine),
    ] {
        assert_eq!(check(samples::ready(), script, &[]).focus, focus, "{script}");
    }
}

#[test]
fn settings_are_changed_in_place() {
    check(samples::ready(), "3→", &[set(Setting::LearningRate, "0.003")]);
    check(samples::ready(), "3↓←", &[set(Setting::BatchSize, "32")]);
    check(samples::ready(), "3G→", &[set(Setting::Keep, "20")]);
    check(samples::ready(), "3G↑→", &[set(Setting::Ema, "0.99")]);
    check(samples::ready(), "3G↑↑→", &[set(Setting::EarlyStop, "1")]);
    check(samples::ready(), "3↓⏎^u128⏎", &[set(Setting::BatchSize, "128")]);
    check(samples::ready(), "3⏎0⎋", &[]);
    // A wrong value is refused before it is sent, and can be mended.
    let model = check(samples::ready(), "3↓⏎^u0⏎", &[]);
    assert!(super::draw(&model).contains("`0` is no batch-size"));
    assert!(model.panes.settings.is_typing());
    // Letters that are keys elsewhere are text here.
    check(samples::ready(), "3jjj⏎^usgdq⏎", &[]);
}

#[test]
fn what_weighs_a_teacher_is_set_where_there_is_one() {
    let taught = samples::taught();
    let mut model = check(taught.clone(), "3↓↓↓↓↓↓↓↓↓→", &[set(Setting::Temperature, "6")]);
    let text = super::draw(&model);
    assert!(text.contains("taught by best-1, best-2") && text.contains("distill"), "{text}");
    // Another run, which has none, has no such line.
    play(&mut model, vec![Message::State(Arc::new(samples::ready()))]);
    assert!(!super::draw(&model).contains("distill"));
    assert_eq!(play(&mut model, keys("→")), [set(Setting::EarlyStop, "1")]);
}

#[test]
fn keys_that_come_faster_than_the_lab_answers_add_up() {
    let rate = |value| set(Setting::LearningRate, value);
    let answer = |result| Message::Answer { origin: Origin::Setting(Setting::LearningRate), result };
    let taken = || answer(Ok(Reply::Done(String::new())));
    let shown = |value: &str| {
        let mut lab = samples::ready();
        Setting::LearningRate.set(&mut lab.settings, value).unwrap();
        Message::State(Arc::new(lab))
    };
    let mut model = check(samples::ready(), "3→→→", &[rate("0.003"), rate("0.01"), rate("0.03")]);
    // One of them is done, the others are on their way.
    assert_eq!(play(&mut model, vec![taken(), shown("0.003")]), []);
    assert_eq!(play(&mut model, keys("→")), [rate("0.1")]);
    // All are done, and then it was changed elsewhere.
    assert_eq!(play(&mut model, vec![taken(), taken(), taken(), shown("0.1"), shown("3e-4")]), []);
    assert_eq!(play(&mut model, keys("→")), [rate("0.001")]);
    // What is refused is not built on.
    assert_eq!(play(&mut model, vec![answer(Err(Error::Failed("gone".into())))]), []);
    assert_eq!(play(&mut model, keys("→")), [rate("0.001")]);
}

#[test]
fn an_answer_to_a_key_stands_on_the_last_line_for_a_while() {
    let mut model = check(samples::ready(), "S", &[ask(Command::Save { name: None })]);
    assert_eq!(model.waiting.answers, 1);
    let result = Err(Error::Failed("no space left".into()));
    play(&mut model, vec![Message::Answer { origin: Origin::Key, result }]);
    assert_eq!(model.notice.as_ref().map(|notice| notice.tone), Some(Tone::Bad));
    assert_eq!(model.waiting.answers, 0);
    (0..5).for_each(|_| drop(update(&mut model, Message::Tick)));
    assert_eq!(model.notice, None);
    assert_eq!(update(&mut model, Message::Tick).1, Draw::No);
}

#[test]
fn escape_leads_one_layer_out() {
    let mut model = check(samples::ready(), "z?", &[]);
    assert_eq!((model.view, model.overlay.is_some()), (View::Zoomed, true));
    play(&mut model, keys("⎋"));
    assert_eq!((model.view, model.overlay.is_some()), (View::Zoomed, false));
    play(&mut model, keys("⎋"));
    assert_eq!(model.view, View::All);
}

#[test]
fn the_last_session_is_taken_or_left() {
    let offer = || crate::tui::Offer { name: "run-7".into(), summary: String::new() };
    let load = [Effect::Ask(Command::Load { name: "run-7".into() }, Origin::Offer)];
    for (script, effects) in [("⏎", &load[..]), ("⎋", &[]), ("s⎋s", &[ask(Command::Step { batches: 1 })])] {
        let mut model = model(samples::ready(), 120, 40);
        model.overlay = Some(Overlay::Offer(offer()));
        assert_eq!(play(&mut model, keys(script)), effects, "{script}");
        assert_eq!(model.overlay, None);
    }
}

#[test]
fn the_mouse_chooses_and_scrolls() {
    let mouse = |kind, column, row| Message::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE });
    let click = MouseEventKind::Down(MouseButton::Left);
    let mut model = model(samples::paused(), 120, 40);
    play(&mut model, vec![mouse(click, 5, 20)]);
    assert_eq!(model.focus, PaneId::Settings);
    play(&mut model, vec![mouse(MouseEventKind::ScrollUp, 100, 36)]);
    assert!(super::draw(&model).contains("1 newer below"));
    assert_eq!(update(&mut model, mouse(MouseEventKind::Moved, 9, 9)).1, Draw::No);
    let mut small = super::model(samples::paused(), 80, 24);
    play(&mut small, vec![mouse(click, 15, 1)]);
    assert_eq!(small.focus, PaneId::Confusion);
}

#[test]
fn a_released_key_is_no_key() {
    let mut model = check(samples::ready(), "", &[]);
    let mut key = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
    key.kind = KeyEventKind::Release;
    assert_eq!(update(&mut model, Message::Key(key)), (Vec::new(), Draw::No));
}

#[test]
fn help_scrolls_and_stops_at_its_end() {
    let mut model = super::model(samples::ready(), 80, 24);
    play(&mut model, keys("?G"));
    let Some(Overlay::Help { top }) = model.overlay else { panic!("the help is closed") };
    assert!(top > 5);
    play(&mut model, keys("↓↓"));
    assert_eq!(model.overlay, Some(Overlay::Help { top }));
    play(&mut model, keys("g"));
    assert_eq!(model.overlay, Some(Overlay::Help { top: 0 }));
    play(&mut model, keys("?"));
    assert_eq!(model.overlay, None);
}

#[test]
fn help_opens_on_the_empty_command_line_too() {
    let mut model = super::model(samples::ready(), 80, 24);
    play(&mut model, keys(":?"));
    assert_eq!(model.overlay, Some(Overlay::Help { top: 0 }));
    play(&mut model, keys("?help?"));
    assert_eq!(model.overlay, None, "it is text like any other where something was typed");
}
