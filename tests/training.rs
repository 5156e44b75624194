//! Runs: resumed bit for bit, stopped in time, brought back when they diverge.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::sync::{Arc, LazyLock};

use mnist_lab::data::teacher::Teacher;
use mnist_lab::data::{CLASSES, Dataset, Images};
use mnist_lab::metrics::{argmax, softmax};
use mnist_lab::nn::{self, DeviceChoice, Kernels, NamedTensor, NetworkState, Setup};
use mnist_lab::session::{DataMark, Session, Store};
use mnist_lab::state::{LabEvent, LabState};
use mnist_lab::train::event::{Reason, TrainEvent};
use mnist_lab::train::history::{Edit, EpochRecord};
use mnist_lab::train::settings::{Setting, Settings};
use mnist_lab::train::tree::Tree;
use mnist_lab::train::{Advance, Goal, RunConfig, RunState, Target, Trainer};

/// The first 400 training and 100 test digits of MNIST.
static DATA: LazyLock<Dataset> = LazyLock::new(|| {
    let mnist = Dataset::open(None).unwrap();
    let cut = |images: &Images, len: usize| {
        let pixels = (0..len).flat_map(|index| *images.image(index)).collect();
        Images::new(pixels, images.labels()[..len].to_vec())
    };
    Dataset::new("small MNIST".into(), cut(&mnist.train, 400), cut(&mnist.test, 100))
});

/// Small, but with everything that has a state: batch norm, dropout, a residual block.
const ARCH: &str = "conv4:3x3:s2 bn relu res(conv4:3x3:p1 bn) pool2 flatten dense16 relu dropout dense10";

fn settings(changes: &[(&str, &str)]) -> Settings {
    let mut settings = Settings { epochs: 4, batch_size: 32, dropout: 0.2, ..Settings::default() };
    for (name, value) in changes {
        name.parse::<Setting>().unwrap().set(&mut settings, value).unwrap();
    }
    settings
}

fn config(arch: &str) -> RunConfig {
    RunConfig { arch: arch.parse().unwrap(), seed: 1, validation_split: 0.2, teacher: None }
}

fn network(config: &RunConfig) -> Box<dyn nn::Network> {
    let setup =
        Setup { device: DeviceChoice::Cpu, kernels: Kernels::Auto, threads: 2, seed: config.seed, ..Setup::default() };
    nn::build(&config.arch, &setup).unwrap().0
}

fn fresh(arch: &str, changes: &[(&str, &str)]) -> Trainer {
    let config = config(arch);
    let network = network(&config);
    Trainer::new(config, settings(changes), DATA.clone(), network).unwrap()
}

/// Advances until the goal or the end.
fn run(trainer: &mut Trainer, goal: Goal) -> (Advance, Vec<TrainEvent>) {
    let mut events = Vec::new();
    loop {
        match trainer.advance(goal, &mut |event| events.push(event)).unwrap() {
            Advance::More => {}
            ended => return (ended, events),
        }
    }
}

/// Through a file and into a freshly built network, as after a restart.
fn restart(trainer: &Trainer) -> Trainer {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    let data = DataMark { name: DATA.name.clone(), fingerprint: DATA.fingerprint() };
    store.save("run", &Session { run: trainer.state().unwrap(), data, tree: Tree::default() }).unwrap();
    let session = store.load("run").unwrap();
    Trainer::resume(&session.run, DATA.clone(), network(&session.run.config)).unwrap()
}

/// A state without the clock's part in it.
fn timeless(trainer: &Trainer) -> RunState {
    let mut state = trainer.state().unwrap();
    state.progress.seconds = 0.0;
    state.progress.epoch_seconds = 0.0;
    let record = |record: &EpochRecord| EpochRecord { seconds: 0.0, ..*record };
    state.history.epochs = state.history.epochs.iter().map(record).collect();
    state
}

