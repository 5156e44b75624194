//! States of the lab to draw in tests, made by the same events as real ones.

use std::sync::Arc;

use crate::advice::{Advice, Finding};
use crate::arch::Arch;
use crate::data::teacher::Teacher;
use crate::data::{Dataset, FASHION_CLASSES, Images, PIXELS, SIDE, Split};
use crate::error::Failure;
use crate::explain::{Evidence, Explanation, LayerMaps, Neighbour, Picture};
use crate::metrics::{Confusion, Evaluation, Outcome};
use crate::nn::norms::LayerNorm;
use crate::nn::optim::{OptimizerKind, OptimizerState};
use crate::nn::{DeviceInfo, NetworkState};
use crate::search::{Running, SearchPhase, SearchState};
use crate::session::DataMark;
use crate::state::{
    DigitList, DigitSource, DigitView, GpuReading, GpuSample, LabEvent, LabState, Level, LogLine, Overlay, Part, Phase,
    RunBegun, RunInfo, Saved,
};
use crate::train::event::{Reason, TrainEvent};
use crate::train::history::{Edit, EpochRecord, History, Measured, NORMS_EVERY, NormRecord, StepRecord};
use crate::train::settings::{Setting, Settings};
use crate::train::tree::{Branch, Fork, Tree};
use crate::train::{Goal, Progress, RunConfig, RunState};
use crate::tune::space::{Space, TUTORIAL};
use crate::tune::study::{Algorithm, Objective, Stopping, Study};
use crate::tune::trial::{Ending, Task, Trial, Trials};

/// Steps of an epoch: 48,000 samples in batches of 64.
const STEPS: u64 = 750;

fn apply(state: &mut LabState, events: impl IntoIterator<Item = LabEvent>) {
    events.into_iter().for_each(|event| state.apply(event));
}

fn log(level: Level, text: &str) -> LabEvent {
    LabEvent::Log(LogLine { level, text: text.into() })
}

/// A fresh run that waits for the first command.
pub fn ready() -> LabState {
    let blank = || Images::new(vec![0; 4 * PIXELS], vec![0, 1, 2, 3]);
    let config = RunConfig {
        arch: "tutorial".parse::<Arch>().expect("a preset"),
        seed: 1,
        validation_split: 0.2,
        teacher: None,
    };
    let info = RunInfo {
        name: "run-1".into(),
        parameters: config.arch.parameters(),
        config,
        device: DeviceInfo { device: "cpu".into(), name: "AVX-512".into(), threads: 2, pci: None },
        split: Split::new(60_000, 0.2),
    };
    let mut state = LabState::default();
    apply(
        &mut state,
        [
            LabEvent::Loaded(Dataset::new("MNIST".into(), blank(), blank())),
            LabEvent::Run(Box::new(RunBegun {
                info,
                settings: Settings::default(),
                progress: Progress::default(),
                history: History::default(),
                tree: Tree::default(),
                saved: None,
            })),
        ],
    );
    state
}

/// The same of a run that learns from two others.
pub fn taught() -> LabState {
    let mut state = ready();
    let sessions = ["best-1", "best-2"].map(String::from).into();
    if let Some(run) = &mut state.run {
        Arc::make_mut(run).config.teacher = Some(Arc::new(Teacher { sessions, logits: Vec::new() }));
    }
    state
}

fn step(number: u64) -> TrainEvent {
    let t = number as f32;
    // A falling curve with the ripple of batches, the same on every machine.
    let ripple = 1.0 + 0.35 * ((number * 7919 % 101) as f32 / 50.0 - 1.0);
    let loss = (2.3 / (1.0 + t / 40.0) + 0.03) * ripple;
    let record = StepRecord { step: number, loss, accuracy: 1.0 - (loss / 3.0).min(0.9), learning_rate: 1e-3 };
    let (label, predicted) = ((number % 10) as u8, if number.is_multiple_of(23) { 9 } else { (number % 10) as u8 });
    TrainEvent::Step { record, outcomes: vec![(label, predicted); 64], norms: norms(number) }
}

