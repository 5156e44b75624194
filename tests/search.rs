//! Searches on real training: killed and gone on with, shared by workers, the same by seed.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::HashMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use mnist_lab::arch::Arch;
use mnist_lab::data::{Dataset, Images};
use mnist_lab::error::Error;
use mnist_lab::nn::{self, DeviceChoice, Kernels, Setup};
use mnist_lab::search::{Search, SearchOptions, SearchPhase, check_free, keep_as_session, open_as_session};
use mnist_lab::session::{DataMark, Store};
use mnist_lab::train::history::{EpochRecord, Measured};
use mnist_lab::train::settings::{Setting, Settings};
use mnist_lab::tune::journal::Journal;
use mnist_lab::tune::space::Space;
use mnist_lab::tune::study::{Algorithm, Objective, Stopping, Study};
use mnist_lab::tune::trial::{Ending, Trials};
use mnist_lab::tune::work::{Event, Rest, work};

/// The first 300 training and 50 test digits of MNIST.
static DATA: LazyLock<Dataset> = LazyLock::new(|| {
    let mnist = Dataset::open(None).unwrap();
    let cut = |images: &Images, len: usize| {
        let pixels = (0..len).flat_map(|index| *images.image(index)).collect();
        Images::new(pixels, images.labels()[..len].to_vec())
    };
    Dataset::new("small MNIST".into(), cut(&mnist.train, 300), cut(&mnist.test, 50))
});

const SPACE: &str = "arch = \"conv4:5x5:s2 relu flatten {layers * dense{units} relu dropout} dense10\"\n\
    [parameters]\nlayers = { from = 0, to = 2 }\nunits = { from = 8, to = 32, step = 8 }\n\
    lr = { from = 1e-3, to = 3e-2, log = true }\ndropout = { from = 0.0, to = 0.5 }\naugment = [\"none\", \"tutorial\"]";

fn study(algorithm: Algorithm) -> Study {
    Study {
        space: Space::parse(SPACE, "test").unwrap(),
        objective: Objective::ValLoss,
        algorithm,
        stopping: Stopping::Median,
        trials: 12,
        epochs: 3,
        lag: 3,
        seed: 1,
        validation_split: 0.3,
        settings: Settings { batch_size: 32, ..Settings::default() },
        data: DataMark { name: DATA.name.clone(), fingerprint: DATA.fingerprint() },
    }
}

fn build(arch: &Arch) -> Result<Box<dyn nn::Network>, nn::NetworkError> {
    let setup = Setup { device: DeviceChoice::Cpu, threads: 1, seed: 1, ..Setup::default() };
    nn::build(arch, &setup).map(|(network, _)| network)
}

/// Works on the search in `folder`; `goes_on` is asked after each event.
fn search(folder: &Path, study: &Study, mut goes_on: impl FnMut(&Event) -> bool) -> Rest {
    let mut journal = Journal::begin(folder, study).unwrap();
    let mut tell = |event: Event| if goes_on(&event) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
    work(study, &mut journal, &DATA, &build, &mut tell).unwrap()
}

/// All results, without what is not the same twice: who and how long.
fn results(folder: &Path) -> Vec<(u32, Vec<String>, Vec<Measured>, Ending)> {
    let (mut journal, _) = Journal::open(folder).unwrap();
    journal.refresh().unwrap();
    let trials: &Trials = journal.trials();
    trials.iter().map(|t| (t.number, t.values.clone(), t.scores.clone(), t.ending.clone())).collect()
}

#[test]
fn a_search_is_the_same_in_one_go_by_two_workers_and_after_interruptions() {
    for algorithm in [Algorithm::Tpe, Algorithm::Hyperband] {
        let study = study(algorithm);
        let whole = tempfile::tempdir().unwrap();
        assert_eq!(search(whole.path(), &study, |_| true), Rest::Done);
        let expected = results(whole.path());
        assert_eq!(expected.len(), 12);
        assert!(expected.iter().any(|(_, _, scores, _)| scores.len() < 3), "{algorithm}: some are given up early");

        let shared = tempfile::tempdir().unwrap();
        let worked = thread::scope(|scope| {
            let work = || {
                let mut begun = HashMap::new();
                let rest = search(shared.path(), &study, |event| {
                    if let Event::Begun { task, .. } = event {
                        *begun.entry(*task).or_insert(0) += 1;
                    }
                    true
                });
                assert_eq!(rest, Rest::Done);
                begun
            };
            let threads = [scope.spawn(work), scope.spawn(work)];
            threads.map(|thread| thread.join().unwrap())
        });
        assert_eq!(results(shared.path()), expected, "{algorithm}: two workers");
        let [one, other] = &worked;
        assert!(!one.is_empty() && !other.is_empty(), "{algorithm}: both worked");
        assert!(one.keys().all(|task| !other.contains_key(task)), "{algorithm}: no task was done twice");
        assert!(one.values().chain(other.values()).all(|times| *times == 1));

        // Told to end after every few steps, in the middle of epochs.
        let stopped = tempfile::tempdir().unwrap();
        let mut turns = 0;
        loop {
            let mut events = 0;
            turns += 1;
            let rest = search(stopped.path(), &study, |_| {
                events += 1;
                events < 40
            });
            if rest == Rest::Done {
                break;
            }
            assert!(turns < 200, "it comes to an end");
        }
        assert!(turns > 4, "{turns} turns");
        assert_eq!(results(stopped.path()), expected, "{algorithm}: after interruptions");
    }
}

/// A worker of another process on the search in `folder`.
fn worker(folder: &Path) -> Result<Search, Error> {
    Search::start(&SearchOptions {
        folder: folder.into(),
        study: None,
        dataset: DATA.clone(),
        device: DeviceChoice::Cpu,
        kernels: Kernels::Auto,
        threads: Some(1),
        jobs: Some(1),
    })
}