#[test]
fn a_run_that_was_restarted_is_the_run_that_was_not() {
    for optimizer in ["adam", "sgd:momentum=0.9:nesterov", "rmsprop"] {
        let changes = [
            ("optimizer", optimizer),
            ("augment", "tutorial"),
            ("schedule", "cosine"),
            ("early-stop", "3"),
            ("ema", "0.99"),
            ("lr", "0.01"),
        ];
        let mut straight = fresh(ARCH, &changes);
        run(&mut straight, Goal::Epoch(4));

        // After an epoch, in the middle of one, just before its validation, and after a change.
        let mut restarted = fresh(ARCH, &changes);
        for goal in [Goal::Epoch(1), Goal::Step(13), Goal::Step(20), Goal::Step(33), Goal::Epoch(4)] {
            run(&mut restarted, goal);
            restarted = restart(&restarted);
        }
        assert_eq!(timeless(&straight), timeless(&restarted), "{optimizer}");
    }
}

/// What a run learns is what it was told at its start, wherever it was left: the teacher is asked once.
#[test]
fn a_taught_run_that_was_restarted_is_the_run_that_was_not() {
    let taught = || {
        let mut teacher = Teacher::default();
        teacher.join("a".into(), fresh("mlp", &[]).answers(0..320).unwrap());
        let config = RunConfig { teacher: Some(Arc::new(teacher)), ..config(ARCH) };
        let network = network(&config);
        Trainer::new(config, settings(&[("augment", "tutorial")]), DATA.clone(), network).unwrap()
    };
    let (mut straight, mut restarted) = (taught(), taught());
    run(&mut straight, Goal::Epoch(2));
    for goal in [Goal::Step(4), Goal::Epoch(1), Goal::Step(13), Goal::Epoch(2)] {
        run(&mut restarted, goal);
        restarted = restart(&restarted);
    }
    assert_eq!(timeless(&straight), timeless(&restarted));

    // With no share it says nothing; and it takes the place of the labels where it has all.
    let weights = |mut trainer: Trainer, changes: &[(&str, &str)]| {
        for (name, value) in changes {
            trainer.set(name.parse().unwrap(), value, &mut |_| ()).unwrap();
        }
        run(&mut trainer, Goal::Epoch(1));
        trainer.state().unwrap().network
    };
    let alone = weights(fresh(ARCH, &[("augment", "tutorial")]), &[]);
    assert_eq!(weights(taught(), &[("distill", "0")]), alone);
    assert_ne!(weights(taught(), &[]), alone);
    let by_teacher = weights(taught(), &[("distill", "1")]);
    assert_eq!(weights(taught(), &[("distill", "1"), ("label-smoothing", "0.5")]), by_teacher);
    assert_ne!(weights(taught(), &[("distill", "1"), ("temperature", "1")]), by_teacher);
}

#[test]
fn the_number_of_threads_does_not_change_the_run() {
    let states = [1, 2, 3].map(|threads| {
        let config = config(ARCH);
        let setup = Setup { device: DeviceChoice::Cpu, kernels: Kernels::Auto, threads, seed: 1, ..Setup::default() };
        let network = nn::build(&config.arch, &setup).unwrap().0;
        let mut trainer = Trainer::new(config, settings(&[]), DATA.clone(), network).unwrap();
        run(&mut trainer, Goal::Epoch(1));
        timeless(&trainer)
    });
    assert_eq!(states[0], states[1]);
    assert_eq!(states[0], states[2]);
}

#[test]
fn a_changed_setting_holds_from_the_next_batch_and_is_in_the_history() {
    let mut trainer = fresh("mlp", &[]);
    run(&mut trainer, Goal::Step(3));
    let mut events = Vec::new();
    let mut set =
        |trainer: &mut Trainer, setting: Setting, value| trainer.set(setting, value, &mut |e| events.push(e)).unwrap();
    set(&mut trainer, Setting::LearningRate, "1e-2");
    set(&mut trainer, Setting::BatchSize, "20");
    set(&mut trainer, Setting::BatchSize, "20");
    assert_eq!(events.len(), 2, "a value that is there already is no change");
    run(&mut trainer, Goal::Epoch(1));

    let history = trainer.history();
    let rates: Vec<f32> = history.steps.iter().skip(2).take(2).map(|step| step.learning_rate).collect();
    assert_eq!(rates, [1e-3, 1e-2]);
    let edit = &history.edits[0];
    assert_eq!((edit.step, edit.setting.as_str(), edit.from.as_str(), edit.to.as_str()), (3, "lr", "0.001", "0.01"));
    // 320 samples: 3 batches of 32, then 11 of 20 and one of 4.
    assert_eq!(history.steps.len(), 3 + 12);
    assert_eq!(history.epochs[0].samples, 320);
}

