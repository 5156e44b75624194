//! States on their way, damaged bytes, and clients that behave badly.

use std::sync::Arc;

use proptest::prelude::any;
use proptest::{prop_assert, prop_assert_eq, proptest};

use super::client::from_root;
use super::frame::{FrameError, TO_CLIENT, TO_LAB, encode, read};
use super::update::Update;
use super::wire::{Answer, Ask, Asked, Told, knock, read_answer, read_knock};
use crate::advice::{Advice, Finding};
use crate::command::{Command, Depth};
use crate::data::teacher::Teacher;
use crate::data::{PIXELS, Split};
use crate::metrics::{Confusion, Evaluation, Outcome};
use crate::nn::norms::LayerNorm;
use crate::nn::optim::{OptimizerKind, OptimizerState};
use crate::nn::{DeviceInfo, NamedTensor, NetworkState};
use crate::reply::{Classified, Reply};
use crate::search::{Running, SearchPhase, SearchState};
use crate::session::DataMark;
use crate::state::{
    DigitList, DigitSource, DigitView, GpuReading, GpuSample, LabEvent, LabState, Level, LogLine, Overlay, Part, Phase,
    RunBegun, RunInfo, Saved,
};
use crate::train::event::{Reason, TrainEvent};
use crate::train::history::{Edit, EpochRecord, History, Measured, NormRecord, StepRecord};
use crate::train::settings::{Setting, Settings};
use crate::train::tree::{Branch, Fork, Tree};
use crate::train::{Goal, Progress, RunConfig, RunState};
use crate::tune::space::{Space, TUTORIAL};
use crate::tune::study::{Algorithm, Objective, Stopping, Study};
use crate::tune::trial::{Ending, Task, Trial};

fn record(step: u64, loss: f32) -> StepRecord {
    StepRecord { step, loss, accuracy: 0.5, learning_rate: 1e-3 }
}

fn step(step: u64, loss: f32) -> LabEvent {
    // Every third step has its norms too.
    let layers = [LayerNorm { gradient: loss, weight: 2.0, update: 1e-3 }];
    let norms = step.is_multiple_of(3).then(|| NormRecord { step, layers: layers.into() });
    LabEvent::Train(TrainEvent::Step { record: record(step, loss), outcomes: vec![(3, 5)], norms })
}

fn config() -> RunConfig {
    // What it says stays where the run is.
    let teacher = Teacher { sessions: vec!["a".into(), "b".into()], logits: Vec::new() };
    RunConfig { arch: "tutorial".parse().unwrap(), seed: 7, validation_split: 0.2, teacher: Some(Arc::new(teacher)) }
}

fn begun() -> LabEvent {
    let config = config();
    let info = RunInfo {
        name: "run-1".into(),
        parameters: config.arch.parameters(),
        config,
        device: DeviceInfo { device: "cpu".into(), name: "AVX2".into(), threads: 2, pci: None },
        split: Split::new(60_000, 0.2),
    };
    LabEvent::Run(Box::new(RunBegun {
        info,
        settings: Settings::default(),
        progress: Progress::default(),
        history: History::default(),
        tree: Tree::default(),
        saved: None,
    }))
}

fn epoch(step: u64) -> LabEvent {
    let record = EpochRecord {
        epoch: step as u32,
        step,
        train_loss: 0.2,
        train_accuracy: 0.9,
        validation: Some(Measured { loss: 0.1, accuracy: 0.95 }),
        learning_rate: 1e-3,
        seconds: 1.5,
        samples: 48_000,
    };
    LabEvent::Train(TrainEvent::Epoch { record, confusion: Confusion { counts: [[3; 10]; 10] } })
}

fn digit() -> LabEvent {
    LabEvent::Digit(Arc::new(DigitView {
        source: DigitSource::File("a digit.png".into()),
        image: Box::new([9; PIXELS]),
        label: Some(4),
        probabilities: [0.1; 10],
        predicted: 4,
        loss: Some(2.3),
        doubtful: true,
        step: 3,
        place: Some((1, 2)),
        preprocess: Some("inverted".into()),
        past: vec![(1, 4), (2, 9)],
        explanation: None,
        neighbours: Vec::new(),
    }))
}

/// A reading of the GPU; where its time is not after the last one's, of another GPU.
fn gpu(number: u64) -> LabEvent {
    let reading = GpuReading {
        utilisation: Some(number as u8),
        memory: Some(Part { used: 2150, of: Some(81_559) }),
        temperature: None,
        power: Some(Part { used: number as u32, of: None }),
    };
    LabEvent::Gpu(Some(GpuSample { seconds: (number * number) as u32, reading }))
}