/// The five layers of the tutorial's network, whose steps become smaller.
fn norms(number: u64) -> Option<NormRecord> {
    let layer = |layer: u32| {
        let fade = 1.0 / (1.0 + number as f32 / 300.0);
        let weight = 3.0 + layer as f32 + number as f32 / 1000.0;
        let share = 0.002 * (1.0 + layer as f32 / 2.0) * fade + 0.0005;
        LayerNorm { gradient: 0.9 / (1.0 + layer as f32) * fade + 0.02, weight, update: share * weight }
    };
    (number % NORMS_EVERY == 1).then(|| NormRecord { step: number, layers: (0..5).map(layer).collect() })
}

fn epoch(number: u32) -> TrainEvent {
    let n = f64::from(number);
    let record = EpochRecord {
        epoch: number,
        step: u64::from(number) * STEPS,
        train_loss: 0.19 / n,
        train_accuracy: 1.0 - 0.06 / n,
        validation: Some(Measured { loss: 0.06 / n.sqrt(), accuracy: 0.9887 - 0.01 / n }),
        learning_rate: 1e-3,
        seconds: 1.7,
        samples: 48_000,
    };
    let mut confusion = Confusion::default();
    for label in 0..10_u8 {
        for predicted in 0..10 {
            let near = 40 / (1 + 3 * u32::from(label.abs_diff(predicted)));
            confusion.counts[usize::from(label)][usize::from(predicted)] = if label == predicted { 1185 } else { near };
        }
    }
    TrainEvent::Epoch { record, confusion }
}

/// A run after so many epochs.
pub fn epochs(number: u32) -> LabState {
    let mut state = ready();
    steps(&mut state, u64::from(number) * STEPS);
    state
}

/// Trains for so many steps, with a setting changed after step 900.
fn steps(state: &mut LabState, steps: u64) {
    for number in 1..=steps {
        state.apply(LabEvent::Train(step(number)));
        if number.is_multiple_of(STEPS) {
            state.apply(LabEvent::Train(epoch((number / STEPS) as u32)));
        }
        if number == 900 {
            let edit = Edit { step: number, setting: "lr".into(), from: "0.001".into(), to: "0.0003".into() };
            let mut settings = state.settings.clone();
            Setting::LearningRate.set(&mut settings, "3e-4").expect("a learning rate");
            apply(state, [LabEvent::Train(TrainEvent::Edited(edit)), LabEvent::Settings(settings)]);
        }
    }
}

/// A run in its third epoch, with changed settings and a line in the log.
pub fn training() -> LabState {
    let mut state = ready();
    let goal = [LabEvent::Goal(Goal::Epoch(10)), LabEvent::Phase(Phase::Training)];
    apply(&mut state, goal);
    steps(&mut state, 2 * STEPS + 210);
    let progress = Progress {
        epoch: 2,
        sample: 210 * 64,
        step: 2 * STEPS + 210,
        epoch_seconds: 0.478,
        seconds: 4.4,
        ..Progress::default()
    };
    apply(
        &mut state,
        [
            LabEvent::Progress(progress),
            LabEvent::Saved(Saved { name: "run-1".into(), step: 2 * STEPS, edits: 1 }),
            log(Level::Info, "epoch 1: validation 97.87 %, loss 0.0600"),
            log(Level::Info, "lr 0.001 → 0.0003 at step 900"),
            log(Level::Info, "epoch 2: validation 98.37 %, loss 0.0424"),
        ],
    );
    state
}

