//! Curves and what is said of them.

use std::sync::Arc;

use super::{Advice, Finding, advise};
use crate::explain::DeadRelus;
use crate::nn::DeviceInfo;
use crate::nn::norms::LayerNorm;
use crate::state::{LabState, Phase, RunInfo};
use crate::train::RunConfig;
use crate::train::event::Reason;
use crate::train::history::{Edit, EpochRecord, History, Measured, NormRecord, StepRecord};
use crate::train::settings::{Setting, Settings};

/// Steps of an epoch.
const STEPS: u64 = 400;

/// A run of the tutorial's network with these epochs: training loss, training accuracy, validation loss. Within an epoch the
/// loss goes straight from the one before.
fn run(settings: &[(&str, &str)], epochs: &[(f64, f64, f64)]) -> LabState {
    let mut history = History::default();
    let mut from = 2.3;
    for (number, &(train_loss, train_accuracy, loss)) in epochs.iter().enumerate() {
        for step in 1..=STEPS {
            let share = step as f64 / STEPS as f64;
            let loss = (from + (train_loss - from) * share) as f32;
            let step = number as u64 * STEPS + step;
            history.steps.push(StepRecord { step, loss, accuracy: train_accuracy as f32, learning_rate: 1e-3 });
        }
        from = train_loss;
        history.epochs.push(EpochRecord {
            epoch: number as u32 + 1,
            step: (number as u64 + 1) * STEPS,
            train_loss,
            train_accuracy,
            validation: Some(Measured { loss, accuracy: train_accuracy }),
            learning_rate: 1e-3,
            seconds: 1.0,
            samples: 48_000,
        });
    }
    let config =
        RunConfig { arch: "tutorial".parse().expect("a preset"), seed: 1, validation_split: 0.2, teacher: None };
    let run = RunInfo {
        name: "run-1".into(),
        parameters: 1,
        config,
        device: DeviceInfo { device: "cpu".into(), name: String::new(), threads: 1, pci: None },
        split: crate::data::Split::new(60_000, 0.2),
    };
    let mut all = Settings::default();
    for (name, value) in settings {
        name.parse::<Setting>().expect("a setting").set(&mut all, value).expect("a value");
    }
    LabState { run: Some(Arc::new(run)), settings: all, history: Arc::new(history), ..LabState::default() }
}

/// What is said of these curves: the finding and the commands.
#[track_caller]
fn check(settings: &[(&str, &str)], epochs: &[(f64, f64, f64)], expected: Option<(Finding, &[&str])>) {
    let said = advise(&run(settings, epochs), &[]);
    let short: Vec<(Finding, Vec<&str>)> =
        said.iter().map(|advice| (advice.finding, advice.commands.iter().map(String::as_str).collect())).collect();
    let expected: Vec<_> = expected.into_iter().map(|(finding, commands)| (finding, commands.to_vec())).collect();
    assert_eq!(short, expected, "{said:?}");
    assert!(said.iter().all(|advice| advice.evidence.chars().any(|c| c.is_ascii_digit())), "{said:?}");
    for command in said.iter().flat_map(|advice| &advice.commands) {
        assert!(matches!(crate::command::Command::parse(command), Ok(Some(_))), "{command}");
    }
}

/// As the tutorial's network learns.
const WELL: [(f64, f64, f64); 4] =
    [(0.19, 0.94, 0.06), (0.055, 0.983, 0.045), (0.04, 0.988, 0.04), (0.03, 0.991, 0.038)];

#[test]
fn nothing_is_said_where_nothing_is_wrong() {
    check(&[], &[], None);
    (1..=4).for_each(|epochs| check(&[], &WELL[..epochs], None));
    // With strong augmentation and dropout training is worse than validation.
    check(&[("dropout", "0.3")], &[(0.6, 0.8, 0.2), (0.3, 0.9, 0.1), (0.25, 0.92, 0.08)], None);
}