/// A run that went back to its first epoch, and a branch that left it there.
fn tree(number: u64) -> LabEvent {
    let state = |epoch: u32| {
        let step = number * u64::from(epoch);
        let tensor = NamedTensor { name: "1.weight".into(), shape: vec![2], values: vec![0.5, step as f32] };
        let optimizer = OptimizerState { kind: OptimizerKind::Adam, updates: step, moments: Vec::new() };
        Arc::new(RunState {
            config: config(),
            settings: Settings { keep: 3, ..Settings::default() },
            progress: Progress { epoch, step, ..Progress::default() },
            network: NetworkState { tensors: vec![tensor], trained: None, optimizer },
            best: None,
            history: History { steps: (1..=step).map(|n| record(n, 0.5)).collect(), ..History::default() },
        })
    };
    let fork = Some(Fork { branch: "main".into(), epoch: 1, step: number });
    let branches = vec![
        Branch { name: "main".into(), fork: None, kept: vec![state(1), state(2)], tip: Some(state(3)) },
        Branch { name: format!("fast-{number}"), fork, kept: vec![state(1)], tip: Some(state(2)) },
    ];
    LabEvent::Tree(Tree::new(branches, 0).unwrap())
}

/// A search with a trial that is done and one that runs.
fn search(number: u64) -> LabEvent {
    let study = Study {
        space: Space::parse(TUTORIAL, "the tutorial's space").unwrap(),
        objective: Objective::ValLoss,
        algorithm: Algorithm::Tpe,
        stopping: Stopping::Median,
        trials: 9,
        epochs: 3,
        lag: 4,
        seed: number,
        validation_split: 0.2,
        settings: Settings::default(),
        data: DataMark { name: "MNIST".into(), fingerprint: u64::MAX - number },
    };
    let values: Vec<String> = ["32", "0.001", "0", "64"].map(String::from).into();
    let scores = vec![Measured { loss: 1.0 / number as f64, accuracy: 0.1 }];
    let ending = Ending::EarlyStop { best_epoch: 1 };
    let trial = Trial { number: 1, values: values.clone(), scores, ending, seconds: 0.5, worker: "host".into() };
    let running = Running { task: Task { trial: 2, epochs: 3 }, values, epochs: 0.5, so_far: Some(trial.clone()) };
    LabEvent::Search(SearchState {
        name: "search-1".into(),
        study: Arc::new(study),
        trials: Arc::new([trial].into_iter().collect()),
        running: [(2, running)].into(),
        elsewhere: Vec::new(),
        phase: SearchPhase::Stopped,
        jobs: 1,
    })
}

/// One event of each kind.
fn event(kind: u8, number: u64) -> LabEvent {
    let mut settings = Settings::default();
    Setting::LearningRate.set(&mut settings, &format!("{number}e-9")).unwrap_or_default();
    let mut evaluation = Evaluation::default();
    (0..9).for_each(|index| evaluation.add(Outcome::new(index, 3, &[index as f32; 10])));
    let edit = Edit { step: number, setting: "lr".into(), from: "0.1".into(), to: "0.2".into() };
    let history = History { steps: (1..=number).map(|n| record(n, 0.5)).collect(), ..History::default() };
    let advice = Advice {
        finding: Finding::Plateau,
        evidence: format!("for {number} epochs"),
        commands: vec!["set lr 3e-4".into()],
    };
    match kind {
        0 => begun(),
        1 => LabEvent::Phase(Phase::Finished(Reason::Diverged { step: number, kept_epoch: 1, kept_step: 2 })),
        2 => LabEvent::Phase(Phase::Training),
        3 => LabEvent::Goal(Goal::Step(number)),
        4 => LabEvent::Progress(Progress { step: number, seconds: 0.5, ..Progress::default() }),
        5 => LabEvent::Settings(settings),
        6 => epoch(number),
        7 => LabEvent::Train(TrainEvent::Edited(edit)),
        8 => LabEvent::Train(TrainEvent::Tested { step: number, evaluation: Arc::new(evaluation) }),
        9 => LabEvent::Train(TrainEvent::Validating { done: 1, total: 2 }),
        10 => LabEvent::List(DigitList {
            title: "wrong".into(),
            indices: Arc::new(vec![3, 4]),
            position: Some(0),
            ..DigitList::default()
        }),
        11 => digit(),
        12 => LabEvent::Named(format!("run-{number}")),
        13 => LabEvent::Saved(Saved { name: "run-1".into(), step: number, edits: 2 }),
        14 => LabEvent::Overlaid(vec![Overlay { name: "demo".into(), slot: -1, history: Arc::new(history) }]),
        15 => LabEvent::Log(LogLine { level: Level::Warning, text: format!("line {number}") }),
        16 => gpu(number),
        17 => LabEvent::Gpu(None),
        18 => search(number),
        19 => LabEvent::Train(TrainEvent::WentBack { edits: vec![edit] }),
        20 => tree(number),
        21 => LabEvent::Advice(vec![advice]),
        // A step that may go back.
        _ => step(number + 1, number as f32),
    }
}