/// The same run, held, with a digit that was asked for.
pub fn paused() -> LabState {
    let mut state = training();
    let mut probabilities = [0.0007; 10];
    probabilities[9] = 0.9912;
    probabilities[8] = 0.0032;
    let digit = DigitView {
        source: DigitSource::Test(947),
        image: Box::new(ring()),
        label: Some(8),
        probabilities,
        predicted: 9,
        loss: Some(5.7446),
        doubtful: true,
        step: 1710,
        place: Some((3, 151)),
        preprocess: None,
        past: Vec::new(),
        explanation: None,
        neighbours: Vec::new(),
    };
    apply(
        &mut state,
        [
            LabEvent::Phase(Phase::Paused),
            LabEvent::List(DigitList {
                title: "wrong".into(),
                indices: Arc::new(vec![1, 2, 947]),
                drawings: Arc::default(),
                position: None,
            }),
            LabEvent::Digit(Arc::new(digit)),
            log(Level::Warning, "the validation loss has not got better for 2 epochs: try a smaller lr"),
        ],
    );
    state
}

/// A run whose test set was measured: of 40 digits 16 are wrong.
pub fn tested() -> LabState {
    let mut state = training();
    let images = || Images::new((0..40).flat_map(|_| ring()).collect(), (0..40).map(|at| (at % 10) as u8).collect());
    let mut evaluation = Evaluation::default();
    for index in 0..40u32 {
        let label = (index % 10) as u8;
        let mut logits = [0.0; 10];
        logits[usize::from(label)] = 1.0 + (index % 7) as f32;
        logits[usize::from((label + 5) % 10)] = 4.0 - (index % 3) as f32;
        evaluation.add(Outcome::new(index, label, &logits));
    }
    let indices = evaluation.wrong().iter().map(|outcome| outcome.index).collect();
    let tested = TrainEvent::Tested { step: 1710, evaluation: Arc::new(evaluation) };
    apply(
        &mut state,
        [
            LabEvent::Loaded(Dataset::new("MNIST".into(), images(), images())),
            LabEvent::Train(tested),
            LabEvent::List(DigitList {
                title: "wrong".into(),
                indices: Arc::new(indices),
                drawings: Arc::default(),
                position: Some(0),
            }),
        ],
    );
    state
}

/// The run of [`training`] on a GPU, seen for a minute and a half.
pub fn on_a_gpu() -> LabState {
    let mut state = training();
    if let Some(run) = &mut state.run {
        let pci = Some("0000:3b:00.0".into());
        Arc::make_mut(run).device = DeviceInfo { device: "cuda:0".into(), name: "NVIDIA GPU".into(), threads: 1, pci };
    }
    for seconds in 0..90_u32 {
        // It begins cold and idle, and computes in waves.
        let busy = if seconds < 9 { 0 } else { 60 + (seconds * 13 % 32) };
        let reading = GpuReading {
            utilisation: Some(busy as u8),
            memory: Some(Part { used: if seconds < 5 { 430 } else { 2150 }, of: Some(81_559) }),
            temperature: Some(34 + seconds.min(54) as u16 / 2),
            power: Some(Part { used: 70 + busy * 3, of: Some(700) }),
        };
        state.apply(LabEvent::Gpu(Some(GpuSample { seconds, reading })));
    }
    state
}

/// The same on a card that tells neither power nor how busy it is.
pub fn on_a_taciturn_gpu() -> LabState {
    let mut state = on_a_gpu();
    let memory = Some(Part { used: 1100, of: Some(4096) });
    let reading = GpuReading { memory, temperature: Some(48), ..GpuReading::default() };
    apply(&mut state, [LabEvent::Gpu(None), LabEvent::Gpu(Some(GpuSample { seconds: 0, reading }))]);
    state
}

/// A run that learns its digits by heart, and what is said of that.
pub fn overfitting() -> LabState {
    let mut state = training();
    let advice = Advice {
        finding: Finding::Overfitting,
        evidence: "the validation loss rose from 0.0424 (epoch 2) to 0.0517 while the training loss fell to 0.0102"
            .into(),
        commands: vec!["set dropout 0.3".into(), "train".into()],
    };
    apply(&mut state, [log(Level::Warning, &advice.to_string()), LabEvent::Advice(vec![advice])]);
    state
}

