//! Session files: what is saved comes back, and no bytes whatever make the reader panic.

use std::fs;
use std::sync::Arc;

use mnist_lab::data::teacher::Teacher;
use mnist_lab::nn::norms::LayerNorm;
use mnist_lab::nn::optim::{OptimizerKind, OptimizerState};
use mnist_lab::nn::{NamedTensor, NetworkState};
use mnist_lab::session::{DataMark, FileError, Session, SessionError, Store, VERSION, decode, encode};
use mnist_lab::train::history::{Edit, EpochRecord, History, Measured, NormRecord, StepRecord};
use mnist_lab::train::settings::Settings;
use mnist_lab::train::tree::{Branch, Fork, Tree};
use mnist_lab::train::{Best, Progress, RunConfig, RunState};
use proptest::prelude::{any, prop};
use proptest::{prop_assert, prop_assert_eq, proptest};

/// Where the payload begins: after the magic, the version, the length and the checksum.
const HEADER: usize = 8 + 4 + 8 + 32;

fn network(first: f32) -> NetworkState {
    let tensor = |name: &str, shape: &[usize]| NamedTensor {
        name: name.into(),
        shape: shape.into(),
        values: (0..shape.iter().product()).map(|n: usize| first + n as f32).collect(),
    };
    let tensors = vec![tensor("1.weight", &[10, 3]), tensor("1.bias", &[10])];
    let moments: Vec<Vec<f32>> = tensors.iter().map(|tensor| tensor.values.clone()).collect();
    let optimizer = OptimizerState { kind: OptimizerKind::Adam, updates: 7, moments: vec![moments.clone(), moments] };
    NetworkState { tensors, trained: None, optimizer }
}

/// The same with weights that training goes on from, and their average.
fn averaged(first: f32) -> NetworkState {
    NetworkState { trained: Some(network(first + 0.5).tensors), ..network(first) }
}

fn session() -> Session {
    let run = run();
    let state = |epoch: u32, step: u64| {
        let progress = Progress { epoch, step, ..Progress::default() };
        let history = run.history.beginning([step as usize, usize::from(epoch > 0), usize::from(step > 2)]);
        Arc::new(RunState { progress, history, network: network(step as f32), best: None, ..run.clone() })
    };
    let (start, first) = (state(0, 0), state(1, 4));
    let further = Arc::new(RunState {
        history: History { edits: Vec::new(), ..run.history.clone() },
        ..RunState::clone(&state(1, 5))
    });
    let branches = vec![
        Branch { name: "main".into(), fork: None, kept: vec![start.clone()], tip: Some(further) },
        Branch {
            name: "slow".into(),
            fork: Some(Fork { branch: "main".into(), epoch: 0, step: 0 }),
            kept: vec![start, first],
            tip: None,
        },
    ];
    let tree = Tree::new(branches, 1).expect("the second of two");
    Session { data: DataMark { name: "MNIST".into(), fingerprint: 42 }, run, tree }
}

fn run() -> RunState {
    let teacher = Teacher { sessions: vec!["a".into(), "b".into()], logits: vec![[0.5; 10], [-1.25; 10]] };
    let config = RunConfig {
        arch: "flatten dense10".parse().expect("it is one"),
        seed: u64::MAX,
        validation_split: 0.2,
        teacher: Some(Arc::new(teacher)),
    };
    let step = |step| StepRecord { step, loss: 1.5 / step as f32, accuracy: 0.5, learning_rate: 1e-3 };
    let epoch = EpochRecord {
        epoch: 1,
        step: 4,
        train_loss: 0.5,
        train_accuracy: 0.9,
        validation: Some(Measured { loss: 0.4, accuracy: 0.95 }),
        learning_rate: 1e-3,
        seconds: 1.25,
        samples: 256,
    };
    let norm = LayerNorm { gradient: 0.5, weight: 1.25, update: 1e-3 };
    let norms = |step| NormRecord { step, layers: [norm, LayerNorm::default()].into() };
    let edit = Edit { step: 2, setting: "lr".into(), from: "0.001".into(), to: "0.0003".into() };
    RunState {
        config,
        settings: Settings { dropout: 0.25, learning_rate: 3e-4, ..Settings::default() },
        progress: Progress { epoch: 1, sample: 64, step: 5, loss_sum: 12.5, correct: 60, ..Progress::default() },
        network: averaged(0.1),
        best: Some(Best { epoch: 1, loss: 0.4, network: averaged(0.3) }),
        history: History {
            steps: (1..=5).map(step).collect(),
            epochs: [epoch].into_iter().collect(),
            edits: vec![edit],
            norms: [1, 4].map(norms).into_iter().collect(),
        },
    }
}

