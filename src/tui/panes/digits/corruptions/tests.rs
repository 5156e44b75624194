//! What is asked when, what is made of the answers, and where the pictures lie.

use super::{Action, Command, Corruptions, Effect, Error, LabState, Rect, Reply, grid};
use crate::data::CLASSES;
use crate::data::corrupt::Corruption;
use crate::reply::Classified;
use crate::state::{LabEvent, RunInfo};
use crate::train::Progress;
use crate::tui::samples;

/// An answer that takes each picture for its class.
fn answer(classes: [usize; 16]) -> Reply {
    let probabilities = classes.map(|class| {
        let mut row = [0.02; CLASSES];
        row[class] = 0.82;
        row
    });
    let probabilities = probabilities.to_vec();
    Reply::Classified(Classified { probabilities, saliency: Vec::new(), epoch: 2, step: 1710 })
}

fn images(command: Option<Command>) -> Vec<crate::data::Image> {
    match command {
        Some(Command::Classify { images, .. }) => images,
        other => panic!("no question: {other:?}"),
    }
}

#[test]
fn one_question_at_a_time_and_the_newest_in_the_end() {
    let mut lab = samples::paused();
    let mut page = Corruptions::default();
    let first = images(page.refresh(&lab));
    assert_eq!(first.len(), 16);
    // While it is under way the severity changes twice: only the last is asked for, and the first answer says nothing of it.
    page.handle(Action::Right);
    assert_eq!(page.refresh(&lab), None);
    page.handle(Action::Right);
    assert_eq!(page.refresh(&lab), None);
    page.answer(Ok(answer([8; 16])));
    assert_eq!(page.verdict(0), None);
    let second = images(page.refresh(&lab));
    assert_eq!(first[0], second[0]);
    assert_ne!(first[1..], second[1..]);
    page.answer(Ok(answer([8; 16])));
    assert_eq!(page.verdict(0).map(|(class, _)| class), Some(8));
    assert_eq!(page.refresh(&lab), None, "all is known");
    // Other weights are asked again; what the old ones said stands until then.
    lab.apply(LabEvent::Progress(Progress { step: 1800, ..lab.progress }));
    assert_eq!(images(page.refresh(&lab)), second);
    assert_eq!(page.verdict(0).map(|(class, _)| class), Some(8));
    // A lab that can't answer is not asked the same again.
    page.answer(Err(Error::Failed("gone".into())));
    assert_eq!((page.verdict(0), page.refresh(&lab)), (None, None));
    let other = RunInfo { name: "run-2".into(), ..(**lab.run.as_ref().unwrap()).clone() };
    lab.run = Some(std::sync::Arc::new(other));
    assert!(page.refresh(&lab).is_some());
}

#[test]
fn the_pictures_are_those_that_eval_measures() {
    let lab = samples::paused();
    let digit = lab.digit.as_ref().unwrap();
    let mut page = Corruptions::default();
    let shown = images(page.refresh(&lab));
    let corrupted: Vec<_> = Corruption::each(3).unwrap().iter().map(|c| c.apply(&digit.image, 947)).collect();
    assert_eq!(shown[1..], corrupted[..]);
}

#[test]
fn verdicts_are_counted_against_the_label_or_what_it_was_taken_for() {
    let check = |lab: &LabState, classes: [usize; 16], title: &str| {
        let mut page = Corruptions::default();
        images(page.refresh(lab));
        page.answer(Ok(answer(classes)));
        assert_eq!(page.title(), title);
    };
    let mut classes = [9; 16];
    classes[3] = 8;
    classes[7] = 8;
    let mut lab = samples::paused();
    check(&lab, classes, "947 corrupted, severity 3: 2 of 15 right");
    let digit = lab.digit.as_mut().map(std::sync::Arc::make_mut).unwrap();
    digit.label = None;
    digit.source = crate::state::DigitSource::File("seven.png".into());
    check(&lab, classes, "seven.png corrupted, severity 3: 13 of 15 right");
    check(&samples::ready(), [0; 16], "0 corrupted, severity 3: 15 of 15 right");
}

#[test]
fn the_severity_stays_between_its_ends_and_is_measured() {
    let mut page = Corruptions::default();
    let mut run = |action: Action, times: usize| {
        (0..times).for_each(|_| drop(page.handle(action)));
        page.handle(Action::Enter)
    };
    let eval = |severity: u8| Some(vec![Effect::Run(format!("eval --corrupt all:{severity}"))]);
    assert_eq!(run(Action::Left, 0), eval(3));
    assert_eq!(run(Action::Right, 9), eval(5));
    assert_eq!(run(Action::Down, 9), eval(1));
    for severity in 1..=5 {
        assert!(Command::parse(&format!("eval --corrupt all:{severity}")).is_ok());
    }
}

#[test]
fn nothing_is_asked_before_there_is_something_to_ask() {
    let mut page = Corruptions::default();
    assert_eq!((page.refresh(&LabState::default()), page.title()), (None, String::new()));
    page.answer(Ok(answer([1; 16])));
    assert!(page.enquiry.said().is_none(), "nobody had asked");
}

#[test]
fn all_fifteen_fit_wherever_there_is_room_for_their_names() {
    let check = |width, height, expected: [u16; 3]| assert_eq!(grid(Rect::new(0, 0, width, height)), expected);
    check(68, 15, [5, 13, 5]);
    check(76, 18, [5, 15, 6]);
    check(56, 13, [5, 11, 4]);
    check(240, 12, [15, 16, 12]);
    for (width, height) in (40..250).zip((5..70).cycle()) {
        let [columns, wide, tall] = grid(Rect::new(0, 0, width, height));
        assert!(columns * wide <= width && 15u16.div_ceil(columns) * tall <= height && tall > 0);
    }
    assert_eq!(grid(Rect::default())[1..], [0, 0]);
}