/// The same digit, explained.
pub fn explained() -> LabState {
    let mut state = paused();
    let wave = |scale: f32| -> Box<[f32; PIXELS]> { Box::new(std::array::from_fn(|at| (at as f32 * scale).sin())) };
    let pictures = |count: usize, size: [usize; 2]| -> Vec<Picture> {
        let picture = |n: usize| Picture {
            size,
            values: (0..size[0] * size[1]).map(|at| ((at * (n + 1)) as f32 * 0.1).sin()).collect(),
        };
        (0..count).map(picture).collect()
    };
    let evidence = |class: usize| Evidence {
        class: class as u8,
        logit: class as f32 / 2.0,
        probability: 0.1,
        pro: 2.0 + class as f32,
        con: -1.5,
    };
    let explanation = Explanation {
        class: 9,
        saliency: wave(0.11),
        occlusion: wave(0.013),
        evidence: std::array::from_fn(evidence),
        layers: vec![
            LayerMaps { layer: "conv32:3x3".into(), pictures: pictures(32, [26, 26]) },
            LayerMaps { layer: "pool2".into(), pictures: pictures(32, [13, 13]) },
        ],
        filters: LayerMaps { layer: "conv32:3x3".into(), pictures: pictures(32, [3, 3]) },
    };
    if let Some(digit) = &mut state.digit {
        Arc::make_mut(digit).explanation = Some(Arc::new(explanation));
    }
    state
}

/// The same digit with some like it.
pub fn nearest() -> LabState {
    let mut state = paused();
    let (train, near) = (state.dataset.as_ref().map(|data| data.train.clone()), [9, 9, 4, 8, 9, 8, 8, 9, 3]);
    if let (Some(digit), Some(train)) = (&mut state.digit, train) {
        let neighbour = |(at, label): (usize, u8)| Neighbour {
            index: at as u32,
            label,
            distance: 1.5 + at as f32 / 7.0,
            image: Box::new(*train.image(at % train.len())),
        };
        Arc::make_mut(digit).neighbours = near.into_iter().enumerate().map(neighbour).collect();
    }
    state
}

/// The same digit after six epochs, twice forgotten.
pub fn forgotten() -> LabState {
    let mut state = paused();
    if let Some(digit) = &mut state.digit {
        Arc::make_mut(digit).past = vec![(1, 3), (2, 8), (3, 9), (4, 8), (5, 8), (6, 9)];
    }
    state
}

/// The same on clothes in the place of digits.
pub fn clothes() -> LabState {
    let mut state = paused();
    if let Some(dataset) = &mut state.dataset {
        dataset.classes = FASHION_CLASSES;
    }
    state
}

/// A run whose loss became NaN.
pub fn diverged() -> LabState {
    let mut state = training();
    let record = StepRecord { step: 2 * STEPS + 211, loss: f32::NAN, accuracy: 0.1, learning_rate: 10.0 };
    let reason = Reason::Diverged { step: 2 * STEPS + 211, kept_epoch: 2, kept_step: 2 * STEPS };
    apply(
        &mut state,
        [
            LabEvent::Train(TrainEvent::Step { record, outcomes: Vec::new(), norms: None }),
            LabEvent::Phase(Phase::Finished(reason)),
            log(Level::Error, "the loss became NaN at step 1711; the weights of epoch 2 are back: try a smaller lr"),
        ],
    );
    state
}