fn bytes() -> Vec<u8> {
    encode(&session()).expect("it is small")
}

/// Makes the header tell the truth about a payload that was changed.
fn mend_header(bytes: &mut [u8]) {
    let (header, payload) = bytes.split_at_mut(HEADER);
    header[12..20].copy_from_slice(&(payload.len() as u64).to_le_bytes());
    header[20..].copy_from_slice(blake3::hash(payload).as_bytes());
}

#[test]
fn what_is_encoded_comes_back() {
    assert_eq!(decode(&bytes()).expect("it is whole"), session());
}

#[test]
fn branches_share_their_states() {
    let session = session();
    let shared = |session: &Session| {
        let branches = session.tree.branches();
        Arc::ptr_eq(&branches[0].kept[0], &branches[1].kept[0])
    };
    assert!(shared(&session) && shared(&decode(&bytes()).expect("it is whole")));
    let alone = Session { tree: Tree::default(), ..session };
    let state = encode(&Session { tree: Tree::default(), ..alone.clone() }).expect("it is small").len();
    assert!(bytes().len() < 5 * state, "four states with one history, not eight");
}

/// A session that the first version of the program saved: a run of ten epochs without a tree.
#[test]
fn the_first_version_is_still_read() {
    let bytes = include_bytes!("../sessions/demo.mlab");
    assert_eq!(bytes[8..12], 1u32.to_le_bytes());
    let session = decode(bytes).expect("it is whole");
    assert_eq!(session.tree, Tree::default());
    assert_eq!(session.run.history.epochs.len() as u32, session.run.progress.epoch);
    assert!(session.run.progress.epoch > 0);
    assert_eq!(decode(&encode(&session).expect("it is small")).expect("it is whole"), session, "and written anew");
}

/// A session of the second version: it went back to its first epoch and on as a branch.
#[test]
fn the_second_version_is_still_read() {
    let bytes = include_bytes!("fixtures/version-2.mlab");
    assert_eq!(bytes[8..12], 2u32.to_le_bytes());
    let session = decode(bytes).expect("it is whole");
    let [trunk, branch] = session.tree.branches() else { panic!("{:?}", session.tree.branches()) };
    let epochs = |kept: &[Arc<RunState>]| kept.iter().map(|state| state.progress.epoch).collect::<Vec<_>>();
    assert_eq!((epochs(&trunk.kept), epochs(&branch.kept)), (vec![0, 1, 2], vec![0, 1, 2, 3]));
    assert_eq!((session.run.history.steps.len(), session.run.history.edits.len()), (72, 2));
    assert!(session.run.history.norms.is_empty(), "nobody measured them then");
    assert_eq!(decode(&encode(&session).expect("it is small")).expect("it is whole"), session, "and written anew");
}

#[test]
fn a_branch_that_is_not_there_is_refused() {
    let whole = session();
    assert!(Tree::new(whole.tree.branches().to_vec(), 2).is_none());
    let mut kept = whole.tree.branches().to_vec();
    let mut longer = RunState::clone(&kept[1].kept[1]);
    longer.history.edits.extend(vec![longer.history.edits[0].clone(); 9]);
    kept[1].kept[1] = Arc::new(longer);
    let tree = Tree::new(kept, 1).expect("the second of two");
    let error =
        decode(&encode(&Session { tree, ..whole }).expect("it is small")).expect_err("nobody made such a state");
    assert!(error.to_string().contains("more history than its branch"), "{error}");
}

#[test]
fn a_teacher_that_says_no_logits_is_refused() {
    let taught = |sessions: &[&str], logit: f32| {
        let mut session = session();
        let sessions = sessions.iter().map(ToString::to_string).collect();
        session.run.config.teacher = Some(Arc::new(Teacher { sessions, logits: vec![[logit; 10]] }));
        decode(&encode(&session).expect("it is small"))
    };
    assert!(taught(&["a"], 1.0).is_ok());
    assert!(taught(&["a\u{1b}[31m"], 1.0).expect_err("it is no name").to_string().contains("no name for a session"));
    for refused in [taught(&[], 1.0), taught(&["a"], f32::NAN), taught(&["a"], f32::INFINITY)] {
        let error = refused.expect_err("nobody wrote such a session").to_string();
        assert!(error.contains("teacher: these are no logits"), "{error}");
    }
    // Half of a sample's.
    let mut bytes = encode(&Session { tree: Tree::default(), ..session() }).expect("it is small");
    let end = bytes.len() - 20 * 4;
    assert_eq!(bytes[end - 1], 20, "the number of logits stands before them");
    bytes[end - 1] = 15;
    bytes.truncate(end + 15 * 4);
    mend_header(&mut bytes);
    assert!(decode(&bytes).expect_err("it is half").to_string().contains("these are no logits"));
}