/// What a client has after these bytes.
fn carried(client: &mut LabState, update: Update) {
    let frame = encode(&Told::State(Box::new(update)), TO_CLIENT).unwrap();
    match read(&mut &frame[..], TO_CLIENT).unwrap() {
        Told::State(update) => update.apply(client).unwrap(),
        told => panic!("{told:?} is no state"),
    }
}

/// All that travels of a state. Of what can be gone back to, that is how far it is, and the curves of branches' ends.
fn shown(state: &LabState) -> String {
    let far = |run: &Arc<RunState>| run.progress;
    let branch = |branch: &Branch| {
        let kept: Vec<Progress> = branch.kept.iter().map(far).collect();
        let tip = branch.tip.as_ref().map(|tip| (far(tip), tip.history.clone()));
        format!("{} {:?} {kept:?} {tip:?}", branch.name, branch.fork)
    };
    let tree: Vec<String> = state.tree.branches().iter().map(branch).collect();
    format!("{} {tree:?} {:?}", state.tree.on(), LabState { tree: Arc::default(), ..state.clone() })
}

/// Both states as they can be compared: the curve's points first, then all else.
#[track_caller]
fn check_same(client: &LabState, lab: &LabState) {
    assert_eq!(client.history, lab.history);
    assert_eq!(shown(client), shown(lab));
}

/// Also when it was thinned since the client had it.
#[test]
fn a_long_history_comes_as_it_is() {
    let (mut lab, mut had, mut client) = (LabState::default(), LabState::default(), LabState::default());
    lab.apply(begun());
    for end in [60_000, 150_000] {
        for number in lab.history.steps.last().map_or(0, |last| last.step) + 1..=end {
            lab.apply(step(number, 1.0));
        }
        lab.apply(epoch(end));
        carried(&mut client, Update::next(&mut had, &lab));
        check_same(&client, &lab);
    }
}

#[test]
fn little_travels_while_it_trains() {
    let mut lab = LabState::default();
    lab.apply(begun());
    (1..=5000).for_each(|number| lab.apply(step(number, 1.0)));
    let mut had = LabState::default();
    let whole = encode(&Told::State(Box::new(Update::next(&mut had, &lab))), TO_CLIENT).unwrap().len();
    (5001..=5060).for_each(|number| lab.apply(step(number, 1.0)));
    let part = encode(&Told::State(Box::new(Update::next(&mut had, &lab))), TO_CLIENT).unwrap().len();
    let nothing = encode(&Told::State(Box::new(Update::next(&mut had, &lab))), TO_CLIENT).unwrap().len();
    assert!(whole > 60_000 && part < 2000 && nothing < 50, "{whole}, {part}, {nothing}");
}

/// Of the minutes that are looked back on only what is new travels, also when the oldest is forgotten.
#[test]
fn readings_of_the_gpu_travel_once() {
    let (mut lab, mut had, mut client) = (LabState::default(), LabState::default(), LabState::default());
    lab.apply(begun());
    for second in 0..1000 {
        let reading = GpuReading { utilisation: Some((second % 7) as u8), ..GpuReading::default() };
        lab.apply(LabEvent::Gpu(Some(GpuSample { seconds: second, reading })));
        let update = Update::next(&mut had, &lab);
        let bytes = encode(&Told::State(Box::new(update.clone())), TO_CLIENT).unwrap().len();
        assert!(second == 0 || bytes < 60, "{bytes}");
        carried(&mut client, update);
        assert_eq!(client.gpu, lab.gpu);
    }
    lab.apply(LabEvent::Gpu(None));
    carried(&mut client, Update::next(&mut had, &lab));
    assert_eq!(client.gpu, lab.gpu);
}

#[test]
fn opening_lines_are_understood_or_refused() {
    assert_eq!(read_knock(&knock(8)), Some(Ok(8)));
    for line in ["", "GET / HTTP/1.1\r\n", "mnist-lab", &knock(0), "\u{0}\u{1}"] {
        assert!(!matches!(read_knock(line), Some(Ok(_))), "{line}");
    }
    assert!(read_knock("mnist-lab 9.9.9/4 8\n").unwrap().unwrap_err().contains("9.9.9"));
    let refused = |line: &str| read_answer(line, "here").unwrap_err().to_string();
    assert!(read_answer(&super::wire::open(), "here").is_ok());
    assert!(refused(&super::wire::refusal("is full")).ends_with("is full"));
    assert!(refused("mnist-lab 9.9.9/4\n").contains("attach with the program that trains"));
    assert!(refused("220 smtp ready").contains("no run of mnist-lab"));
    assert!(refused("").contains("no run of mnist-lab"));
}