#[test]
fn a_worker_makes_the_trials_that_were_added() {
    let few = Study { trials: 2, ..study(Algorithm::Random) };
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(search(folder.path(), &few, |_| true), Rest::Done);
    Journal::begin(folder.path(), &Study { trials: 4, ..few }).unwrap();
    let mut worker = worker(folder.path()).unwrap();
    while worker.goes_on() {
        worker.next(Duration::from_millis(50));
    }
    assert_eq!(worker.state().phase, SearchPhase::Done);
    assert_eq!(results(folder.path()).len(), 4);
}

#[test]
fn a_trial_replaces_no_session_but_one_of_its_search() {
    let (folder, sessions) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = Study { trials: 1, epochs: 1, ..study(Algorithm::Random) };
    assert_eq!(search(folder.path(), &one, |_| true), Rest::Done);
    let (store, number) = (Store::new(sessions.path()), results(folder.path())[0].0);
    let own = format!("a-{number}");
    let kept = || keep_as_session(folder.path(), number, &store, "a");
    let open = store.claim("a").unwrap();
    assert_eq!((kept().unwrap(), store.has("a")), (own.clone(), false));
    drop(open);
    // Its own it may replace, and does.
    assert_eq!([kept().unwrap(), kept().unwrap()], ["a", "a"]);
    let mut trained_on = store.load("a").unwrap();
    trained_on.run.progress.step += 1;
    store.save("a", &trained_on).unwrap();
    assert_eq!(kept().unwrap(), own);
    fs::write(sessions.path().join(format!("{own}.mlab")), "damaged").unwrap();
    assert!(matches!(kept(), Err(Error::Usage(sentence)) if sentence.contains(&own)));
    assert_eq!(store.load("a").unwrap(), trained_on);
    // Nor does a search begin that would have to.
    let elsewhere = folder.path().join("elsewhere");
    assert!(check_free(folder.path(), &store, "a").is_ok() && check_free(&elsewhere, &store, "b").is_ok());
    assert!(check_free(&elsewhere, &store, "a").is_err());
}

#[test]
fn a_trial_is_opened_as_what_was_made_of_it_and_not_as_another_run() {
    let (folder, sessions) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let two = Study { trials: 2, epochs: 1, ..study(Algorithm::Random) };
    assert_eq!(search(folder.path(), &two, |_| true), Rest::Done);
    let store = Store::new(sessions.path());
    let open = |number| open_as_session(folder.path(), number, &store, "a");
    assert_eq!(open(0).unwrap(), "a-0");
    let mut trained_on = store.load("a-0").unwrap();
    let last = *trained_on.run.history.epochs.last().unwrap();
    trained_on.run.history.epochs.push(EpochRecord { epoch: 2, ..last });
    store.save("a-0", &trained_on).unwrap();
    assert_eq!(open(0).unwrap(), "a-0");
    assert_eq!(store.load("a-0").unwrap(), trained_on);
    store.save("a-1", &trained_on).unwrap();
    assert!(matches!(open(1), Err(Error::Usage(sentence)) if sentence.contains("`a-1`")));
}

#[test]
fn a_worker_refuses_what_can_not_be_searched() {
    let folder = tempfile::tempdir().unwrap();
    let endless = Study { epochs: u32::MAX, ..study(Algorithm::Hyperband) };
    Journal::begin(folder.path(), &endless).unwrap();
    let sentence = worker(folder.path()).unwrap_err().to_string();
    assert!(sentence.contains("epochs a trial"), "{sentence}");
}

#[test]
fn a_promoted_trial_goes_on_from_where_it_was() {
    let study = Study { trials: 6, ..study(Algorithm::Halving) };
    let folder = tempfile::tempdir().unwrap();
    let mut begun = Vec::new();
    search(folder.path(), &study, |event| {
        if let Event::Begun { task, epochs, .. } = event {
            begun.push((task.epochs, *epochs));
        }
        true
    });
    assert_eq!(begun, [(1, 0), (1, 0), (1, 0), (1, 0), (1, 0), (1, 0), (3, 1), (3, 1)]);
}

/// The weights that are kept are those that were measured, also where the trial's own early stopping took earlier ones back.
#[test]
fn a_trials_run_is_what_its_score_says() {
    let space = Space::parse(
        "arch = \"flatten dense{units} relu dense10\"\n[settings]\nearly-stop = 1\n[parameters]\nunits = [8, 16]\nlr = [0.003, 0.3]",
        "t",
    );
    let study =
        Study { space: space.unwrap(), trials: 4, epochs: 12, stopping: Stopping::None, ..study(Algorithm::Random) };
    let folder = tempfile::tempdir().unwrap();
    search(folder.path(), &study, |_| true);
    let (mut journal, _) = Journal::open(folder.path()).unwrap();
    journal.refresh().unwrap();
    assert!(journal.trials().iter().any(|trial| matches!(trial.ending, Ending::EarlyStop { .. })), "one stops early");
    for trial in journal.trials().iter() {
        let run = journal.run(trial.number).unwrap().unwrap().run;
        let network = build(&run.config.arch).unwrap();
        let mut trainer = mnist_lab::train::Trainer::resume(&run, DATA.clone(), network).unwrap();
        let (images, split) = (DATA.train.clone(), trainer.split().validation.clone());
        let measured = trainer.evaluate(&images, split).unwrap();
        assert_eq!(Some(measured.loss()), trial.score().map(|score| score.loss), "{trial:?}");
        let value = |name: &str| name.parse::<Setting>().unwrap().get(&run.settings);
        assert_eq!((value("lr"), value("early-stop")), (trial.values[1].clone(), "1".into()));
    }
}