#[test]
fn an_average_is_switched_off_and_on_while_it_trains() {
    let mut straight = fresh(ARCH, &[]);
    let mut restarted = fresh(ARCH, &[]);
    let set = |trainer: &mut Trainer, value| trainer.set(Setting::Ema, value, &mut |_| ()).unwrap();
    for (value, goal) in [("0.9", Goal::Step(7)), ("none", Goal::Step(17)), ("0.99", Goal::Step(26))] {
        set(&mut straight, value);
        run(&mut straight, goal);
        // What was set and has not been trained with yet goes through the file too.
        set(&mut restarted, value);
        restarted = restart(&restarted);
        run(&mut restarted, goal);
        restarted = restart(&restarted);
        assert_eq!(straight.state().unwrap().network.trained.is_some(), value != "none");
    }
    assert_eq!(timeless(&straight), timeless(&restarted));

    let mut plain = fresh(ARCH, &[]);
    run(&mut plain, Goal::Step(26));
    let (plain, averaged) = (timeless(&plain), timeless(&straight));
    assert_eq!(averaged.network.trained.as_ref(), Some(&plain.network.tensors), "the weights go their way without it");
    assert_eq!(averaged.history.steps, plain.history.steps);
    let validation = |run: &RunState, epoch: usize| run.history.epochs[epoch - 1].validation;
    assert_eq!(validation(&averaged, 1), validation(&plain, 1), "it was off then");
    assert_ne!(validation(&averaged, 2), validation(&plain, 2));
}

#[test]
fn it_is_the_average_that_is_measured() {
    let mut trainer = fresh("mlp", &[("ema", "0.95")]);
    run(&mut trainer, Goal::Epoch(1));
    let state = trainer.state().unwrap();
    let alone = |tensors: &[NamedTensor]| {
        let network_state = NetworkState { tensors: tensors.into(), trained: None, ..state.network.clone() };
        let state = RunState { network: network_state, ..state.clone() };
        let mut alone = Trainer::resume(&state, DATA.clone(), network(&state.config)).unwrap();
        let validation = alone.split().validation.clone();
        let images = DATA.train.clone();
        (alone.evaluate(&images, validation).unwrap().loss(), alone.test(&mut |_| ()).unwrap().loss())
    };
    let measured = trainer.history().epochs[0].validation.unwrap().loss;
    let tested = trainer.test(&mut |_| ()).unwrap().loss();
    assert_eq!((measured, tested), alone(&state.network.tensors));
    assert_ne!((measured, tested), alone(state.network.trained.as_ref().unwrap()));
    // Looking at an earlier state leaves both as they were.
    let before = fresh("mlp", &[]).state().unwrap();
    trainer.predictions_of(&before.network).unwrap();
    assert_eq!(trainer.state().unwrap().network, state.network);
}

#[test]
fn several_networks_answer_with_the_mean_of_their_probabilities() {
    let mut first = fresh("flatten dense10", &[]);
    let other = RunConfig { seed: 9, ..config("flatten dense10") };
    let mut second = Trainer::new(other.clone(), settings(&[]), DATA.clone(), network(&other)).unwrap();
    let images: Vec<_> = (0..20).map(|index| *DATA.test.image(index)).collect();
    let [one, two] = [&mut first, &mut second].map(|trainer| trainer.logits(&images).unwrap());
    let together = first.evaluate_together(&mut [second], 1, &DATA.test, 0..20).unwrap();
    for (outcome, (one, two)) in together.outcomes.iter().zip(one.iter().zip(&two)) {
        let (one, two) = (softmax(one), softmax(two));
        let mean: [f32; CLASSES] = std::array::from_fn(|class| f32::midpoint(one[class], two[class]));
        let (predicted, label) = (argmax(&mean), usize::from(outcome.label));
        assert_eq!(outcome.predicted, predicted);
        assert!((outcome.confidence - mean[usize::from(predicted)]).abs() < 1e-5);
        assert!((outcome.loss + mean[label].ln()).abs() < 1e-4);
    }
    assert_ne!(together, first.evaluate(&DATA.test, 0..20).unwrap());
}

#[test]
fn early_stopping_takes_the_best_weights_back() {
    for ema in ["none", "0.9"] {
        early_stopping_takes_back(ema);
    }
}

