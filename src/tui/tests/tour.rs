//! The walk through a first run: what leads on, and out.

use std::sync::Arc;

use crate::command::Command;
use crate::state::{DigitList, LabEvent, LabState, Phase};
use crate::train::event::TrainEvent;
use crate::train::history::Edit;
use crate::train::tree::Tree;
use crate::tui::message::Message;
use crate::tui::model::Model;
use crate::tui::panes::PaneId;
use crate::tui::samples;

use super::script::{ask, check, keys, play};

fn stop(model: &Model) -> Option<usize> {
    model.tour.as_ref().map(|tour| tour.place().0)
}

fn show(model: &mut Model, lab: &LabState) {
    play(model, vec![Message::State(Arc::new(lab.clone()))]);
}

#[test]
fn the_tour_goes_on_when_its_task_is_done() {
    let mut model = check(samples::ready(), ":tour⏎", &[]);
    assert_eq!((stop(&model), model.focus), (Some(1), PaneId::Charts));
    let mut lab = samples::ready();
    lab.apply(LabEvent::Phase(Phase::Training));
    show(&mut model, &lab);
    assert_eq!(stop(&model), Some(2));
    // There is nothing to see in the matrix before an epoch has ended.
    play(&mut model, keys("1zz2"));
    assert_eq!(stop(&model), Some(3));
    lab = samples::training();
    show(&mut model, &lab);
    assert_eq!(stop(&model), Some(4));
    let list = DigitList {
        title: "true=4 pred=9".into(),
        indices: Arc::new(vec![3]),
        position: Some(0),
        ..DigitList::default()
    };
    lab.apply(LabEvent::List(list));
    show(&mut model, &lab);
    assert_eq!(stop(&model), Some(5));
    show(&mut model, &lab);
    assert_eq!(stop(&model), Some(5), "nothing was explained yet");
    lab.digit = samples::explained().digit;
    show(&mut model, &lab);
    assert_eq!(stop(&model), Some(6));
    let edit = Edit { step: 1, setting: "lr".into(), from: "1e-3".into(), to: "3e-4".into() };
    lab.apply(LabEvent::Train(TrainEvent::Edited(edit)));
    show(&mut model, &lab);
    assert_eq!(stop(&model), Some(7));
    lab.tree = samples::rewound().tree;
    lab.progress.epoch -= 1;
    show(&mut model, &lab);
    assert_eq!(stop(&model), Some(8));
    let mut branches = lab.tree.branches().to_vec();
    branches.push(branches[0].clone());
    lab.apply(LabEvent::Tree(Tree::new(branches, 0).unwrap()));
    show(&mut model, &lab);
    assert_eq!(stop(&model), Some(9));
    assert_eq!(play(&mut model, keys("S")), [ask(Command::Save { name: None })]);
    assert_eq!(stop(&model), Some(10));
    show(&mut model, &lab);
    assert_eq!(stop(&model), Some(10), "the last one stays");
    play(&mut model, keys("⎋"));
    assert_eq!(stop(&model), None);
}

#[test]
fn the_tour_can_be_skipped_and_left() {
    let mut model = check(samples::ready(), ":tour⏎NN", &[]);
    assert_eq!(stop(&model), Some(3));
    // Where text is typed its keys are text; Escape leads one layer out first.
    play(&mut model, keys(":N⎋"));
    assert_eq!(stop(&model), Some(3));
    play(&mut model, keys("z⎋"));
    assert_eq!(stop(&model), Some(3));
    play(&mut model, keys("⎋"));
    assert_eq!(stop(&model), None);
    assert_eq!(stop(&check(samples::ready(), ":tour⏎NNNNNNNNNN", &[])), None);
    assert_eq!(stop(&check(samples::ready(), "N", &[])), None);
}