#[test]
fn what_is_too_long_is_refused_before_it_is_read() {
    let long = Ask { id: 1, asked: Asked::Line("x".repeat(TO_LAB)) };
    assert!(matches!(encode(&long, TO_LAB), Err(FrameError::TooLong(_))));
    let endless = [0xff; 8];
    assert!(matches!(read::<Ask>(&mut &endless[..], TO_LAB), Err(FrameError::TooLong(_))));
    assert!(matches!(read::<Ask>(&mut &endless[..3], TO_LAB), Err(FrameError::Line(_))));
}

#[test]
fn images_travel_as_they_are() {
    let images = vec![[7; PIXELS], [200; PIXELS]];
    let asked = Asked::from(Command::Classify { images: images.clone(), depth: Depth::Classes });
    let frame = encode(&Ask { id: 3, asked }, TO_LAB).unwrap();
    let asked = read::<Ask>(&mut &frame[..], TO_LAB).unwrap().asked;
    assert_eq!(asked.command().unwrap(), Command::Classify { images, depth: Depth::Classes });
    assert!(Asked::Classify(vec![vec![0; PIXELS - 1]]).command().is_err());
    let answer = Classified { probabilities: vec![[0.1; 10]], saliency: Vec::new(), epoch: 2, step: 90 };
    assert_eq!(Reply::from(Answer::from(Reply::Classified(answer.clone()))), Reply::Classified(answer));
}

#[test]
fn files_are_named_from_the_root_and_what_the_lab_knows_by_itself_is_not() {
    let command = |line: &str| Command::parse(line).unwrap().unwrap();
    for line in ["predict 42 drawings/7-0003.png", "explain drawings/7-0003.png", "nearest drawings/0-1.png"] {
        assert_eq!(from_root(command(line)), command(line), "{line}");
    }
    let here = |name: &str| std::path::absolute(name).unwrap().display().to_string();
    for (line, name) in [
        ("predict FILE", "digit.png"),
        ("explain FILE --class 3", "drawings/mine.png"),
        ("nearest FILE", "digit.png"),
        ("tune --trials 9 --space FILE", "space.toml"),
        ("plot FILE", "curves.svg"),
        ("export --output FILE", "digits.h5"),
        ("draw save FILE", "seven.png"),
    ] {
        let of = |name: &str| command(&line.replace("FILE", &format!("'{name}'")));
        assert_eq!(from_root(of(name)), of(&here(name)), "{line}");
    }
}

proptest! {
    /// Whatever happens, and whenever a client takes its share of it, it comes to have what the lab has.
    #[test]
    fn a_client_comes_to_have_what_the_lab_has(
        events in proptest::collection::vec((0_u8..25, 1_u64..40, any::<bool>()), 1..60)
    ) {
        let (mut lab, mut had, mut client) = (LabState::default(), LabState::default(), LabState::default());
        lab.apply(begun());
        for (kind, number, taken) in events {
            lab.apply(event(kind, number));
            if taken {
                carried(&mut client, Update::next(&mut had, &lab));
                prop_assert_eq!(shown(&client), shown(&lab));
            }
        }
        carried(&mut client, Update::next(&mut had, &lab));
        prop_assert_eq!(shown(&client), shown(&lab));
    }

    /// A frame in which one byte is another is never taken for a message; nor is one that is cut off.
    #[test]
    fn damage_is_noticed(kind in 0_u8..25, at in any::<proptest::sample::Index>(), flip in 1_u8.., cut in any::<bool>()) {
        let mut lab = LabState::default();
        lab.apply(begun());
        lab.apply(event(kind, 5));
        let told = Told::State(Box::new(Update::next(&mut LabState::default(), &lab)));
        let mut frame = encode(&told, TO_CLIENT).unwrap();
        let at = at.index(frame.len());
        if cut { frame.truncate(at) } else { frame[at] ^= flip }
        prop_assert!(read::<Told>(&mut &frame[..], TO_CLIENT).is_err());
    }

    /// Random bytes with a right checksum reach the decoder itself.
    #[test]
    fn nonsense_is_no_message(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut frame = (body.len() as u32).to_le_bytes().to_vec();
        frame.extend(crc32fast::hash(&body).to_le_bytes());
        frame.extend(&body);
        if let Ok(Told::State(update)) = read::<Told>(&mut &frame[..], TO_CLIENT) {
            // What decodes by chance is applied or refused.
            let _ = update.apply(&mut LabState::default());
        }
        if let Ok(Ask { asked, .. }) = read::<Ask>(&mut &frame[..], TO_LAB) {
            let _ = asked.command();
        }
        let _ = read_knock(&String::from_utf8_lossy(&body));
    }
}