fn early_stopping_takes_back(ema: &str) {
    // A learning rate that is far too high makes the validation loss worse again soon.
    let mut trainer = fresh("mlp", &[("epochs", "60"), ("early-stop", "2"), ("lr", "0.03"), ("ema", ema)]);
    let (ended, _) = run(&mut trainer, Goal::Epoch(60));
    let Advance::Finished(Reason::EarlyStop { best_epoch }) = ended else { panic!("{ended:?}") };
    let losses: Vec<f64> = trainer.history().epochs.iter().map(|epoch| epoch.validation.unwrap().loss).collect();
    let best = losses.iter().copied().enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    assert_eq!(best_epoch as usize, best.0 + 1);
    assert_eq!(losses.len(), best_epoch as usize + 2, "it waited as long as its patience");
    let split = trainer.split().validation.clone();
    let images = DATA.train.clone();
    let restored = trainer.evaluate(&images, split).unwrap().loss();
    assert!((restored - best.1).abs() < 1e-9, "{restored} is not {}", best.1);
    assert_eq!(trainer.state().unwrap().network.trained.is_some(), ema != "none", "training could go on from there");
}

#[test]
fn a_run_that_stopped_early_has_all_its_patience_again() {
    let mut straight = fresh("mlp", &[("epochs", "60"), ("early-stop", "2"), ("lr", "0.03")]);
    let (stopped, _) = run(&mut straight, Goal::Epoch(60));
    assert!(matches!(stopped, Advance::Finished(Reason::EarlyStop { .. })), "{stopped:?}");
    let RunState { progress, network, .. } = straight.state().unwrap();
    // So slow that no weight moves, and nothing gets better.
    straight.set(Setting::LearningRate, "1e-300", &mut |_| ()).unwrap();
    let mut restarted = restart(&straight);

    straight.renew_patience();
    assert_eq!(run(&mut straight, Goal::Epoch(60)).0, stopped, "the same epoch is back");
    assert_eq!(straight.progress().epoch, progress.epoch + 2);
    assert_eq!(straight.state().unwrap().network, network);

    for goal in [Goal::Step(progress.step + 5), Goal::Epoch(progress.epoch + 1), Goal::Epoch(60)] {
        restarted.renew_patience();
        run(&mut restarted, goal);
        restarted = restart(&restarted);
    }
    assert_eq!(timeless(&straight), timeless(&restarted));
}

#[test]
fn a_run_that_diverges_goes_back_to_its_last_epoch_and_can_go_on() {
    for ema in ["none", "0.9"] {
        diverging_goes_back(ema);
    }
}

fn diverging_goes_back(ema: &str) {
    let mut trainer = fresh("mlp", &[("optimizer", "sgd"), ("lr", "0.05"), ("batch-size", "8"), ("ema", ema)]);
    let (_, mut events) = run(&mut trainer, Goal::Epoch(1));
    let good = timeless(&trainer);
    // Not even a logit survives weights of 1e38.
    let mut state = trainer.state().unwrap();
    state.network.trained.as_mut().unwrap_or(&mut state.network.tensors)[0].values.fill(f32::MAX);
    let mut broken = Trainer::resume(&state, DATA.clone(), network(&state.config)).unwrap();
    let (ended, broken) = run(&mut broken, Goal::Epoch(2));
    assert_eq!(ended, Advance::Finished(Reason::Diverged { step: 41, kept_epoch: 1, kept_step: 40 }));
    assert!(broken.iter().any(|e| matches!(e, TrainEvent::Step { record, .. } if !record.loss.is_finite())));

    set(&mut trainer, &[("lr", "10"), ("weight-decay", "1")], &mut events);
    events.extend(run(&mut trainer, Goal::Step(42)).1);
    // This one is taken back again.
    set(&mut trainer, &[("dropout", "0.5"), ("dropout", "0.2")], &mut events);
    let (ended, more) = run(&mut trainer, Goal::Epoch(4));
    let Advance::Finished(Reason::Diverged { kept_epoch, kept_step, .. }) = ended else { panic!("{ended:?}") };
    assert_eq!((kept_epoch, kept_step), (1, 40));
    events.extend(more);
    let kept = timeless(&trainer);
    assert_eq!((kept.progress, &kept.network), (good.progress, &good.network));
    assert_eq!(kept.settings, Settings { learning_rate: 10.0, weight_decay: 1.0, ..good.settings });
    let edits: Vec<_> = kept.history.edits.iter().map(|e| (e.step, e.setting.as_str(), e.to.as_str())).collect();
    assert_eq!(edits, [(40, "lr", "10"), (40, "weight-decay", "1")]);
    assert_eq!(told(&events), kept.history.edits);

    set(&mut trainer, &[("lr", "0.01"), ("weight-decay", "0")], &mut events);
    let (ended, more) = run(&mut trainer, Goal::Epoch(4));
    assert_eq!(ended, Advance::Finished(Reason::Completed));
    events.extend(more);
    assert_eq!(told(&events), trainer.history().edits);
}