#[test]
fn steps_of_the_wrong_size() {
    let high = Some((Finding::RateTooHigh, &["set lr 0.01", "new"][..]));
    check(&[("lr", "0.1")], &[(2.31, 0.1, 2.31)], high);
    check(&[("lr", "0.1")], &[(45.0, 0.2, 60.0)], high);
    check(&[("lr", "1e-5")], &[(1.9, 0.45, 1.5)], Some((Finding::RateTooLow, &["set lr 1e-4"])));
    check(&[("lr", "1e-4")], &[(1.2, 0.7, 0.6), (0.5, 0.86, 0.4)], Some((Finding::RateTooLow, &["set lr 0.001"])));
    check(&[("lr", "3e-3")], &[(0.2, 0.94, 0.1), (0.35, 0.9, 0.3)], Some((Finding::Diverging, &["set lr 3e-4"])));
}

/// After these epochs the training loss is far below the validation's, which rises.
const APART: [(f64, f64, f64); 5] =
    [(0.19, 0.94, 0.06), (0.05, 0.98, 0.04), (0.03, 0.99, 0.042), (0.02, 0.993, 0.045), (0.01, 0.997, 0.05)];

#[test]
fn overfitting_gets_the_first_brake_that_is_not_on() {
    let brake = |settings: &[(&str, &str)], command: &str| {
        check(settings, &APART, Some((Finding::Overfitting, &[command])));
    };
    brake(&[], "set dropout 0.3");
    brake(&[("dropout", "0.3")], "set augment rotate=10,shift=0.1,zoom=0.1");
    brake(&[("dropout", "0.3"), ("augment", "tutorial")], "set weight-decay 1e-4");
    brake(&[("dropout", "0.3"), ("augment", "tutorial"), ("weight-decay", "1e-4")], "set early-stop 3");
    let all = [("dropout", "0.3"), ("augment", "tutorial"), ("weight-decay", "1e-4"), ("early-stop", "3")];
    check(&all, &APART, None);
    check(&[], &APART[..3], None);
}

#[test]
fn underfitting_and_plateaus() {
    let low = [(0.6, 0.8, 0.5), (0.4, 0.88, 0.4), (0.39, 0.885, 0.4)];
    check(&[("dropout", "0.6")], &low, Some((Finding::Underfitting, &["set dropout 0.1"])));
    check(&[("weight-decay", "0.01")], &low, Some((Finding::Underfitting, &["set weight-decay 0"])));
    check(&[], &low, Some((Finding::Underfitting, &["new wide"])));
    let flat = [(0.1, 0.975, 0.1), (0.05, 0.985, 0.05), (0.05, 0.985, 0.05), (0.05, 0.985, 0.05), (0.05, 0.985, 0.05)];
    check(&[], &flat, Some((Finding::Plateau, &["set lr 3e-4"])));
    check(&[], &flat[..4], None);
}

#[test]
fn advice_that_was_taken_falls_silent_until_there_is_new_evidence() {
    let mut state = run(&[("dropout", "0.3")], &APART);
    assert_eq!(advise(&state, &[]).len(), 1);
    let edit = |setting: &str, step| Edit { step, setting: setting.into(), from: "0".into(), to: "0.3".into() };
    Arc::make_mut(&mut state.history).edits.push(edit("keep", 5 * STEPS));
    assert_eq!(advise(&state, &[]).len(), 1, "that changes no step");
    Arc::make_mut(&mut state.history).edits.push(edit("dropout", 5 * STEPS - 7));
    assert_eq!(advise(&state, &[]), []);
}

#[test]
fn a_run_that_diverged_wants_smaller_steps() {
    let mut state = run(&[("lr", "0.001")], &WELL);
    state.phase = Phase::Finished(Reason::Diverged { step: 1601, kept_epoch: 4, kept_step: 1600 });
    let said = advise(&state, &[]);
    assert_eq!(
        (said[0].finding, said[0].commands.as_slice()),
        (Finding::Diverged, &["set lr 1e-4", "train"].map(String::from)[..])
    );
    state.settings.learning_rate = 1e-4;
    assert_eq!(advise(&state, &[]), []);
}

