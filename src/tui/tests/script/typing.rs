//! What is typed at the command line, and its answers.

use crossterm::event::KeyCode;

use super::{check, keys, play, press, typed};
use crate::command::{Command, Filter};
use crate::error::Error;
use crate::reply::Reply;
use crate::tui::message::{Effect, Message, Origin};
use crate::tui::model::Overlay;
use crate::tui::samples;
use crate::tui::tests::draw;
use crate::tui::update::{Draw, update};

#[test]
fn a_command_is_typed_completed_and_recalled() {
    check(samples::ready(), ":train 5⏎", &[typed(0, Command::Train { epochs: Some(5) })]);
    check(
        samples::ready(),
        ":set dro⇥0.3⏎",
        &[typed(0, Command::Set { name: Some("dropout".into()), value: Some("0.3".into()) })],
    );
    check(samples::ready(), ":pre⇥⇥⏎⏎", &[typed(0, Command::Prev { list: None })]);
    check(
        samples::ready(),
        "/true=4 pred=9⏎",
        &[typed(0, Command::Find { filters: vec![Filter::True(4), Filter::Predicted(9)] })],
    );
    // Completions of what was typed do not take the place of what is recalled.
    let lr = || Command::Set { name: Some("lr".into()), value: Some("0.002".into()) };
    check(samples::ready(), ":set lr 0.002⏎set ⇥↑⏎", &[typed(0, lr()), typed(1, lr())]);
    let again = Command::Step { batches: 2 };
    check(
        samples::ready(),
        ":step 2⏎pause⏎st↑⏎",
        &[typed(0, again.clone()), typed(1, Command::Pause), typed(2, again)],
    );
    check(samples::ready(), ":⇥", &[]);
    check(samples::ready(), ":  ⏎# a comment⏎", &[]);
    // Names of sessions are asked for when they are needed.
    let mut model = check(samples::ready(), ":load ", &[Effect::ListSessions]);
    let names = ["run-7", "demo"].map(str::to_owned).to_vec();
    assert_eq!(update(&mut model, Message::Sessions(names)), (Vec::new(), Draw::No));
    let load = Command::Load { name: "demo".into() };
    assert_eq!(play(&mut model, keys("d⇥⏎")), [typed(0, load)]);
    check(samples::ready(), ":overlay demo ", &[Effect::ListSessions, Effect::ListSessions]);
    check(samples::ready(), ":eval --with ", &[Effect::ListSessions]);
    check(samples::ready(), ":sav⇥", &[Effect::ListSessions]);
    check(samples::ready(), ":s⇥⇥⇥⇥⏎", &[Effect::ListSessions]);
}

#[test]
fn a_value_follows_a_completed_condition_without_a_space() {
    let sure = Command::Find { filters: vec![Filter::Surer(0.9)] };
    check(samples::ready(), ":find co⇥⏎0.9⏎", &[typed(0, sure)]);
    check(samples::ready(), ":find tr⇥4⏎", &[typed(0, Command::Find { filters: vec![Filter::True(4)] })]);
}

#[test]
fn what_begins_anew_forgets_which_line_was_recalled() {
    let show = |name: &str| Command::Set { name: Some(name.into()), value: None };
    let all = |newest| [typed(0, show("lr")), typed(1, show("dropout")), typed(2, show("keep")), typed(3, newest)];
    check(samples::ready(), ":set lr⏎set dropout⏎set keep⏎↑↑⏎", &all(show("dropout")));
    check(samples::ready(), ":set lr⏎set dropout⏎set keep⏎↑↑^c↑⏎", &all(show("keep")));
}

#[test]
fn only_what_can_not_become_a_command_is_called_none() {
    for (line, unknown) in [(":pre", false), (":s", false), ("::train 5", false), (":trian 5", true)] {
        let text = draw(&check(samples::ready(), line, &[]));
        assert_eq!(text.contains("no such command"), unknown, "{line}\n{text}");
    }
}

#[test]
fn a_long_answer_can_be_scrolled_to_its_top() {
    let mut model = check(samples::ready(), ":advice⏎", &[typed(0, Command::Advice)]);
    let line = "a long line ".repeat(16);
    let text = [line.as_str(); 12].join("\n");
    play(&mut model, vec![Message::Answer { origin: Origin::CommandLine(0), result: Ok(Reply::Done(text)) }]);
    assert!(!draw(&model).contains("> advice"));
    play(&mut model, (0..15).map(|_| press(KeyCode::PageUp)).collect());
    assert!(draw(&model).contains("> advice"), "{}", draw(&model));
    // Zoomed, all of it is shown: nothing lies below.
    play(&mut model, vec![press(KeyCode::F(2))]);
    let text = draw(&model);
    assert!(text.contains("> advice") && !text.contains("lines below"), "{text}");
}

#[test]
fn what_is_no_command_is_answered_at_once() {
    let model = check(samples::ready(), ":trian 5⏎", &[]);
    assert!(draw(&model).contains("`train`"));
    let model = check(samples::ready(), ":help⏎", &[]);
    assert_eq!(model.overlay, Some(Overlay::Help { top: 0 }));
}

#[test]
fn answers_find_their_question() {
    let mut model =
        check(samples::ready(), ":pause⏎step 3⏎", &[typed(0, Command::Pause), typed(1, Command::Step { batches: 3 })]);
    assert_eq!(draw(&model).matches("working ...").count(), 2);
    let result = Ok(Reply::Done("stepped thrice".into()));
    play(&mut model, vec![Message::Answer { origin: Origin::CommandLine(1), result }]);
    let result = Err(Error::Usage("nothing is training".into()));
    play(&mut model, vec![Message::Answer { origin: Origin::CommandLine(0), result }]);
    let text = draw(&model);
    assert!(text.find("nothing is training") < text.find("stepped thrice"), "{text}");
    assert!(!text.contains("working"));
}

#[test]
fn pasted_text_is_not_run_unread() {
    let mut model = check(samples::ready(), ":", &[]);
    assert_eq!(play(&mut model, vec![Message::Paste("step 1\nquit\n".into())]), []);
    assert!(draw(&model).contains("> step 1 quit"));
    let mut elsewhere = check(samples::ready(), "", &[]);
    assert_eq!(play(&mut elsewhere, vec![Message::Paste("q".into())]), []);
}