fn set(trainer: &mut Trainer, changes: &[(&str, &str)], events: &mut Vec<TrainEvent>) {
    for (name, value) in changes {
        trainer.set(name.parse().unwrap(), value, &mut |event| events.push(event)).unwrap();
    }
}

/// The changes of settings that these events have told of.
fn told(events: &[TrainEvent]) -> Vec<Edit> {
    let mut lab = LabState::default();
    for event in events {
        lab.apply(LabEvent::Train(event.clone()));
    }
    lab.history.edits.clone()
}

#[test]
fn a_run_that_was_resumed_in_an_epoch_goes_back_to_where_it_was() {
    let mut trainer = fresh("mlp", &[]);
    run(&mut trainer, Goal::Step(13));
    let mut state = trainer.state().unwrap();
    state.network.tensors[0].values.fill(f32::MAX);
    let mut broken = Trainer::resume(&state, DATA.clone(), network(&state.config)).unwrap();
    let Advance::Finished(reason) = run(&mut broken, Goal::Epoch(2)).0 else { panic!("it goes on") };
    assert_eq!(reason, Reason::Diverged { step: 14, kept_epoch: 1, kept_step: 13 });
    assert!(reason.sentence(broken.settings()).contains("the state after step 13"));
    assert_eq!(broken.progress().step, 13);
}

#[test]
fn a_target_ends_the_run_at_the_epoch_that_reaches_it() {
    for target in [Target::Validation(0.3), Target::Test(0.3)] {
        let mut trainer = fresh("mlp", &[("epochs", "50")]);
        trainer.set_target(Some(target));
        let (ended, events) = run(&mut trainer, Goal::Epoch(50));
        assert_eq!(ended, Advance::Finished(Reason::Target));
        let tested = events.iter().any(|event| matches!(event, TrainEvent::Tested { .. }));
        assert_eq!(tested, matches!(target, Target::Test(_)), "the test set stays unseen unless it is the target");
    }
}

#[test]
fn a_run_without_validation_trains_on_all() {
    let config = RunConfig { validation_split: 0.0, ..config("mlp") };
    let network = network(&config);
    let mut trainer = Trainer::new(config, settings(&[("epochs", "1")]), DATA.clone(), network).unwrap();
    let (ended, _) = run(&mut trainer, Goal::Epoch(1));
    assert_eq!(ended, Advance::Finished(Reason::Completed));
    assert_eq!(trainer.history().epochs[0].samples, 400);
    assert_eq!(trainer.history().epochs[0].validation, None);
}

#[test]
fn a_finished_run_goes_on_when_asked_for_more() {
    let mut trainer = fresh("mlp", &[("epochs", "1")]);
    assert_eq!(run(&mut trainer, Goal::Epoch(1)).0, Advance::Finished(Reason::Completed));
    trainer.set(Setting::Epochs, "2", &mut |_| ()).unwrap();
    assert_eq!(run(&mut trainer, Goal::Epoch(2)).0, Advance::Finished(Reason::Completed));
    assert_eq!(trainer.history().epochs.len(), 2);
}

#[test]
fn a_saved_place_beyond_the_data_is_no_panic() {
    let mut trainer = fresh("mlp", &[("epochs", "2")]);
    run(&mut trainer, Goal::Step(3));
    let mut state = trainer.state().unwrap();
    state.progress.sample = usize::MAX / 2;
    let mut forged = Trainer::resume(&state, DATA.clone(), network(&state.config)).unwrap();
    assert_eq!(run(&mut forged, Goal::Epoch(2)).0, Advance::Finished(Reason::Completed));
}