#[test]
fn numbers_that_are_none_come_back_bit_for_bit() {
    let mut session = session();
    let odd = [f32::NAN, f32::INFINITY, -0.0, f32::MIN_POSITIVE / 2.0];
    session.run.network.tensors[1].values[..4].copy_from_slice(&odd);
    let back = decode(&encode(&session).expect("it is small")).expect("it is whole");
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&back.run.network.tensors[1].values[..4]), bits(&odd));
}

#[test]
fn each_kind_of_damage_has_its_sentence() {
    let whole = bytes();
    let damaged = |damage: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        damage(&mut bytes);
        decode(&bytes).expect_err("it is damaged")
    };
    assert_eq!(damaged(&|bytes| bytes.clear()), FileError::Foreign);
    assert_eq!(damaged(&|bytes| bytes[0] = b'X'), FileError::Foreign);
    assert_eq!(
        damaged(&|bytes| bytes[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes())),
        FileError::Newer(VERSION + 1)
    );
    assert!(matches!(damaged(&|bytes| bytes.truncate(30)), FileError::Length { .. }));
    assert!(matches!(damaged(&|bytes| bytes.truncate(bytes.len() - 1)), FileError::Length { .. }));
    assert!(matches!(damaged(&|bytes| bytes.push(0)), FileError::Length { .. }));
    assert_eq!(damaged(&|bytes| bytes[HEADER + 9] ^= 1), FileError::Checksum);
    assert_eq!(damaged(&|bytes| bytes[25] ^= 1), FileError::Checksum);
    let longer = damaged(&|bytes| {
        bytes.push(0);
        mend_header(bytes);
    });
    assert!(matches!(longer, FileError::Content(_)), "{longer}");
}

#[test]
fn a_name_can_not_lead_out_of_the_folder() {
    let folder = tempfile::tempdir().expect("there is room");
    let store = Store::new(folder.path().join("sessions"));
    for name in ["", ".", "..", "../a", "a/b", "/a", ".hidden", "a b", &"a".repeat(101)] {
        assert!(matches!(store.save(name, &session()), Err(SessionError::Name(_))), "`{name}`");
        assert!(matches!(store.load(name), Err(SessionError::Name(_))), "`{name}`");
    }
    assert!(!store.folder().exists(), "nothing was written");
}

#[test]
fn a_name_is_claimed_by_one_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::new(folder.path().join("new"));
    let claim = store.claim("a").expect("nobody has it").expect("there are locks");
    let refused = store.claim("a").expect_err("somebody has it");
    let own = std::process::id();
    assert!(matches!(refused, SessionError::Taken { process: Some(process), .. } if process == own), "{refused}");
    assert!(refused.to_string().contains("`a` is open in another mnist-lab"), "{refused}");
    let (free, _held) = store.claim_free();
    assert_eq!((free.as_str(), store.claim_free().0.as_str()), ("run-1", "run-2"));
    drop(claim);
    assert!(store.claim("a").expect("it was given back").is_some());
    // A lock file that is a link might lead to anything.
    let precious = folder.path().join("precious");
    fs::write(&precious, "mine").expect("a file");
    std::os::unix::fs::symlink(&precious, store.folder().join(".b.lock")).expect("a link");
    assert!(store.claim("b").expect("there is no lock").is_none());
    assert_eq!(fs::read_to_string(&precious).expect("it is there"), "mine");
}

#[test]
fn what_a_killed_process_left_half_written_is_cleared_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::new(folder.path());
    let place = |name: &str| folder.path().join(name);
    for name in [".saving-old", ".saving-young", ".saving-busy", "old.mlab"] {
        fs::write(place(name), "half").expect("a file");
    }
    let open = |name: &str| fs::File::options().append(true).open(place(name)).expect("it is there");
    let hour = std::time::SystemTime::now() - std::time::Duration::from_hours(1);
    for name in [".saving-old", ".saving-busy", "old.mlab"] {
        open(name).set_modified(hour).expect("a time");
    }
    let busy = open(".saving-busy");
    busy.lock().expect("a lock");
    drop(store.claim("a"));
    let left = [".saving-old", ".saving-young", ".saving-busy", "old.mlab"].map(|name| place(name).exists());
    assert_eq!(left, [false, true, true, true]);
}