/// Whatever the schedule made of the learning rate: here a twenty-fifth.
#[test]
fn smaller_steps_are_advised_once_under_a_schedule_too() {
    let mut state = run(&[("lr", "10"), ("schedule", "onecycle")], &[]);
    let records = (1..=5).map(|step| StepRecord { step, loss: f32::NAN, accuracy: 0.1, learning_rate: 0.4 });
    records.for_each(|record| Arc::make_mut(&mut state.history).steps.push(record));
    state.phase = Phase::Finished(Reason::Diverged { step: 5, kept_epoch: 0, kept_step: 0 });
    assert_eq!(advise(&state, &[])[0].commands[0], "set lr 1");
    state.settings.learning_rate = 1.0;
    assert_eq!(advise(&state, &[]), []);
}

#[test]
fn a_loss_that_falls_is_not_said_to_stand_still() {
    let said = |epochs: &[(f64, f64, f64)]| advise(&run(&[("lr", "0.1")], epochs), &[])[0].evidence.clone();
    let stands = said(&[(2.31, 0.1, 2.31)]);
    assert!(stands.ends_with("accuracy 10.0 %, and it does not fall"), "{stands}");
    let falls = said(&[(60.0, 0.2, 60.0), (30.0, 0.25, 30.0), (9.0, 0.3, 12.0)]);
    assert!(falls.ends_with("accuracy 30.0 %"), "{falls}");
}

#[test]
fn the_layers_tell_how_large_the_steps_are() {
    let said = |rate: &str, epoch: (f64, f64, f64), layers: [LayerNorm; 5]| {
        let mut state = run(&[("lr", rate)], &[epoch]);
        let record = NormRecord { step: STEPS - 1, layers: layers.into() };
        Arc::make_mut(&mut state.history).norms.push(record);
        let said = advise(&state, &[]);
        (said[0].finding, said[0].to_string())
    };
    let norm = |gradient, update| LayerNorm { gradient, weight: 2.0, update };
    let (finding, text) = said("0.1", (2.31, 0.1, 2.31), [0.2, 0.01, 0.0, 0.5, 0.1].map(|update| norm(1.0, update)));
    assert_eq!(finding, Finding::RateTooHigh);
    assert!(text.contains("a step changes layer 10 by 25.0 % of its weights"), "{text}");
    let (finding, text) = said("1e-5", (1.9, 0.45, 1.5), [4e-5; 5].map(|update| norm(1.0, update)));
    assert_eq!(finding, Finding::RateTooLow);
    assert!(text.contains("no layer by more than 2.0e-5 of its weights"), "{text}");
    let fading = [1e-6, 1e-5, 1e-4, 1e-2, 0.5].map(|gradient| norm(gradient, 1e-3));
    let (finding, text) = said("0.1", (2.30, 0.1, 2.30), fading);
    assert_eq!(finding, Finding::VanishingGradient);
    assert!(text.contains("layer 1 is 1.0e-6 beside 5.0e-1 of layer 13; try new resnet"), "{text}");
    let (finding, text) = said("0.1", (2.31, 0.1, 2.31), [1e-3; 5].map(|update| norm(1.0, update)));
    assert!(finding == Finding::RateTooHigh && !text.contains("a step changes"), "{text}");
}

#[test]
fn dead_units_are_told_with_their_layer() {
    let state = run(&[("lr", "0.1")], &[(2.31, 0.1, 2.31)]);
    let layer = |name: &str, dead| DeadRelus { layer: name.into(), dead, units: 64 };
    let said: Vec<Advice> = advise(&state, &[layer("2", 20), layer("5", 60)]);
    assert_eq!(said[0].finding, Finding::DeadRelus);
    assert!(said[0].to_string().contains("60 of the 64 units of layer 5"), "{}", said[0]);
    assert_eq!(said[0].commands, ["set lr 0.01", "new"]);
    assert_eq!(advise(&run(&[], &WELL), &[layer("2", 20)]), []);
}