/// A run that went back to its first epoch, beside a branch and a saved session.
pub fn rewound() -> LabState {
    let whole = training();
    let mut state = epochs(1);
    let state_of = |history: &History, branch: f32| {
        let mut history = history.clone();
        let worse = |mut epoch: EpochRecord| {
            epoch.validation = epoch.validation.map(|m| Measured { loss: m.loss * f64::from(branch), ..m });
            epoch
        };
        history.epochs = history.epochs.iter().copied().map(worse).collect();
        Arc::new(RunState {
            config: whole.run.as_ref().expect("it has begun").config.clone(),
            settings: whole.settings.clone(),
            progress: whole.progress,
            network: NetworkState {
                tensors: Vec::new(),
                trained: None,
                optimizer: OptimizerState { kind: OptimizerKind::Adam, updates: 0, moments: Vec::new() },
            },
            best: None,
            history,
        })
    };
    let fork = Some(Fork { branch: "main".into(), epoch: 1, step: STEPS });
    let further = epochs(3);
    let branches = vec![
        Branch { name: "main".into(), fork: None, kept: Vec::new(), tip: Some(state_of(&whole.history, 1.0)) },
        Branch { name: "fast".into(), fork, kept: Vec::new(), tip: Some(state_of(&further.history, 0.5)) },
    ];
    let tree = Tree::new(branches, 0).expect("the first of two");
    let session = Overlay { name: "demo".into(), slot: -1, history: epochs(2).history };
    apply(&mut state, [LabEvent::Phase(Phase::Paused), LabEvent::Tree(tree), LabEvent::Overlaid(vec![session])]);
    state
}

/// A search of the tutorial's space: nine trials done, one of them diverged, one given up, and two that run.
pub fn searching() -> LabState {
    let mut state = paused();
    let study = Study {
        space: Space::parse(TUTORIAL, "the tutorial's space").expect("it is one"),
        objective: Objective::ValAccuracy,
        algorithm: Algorithm::Random,
        stopping: Stopping::Median,
        trials: 20,
        epochs: 3,
        lag: 4,
        seed: 1,
        validation_split: 0.2,
        settings: Settings::default(),
        data: DataMark { name: "MNIST".into(), fingerprint: 1 },
    };
    let values = |number: u32| crate::tune::propose::propose(&study, number, &Trials::default());
    let trial = |number: u32, epochs: u32, ending: Ending| {
        let learning_rate: f64 = values(number)[1].parse().expect("a number");
        let away = (learning_rate.log10() + 2.6).abs();
        let score = |epoch: u32| {
            let accuracy = 0.985 + 0.0015 * f64::from(epoch) - 0.012 * away;
            Measured { loss: (1.0 - accuracy) * 3.2, accuracy }
        };
        let scores = (1..=epochs).map(score).collect();
        Trial { number, values: values(number), scores, ending, seconds: 3.0, worker: "host-1".into() }
    };
    let mut trials: Trials = (0..7).map(|number| trial(number, 3, Ending::Reached)).collect();
    trials.learn(trial(7, 1, Ending::Stopped));
    trials.learn(trial(8, 0, Ending::Diverged));
    let running = |number: u32, epochs: f64| {
        let so_far = (epochs >= 1.0).then(|| trial(number, epochs as u32, Ending::Reached));
        let task = Task { trial: number, epochs: 3 };
        (number, Running { task, values: values(number), epochs, so_far })
    };
    let running = [running(9, 1.4), running(10, 0.2)].into();
    let (name, phase) = ("search-1".into(), SearchPhase::Searching);
    let search = SearchState {
        name,
        trials: Arc::new(trials),
        running,
        elsewhere: Vec::new(),
        phase,
        jobs: 2,
        study: Arc::new(study),
    };
    apply(&mut state, [LabEvent::Search(search)]);
    state
}

/// A lab that can't go on.
pub fn failed() -> LabState {
    let mut state = LabState::default();
    let sentence = "data/train-images-idx3-ubyte: the file ends after 100 of 47040016 bytes: fetch it anew".to_owned();
    apply(
        &mut state,
        [log(Level::Error, &sentence), LabEvent::Phase(Phase::Failed(Failure { sentence, exit_code: 3 }))],
    );
    state
}

/// An image of a ring.
fn ring() -> [u8; PIXELS] {
    std::array::from_fn(|at| {
        let (y, x) = ((at / SIDE) as f32 - 13.5, (at % SIDE) as f32 - 13.5);
        let away = ((x * 1.4).hypot(y) - 9.0).abs();
        (255.0 * (2.0 - away).clamp(0.0, 1.0)) as u8
    })
}