/// What is kept of a long run's epochs finds its part of a history that was thinned since.
#[test]
fn a_thinned_history_goes_to_a_file_and_back() {
    let mut run = run();
    run.history = History::default();
    let mut early = None;
    for step in 1..=200_000 {
        let record = StepRecord { step, loss: (step % 97) as f32, accuracy: 0.5, learning_rate: 1e-3 };
        run.history.push(record, None);
        if step == 50_000 {
            run.progress.step = step;
            early = Some(Arc::new(run.clone()));
        }
    }
    run.progress.step = 200_000;
    let branch = Branch { name: "main".into(), fork: None, kept: early.into_iter().collect(), tip: None };
    let tree = Tree::new(vec![branch], 0).expect("the only one");
    let back = decode(&encode(&Session { run, tree, ..session() }).expect("it is small")).expect("it is whole");
    let kept = &back.tree.branches()[0].kept[0].history;
    let last = kept.steps.last().expect("there are some").step;
    assert!(kept.steps.len() > 1000 && (49_000..=50_000).contains(&last), "{} until {last}", kept.steps.len());
}

/// A session of the third version: norms of its layers, two branches.
#[test]
fn the_third_version_is_still_read() {
    let bytes = include_bytes!("fixtures/version-3.mlab");
    assert_eq!(bytes[8..12], 3u32.to_le_bytes());
    let session = decode(bytes).expect("it is whole");
    let [trunk, branch] = session.tree.branches() else { panic!("{:?}", session.tree.branches()) };
    let epochs = |kept: &[Arc<RunState>]| kept.iter().map(|state| state.progress.epoch).collect::<Vec<_>>();
    assert_eq!((epochs(&trunk.kept), epochs(&branch.kept)), (vec![0, 1, 2], vec![0, 1, 2, 3]));
    assert!(!session.run.history.norms.is_empty() && session.run.network.trained.is_some());
    assert_eq!(decode(&encode(&session).expect("it is small")).expect("it is whole"), session, "and written anew");
}

#[test]
fn saving_replaces_the_whole_file_and_leaves_nothing_beside_it() {
    let folder = tempfile::tempdir().expect("there is room");
    let store = Store::new(folder.path().join("a/b"));
    let mut session = session();
    store.save("run", &session).expect("it can be written");
    session.run.progress.step += 1;
    let (path, size) = store.save("run", &session).expect("it can be written");
    assert_eq!(store.load("run").expect("it is whole"), session);
    assert_eq!(fs::metadata(path).expect("it is there").len(), size);
    let files = fs::read_dir(store.folder()).expect("it is there").count();
    assert_eq!((files, store.free_name().as_str()), (1, "run-1"));
    store.remove("run").expect("it is there");
    assert!(matches!(store.load("run"), Err(SessionError::Missing { .. })));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn an_arbitrary_payload_is_refused(payload in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut bytes = bytes();
        bytes.truncate(HEADER);
        bytes.extend(payload);
        mend_header(&mut bytes);
        let refused = matches!(decode(&bytes), Err(FileError::Content(_)));
        prop_assert!(refused);
    }

    #[test]
    fn any_changed_byte_is_found(at in any::<prop::sample::Index>(), change in 1..=255u8) {
        let mut bytes = bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        // An older version number alone is no damage: the payload tells.
        let is_older = (8..12).contains(&at) && u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) <= VERSION;
        prop_assert!(is_older || decode(&bytes).is_err());
    }

    #[test]
    fn a_cut_file_is_refused(length in any::<prop::sample::Index>()) {
        let whole = bytes();
        prop_assert!(decode(&whole[..length.index(whole.len())]).is_err());
    }

    /// What the checksum does not catch, since it was made for the changed payload: whatever is read can be written again.
    #[test]
    fn a_changed_payload_with_its_own_checksum_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = bytes();
        for (at, value) in changes {
            let at = HEADER + at.index(bytes.len() - HEADER);
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            let length = HEADER + cut.index(bytes.len() - HEADER);
            bytes.truncate(length);
        }
        mend_header(&mut bytes);
        if let Ok(session) = decode(&bytes) {
            let again = decode(&encode(&session).expect("it was small")).expect("it was just written");
            prop_assert_eq!(format!("{again:?}"), format!("{session:?}"));
        }
    }
}
