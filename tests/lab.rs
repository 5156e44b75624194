//! The lab as its front ends see it: commands in, answers and states out.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use mnist_lab::advice::Finding;
use mnist_lab::command::Command;
use mnist_lab::error::Error;
use mnist_lab::lab::gauge::Meter;
use mnist_lab::lab::{Autosave, Lab, LabOptions, Start};
use mnist_lab::nn::{DeviceChoice, Kernels};
use mnist_lab::reply::Reply;
use mnist_lab::search::SearchPhase;
use mnist_lab::session::Store;
use mnist_lab::state::{GpuReading, LabState, Level, Phase};
use mnist_lab::train::event::Reason;
use mnist_lab::train::settings::Settings;
use mnist_lab::train::{Goal, RunConfig};

/// A lab that trains the smallest network that learns, and the folder of its sessions.
struct Bench {
    lab: Lab,
    thread: Option<JoinHandle<()>>,
    runtime: tokio::runtime::Runtime,
}

impl Drop for Bench {
    /// Before the folder goes.
    fn drop(&mut self) {
        if self.runtime.block_on(self.lab.ask(Command::Quit)).is_ok() {
            self.thread.take().map(JoinHandle::join);
        }
    }
}

impl Bench {
    fn start(folder: &Path, start: Start) -> Self {
        Self::start_on(folder, start, 2)
    }

    fn start_on(folder: &Path, start: Start, threads: usize) -> Self {
        Self::start_with(folder, start, threads, |_| None)
    }

    fn start_with(folder: &Path, start: Start, threads: usize, meter: Meter) -> Self {
        let options = LabOptions {
            data: None,
            store: Store::new(folder),
            device: DeviceChoice::Cpu,
            kernels: Kernels::Auto,
            threads: Some(threads),
            start,
            name: None,
            autosave: Autosave::On,
            target: None,
            exporter: mnist_lab::export::model,
            plotter: mnist_lab::export::plot::state,
            meter,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (lab, thread) = Lab::start(options).unwrap();
        Self { lab, thread: Some(thread), runtime }
    }

    fn fresh(folder: &Path) -> Self {
        Self::fresh_of(folder, "flatten dense10", 2)
    }

    fn fresh_of(folder: &Path, arch: &str, epochs: u32) -> Self {
        let config = RunConfig { arch: arch.parse().unwrap(), seed: 1, validation_split: 0.2, teacher: None };
        let settings = Settings { epochs, batch_size: 256, ..Settings::default() };
        Self::start(folder, Start::fresh(config, settings, Vec::new()))
    }

    fn ask(&self, line: &str) -> Result<Reply, Error> {
        self.runtime.block_on(self.lab.ask(Command::parse(line).unwrap().unwrap()))
    }

    /// Asks and waits until the lab is at rest.
    fn run(&self, line: &str) -> Arc<LabState> {
        self.ask(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        self.until(|state| state.phase != Phase::Training)
    }

    fn until(&self, is_so: impl Fn(&LabState) -> bool) -> Arc<LabState> {
        let mut state = self.lab.state();
        let wait = async {
            tokio::time::timeout(Duration::from_mins(1), state.wait_for(|state| is_so(state)))
                .await
                .expect("the lab got there")
                .expect("the lab is alive")
                .clone()
        };
        self.runtime.block_on(wait)
    }

    fn digit(&self, line: &str) -> (String, u8, Option<(usize, usize)>) {
        match self.ask(line).unwrap() {
            Reply::Digits(digits) => (digits[0].source.to_string(), digits[0].predicted, digits[0].place),
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn a_run_that_went_back_to_its_start_is_saved_with_what_it_left() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::fresh(folder.path());
    bench.run("step 3");
    bench.run("rewind 0");
    bench.ask("quit").unwrap();
    let session = Store::new(folder.path()).load("run-1").unwrap();
    assert_eq!(session.run.progress.step, 0);
    assert_eq!(session.tree.ahead().unwrap().progress.step, 3);
}

#[test]
fn a_first_visit_from_start_to_quit() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::fresh(folder.path());
    let ready = bench.until(|state| state.phase == Phase::Ready);
    assert_eq!(ready.run.as_ref().unwrap().parameters, 7850);

    assert_eq!(bench.run("step 3").phase, Phase::Paused);
    let trained = bench.run("train 1");
    assert_eq!(trained.phase, Phase::Paused);
    assert_eq!((trained.progress.epoch, trained.history.steps.len()), (1, 188));
    assert!(trained.history.epochs[0].validation.unwrap().accuracy > 0.8);
    assert_eq!(trained.validation.unwrap().total(), 12_000);
    assert_eq!(trained.training.total(), 48_000);

    bench.ask("set lr 3e-4").unwrap();
    assert_eq!(bench.run("train").phase, Phase::Finished(Reason::Completed));
    let again = bench.ask("train").unwrap_err().to_string();
    assert!(again.contains("`train 5`"), "{again}");

    bench.ask("quit").unwrap();
    let last = bench.until(|state| state.phase == Phase::Closed);
    assert!(!last.is_unsaved());
    let resumed = Bench::start(folder.path(), Start::Session("run-1".into()));
    let resumed = resumed.until(|state| state.phase == Phase::Ready);
    assert_eq!(resumed.history, last.history);
    assert_eq!(resumed.settings, last.settings);
}

#[test]
fn digits_are_stepped_through_by_loss_and_filtered() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::fresh(folder.path());
    bench.run("train 1");

    let (worst, _, place) = bench.digit("next wrong");
    let (position, wrong) = place.unwrap();
    assert_eq!(position, 1);
    assert!((100..3000).contains(&wrong), "{wrong} of 10,000 are wrong");
    assert_eq!(bench.digit("next wrong").2, Some((2, wrong)));
    assert_eq!(bench.digit("prev").0, worst);
    assert_eq!(bench.digit("prev").2, Some((wrong, wrong)), "it goes round");

    let state = bench.until(|state| state.test.is_some());
    let evaluation = &state.test.as_ref().unwrap().evaluation;
    bench.ask("find true=4 pred=9").unwrap();
    let list = bench.until(|state| state.list.as_ref().is_some_and(|list| list.title == "true=4 pred=9"));
    let list = list.list.clone().unwrap();
    assert_eq!(list.indices.len() as u32, evaluation.confusion.counts[4][9]);
    for &index in list.indices.iter() {
        let outcome = evaluation.outcomes[index as usize];
        assert_eq!((outcome.label, outcome.predicted), (4, 9));
    }
    bench.ask("find class=4 wrong conf>0.5 conf<0.9").unwrap();
    let list = bench.until(|state| state.list.as_ref().is_some_and(|list| list.title.starts_with("class=4")));
    let found = list.list.clone().unwrap().indices.len();
    let fits = evaluation.outcomes.iter().filter(|outcome| {
        let sure = outcome.confidence > 0.5 && outcome.confidence <= 0.9;
        sure && outcome.is_wrong() && (outcome.label == 4 || outcome.predicted == 4)
    });
    assert_eq!(found, fits.count());
    assert!(found > 0);
    let second = list.list.clone().unwrap().indices[1];
    assert_eq!(bench.digit(&format!("predict {second}")).2, Some((2, found)), "it has a place in the list");
    assert_eq!(bench.digit("next").2, Some((3, found)));
    assert_eq!(bench.digit("next doubtful").2.unwrap().1, 15);
    let Reply::Digits(digits) = bench.ask("predict 947 42").unwrap() else { panic!() };
    assert!(digits[0].doubtful && !digits[1].doubtful);
    assert!((digits[1].probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-5);
}

#[test]
fn digits_are_listed_by_how_sure_the_network_is() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::fresh(folder.path());
    bench.run("train 1");
    let confidences = |line: &str| {
        bench.ask(line).unwrap();
        let Reply::Digits(digits) = bench.ask("next").unwrap() else { panic!("{line}") };
        let state = bench.until(|state| state.digit.as_ref() == Some(&digits[0]));
        let (list, test) = (state.list.clone().unwrap(), state.test.clone().unwrap());
        let outcomes = list.indices.iter().map(|&index| test.evaluation.outcomes[index as usize]);
        (list.title, list.position, outcomes.collect::<Vec<_>>())
    };
    let (title, position, outcomes) = confidences("next confident");
    assert_eq!((title.as_str(), position), ("surest mistakes", Some(1)));
    assert!(outcomes.iter().all(mnist_lab::metrics::Outcome::is_wrong));
    assert!(outcomes.is_sorted_by(|a, b| a.confidence >= b.confidence) && outcomes[0].confidence > 0.8);
    let (title, position, outcomes) = confidences("next unsure");
    assert_eq!((title.as_str(), position, outcomes.len()), ("least sure", Some(1), 10_000));
    assert!(outcomes.is_sorted_by(|a, b| a.confidence <= b.confidence));
}

#[test]
fn questions_and_changes_are_answered_while_it_trains() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::fresh(folder.path());
    bench.ask("set epochs 500").unwrap();
    bench.ask("train").unwrap();
    let before = bench.until(|state| state.progress.step > 10).progress.step;
    bench.ask("predict 42").unwrap();
    bench.ask("set batch-size 100").unwrap();
    bench.ask("set augment rotate=10,shift=0.1,zoom=0.1").unwrap();
    bench.digit("next wrong");
    bench.ask("eval --split validation").unwrap();
    let after = bench.until(|state| state.progress.step > before + 10);
    assert_eq!(after.phase, Phase::Training);
    bench.ask("pause").unwrap();
    let paused = bench.until(|state| state.phase == Phase::Paused).progress.step;
    assert!(bench.ask("pause").is_err());
    bench.ask("resume").unwrap();
    bench.until(|state| state.progress.step > paused);
    assert_eq!(bench.run("stop").phase, Phase::Finished(Reason::Interrupted));
    let edits = &bench.until(|_| true).history.edits;
    let names: Vec<&str> = edits.iter().map(|edit| edit.setting.as_str()).collect();
    assert_eq!(names, ["epochs", "batch-size", "augment"]);
}

#[test]
fn a_run_that_stopped_early_goes_on_for_as_long_again() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::fresh(folder.path());
    // So slow that no weight moves, and nothing gets better than after the first epoch.
    bench.ask("set lr 1e-300").unwrap();
    bench.ask("set early-stop 2").unwrap();
    for epochs in [3, 5] {
        let state = bench.run("train 9");
        assert_eq!(state.phase, Phase::Finished(Reason::EarlyStop { best_epoch: 1 }));
        assert_eq!(state.progress.epoch, epochs);
    }
}

#[test]
fn epochs_that_are_changed_while_it_trains_are_where_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::fresh(folder.path());
    let ends = |state: &LabState| {
        assert_eq!(state.phase, Phase::Finished(Reason::Completed));
        assert_eq!((state.goal, state.progress.sample), (Some(Goal::Epoch(state.progress.epoch)), 0));
        state.progress.epoch
    };
    // No epoch has time to end between the two.
    let train = bench.lab.send(Command::Train { epochs: None });
    assert_eq!(ends(&bench.run("set epochs 3")), 3);
    bench.runtime.block_on(train).unwrap().unwrap();
    // More are done already: the epoch that has begun is the last.
    bench.ask("train 500").unwrap();
    bench.until(|state| state.progress.epoch >= 3 && state.progress.sample > 0);
    let last = ends(&bench.run("set epochs 1"));
    assert!((4..500).contains(&last), "{last}");
    // A nearer goal stays what it is.
    bench.ask("set epochs 600").unwrap();
    let train = bench.lab.send(Command::Train { epochs: Some(2) });
    let held = bench.run("set epochs 700");
    assert_eq!((held.phase.clone(), held.progress.epoch), (Phase::Paused, last + 2));
    bench.runtime.block_on(train).unwrap().unwrap();
}

#[test]
fn a_search_does_not_take_the_name_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::fresh(folder.path());
    for name in ["run-1", "mine"] {
        let refused = bench.ask(&format!("tune --trials 1 --save {name}")).unwrap_err().to_string();
        assert!(refused.contains(&format!("`{name}` is this run's session")), "{refused}");
        bench.run("step 1");
        bench.ask("save mine").unwrap();
    }
}

#[test]
fn a_search_goes_on_where_the_lab_can_not_be_left() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::fresh(folder.path());
    bench.run("step 1");
    bench.ask("save a").unwrap();
    bench.run("step 1");
    // Where there is a folder no file can be put.
    let place = folder.path().join("a.mlab");
    std::fs::remove_file(&place).unwrap();
    std::fs::create_dir(&place).unwrap();
    bench.ask("tune --trials 1 --jobs 1 --save b").unwrap();
    let refused = bench.ask("quit").unwrap_err().to_string();
    let state = bench.until(|state| state.log.iter().any(|line| line.text == refused));
    assert_eq!(state.search.as_ref().unwrap().phase, SearchPhase::Searching);
    bench.ask("tune off").unwrap();
    // What was kept elsewhere goes with the save.
    let kept = refused.split("kept in ").nth(1).and_then(|rest| rest.split(": ").next()).unwrap();
    assert!(Path::new(kept).exists(), "{refused}");
    std::fs::remove_dir(&place).unwrap();
    bench.ask("quit").unwrap();
    assert!(!Path::new(kept).exists(), "{refused}");
}

#[test]
fn what_cannot_be_done_is_said_and_breaks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::fresh(folder.path());
    bench.run("step 2");
    for (line, expected) in [
        ("predict 10000", "0 to 9999"),
        ("predict 99999999999999999999", "no such file"),
        ("predict nowhere.png", "nowhere.png"),
        ("set lr fast", "`fast` is no lr"),
        ("set colour red", "no setting `colour`"),
        ("load nothing", "no session `nothing`"),
        ("save ../escape", "no name for a session"),
        ("new conv3:9x9", "conv3:9x9"),
        ("help fly", "`fly`"),
    ] {
        let error = bench.ask(line).unwrap_err().to_string();
        assert!(error.to_lowercase().contains(&expected.to_lowercase()), "{line}: {error}");
        assert!(!error.contains('\n'), "{line}: {error}");
    }
    assert_eq!(bench.run("step 1").progress.step, 3);
}

#[test]
fn saved_runs_are_kept_apart_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::fresh(folder.path());
    bench.run("step 5");
    bench.ask("save first").unwrap();
    bench.run("step 5");
    bench.ask("new mlp --seed 9").unwrap();
    let fresh = bench.until(|state| state.progress.step == 0);
    assert_eq!(fresh.run.as_ref().unwrap().config.seed, 9);
    bench.run("step 1");
    bench.ask("load first").unwrap();
    let loaded = bench.until(|state| state.run.as_ref().is_some_and(|run| run.name == "first"));
    assert_eq!(loaded.progress.step, 10, "what was not saved yet is saved before another run takes the stage");
    let Reply::Sessions(rows) = bench.ask("sessions").unwrap() else { panic!() };
    let mut names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["first", "run-1"]);
}

#[test]
fn a_branch_played_again_gives_the_same_numbers_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::fresh_of(folder.path(), "flatten dense12 relu dropout dense10", 4);
    bench.ask("set augment tutorial").unwrap();
    bench.ask("set dropout 0.2").unwrap();
    bench.ask("set ema 0.98").unwrap();
    let first = bench.run("train");
    bench.ask("save first").unwrap();
    let weights = |name: &str| Store::new(folder.path()).load(name).unwrap().run.network;
    let whole = weights("first");
    // What was trained with another learning rate on a branch is no part of the run.
    bench.ask("rewind 1").unwrap();
    bench.ask("branch fast").unwrap();
    bench.ask("set lr 0.01").unwrap();
    let fast = bench.run("train");
    assert_eq!(fast.progress.step, first.progress.step);
    assert_ne!(curve(&fast), curve(&first));
    assert_eq!(curve(&fast)[..188], curve(&first)[..188], "they have their first epoch in common");

    // The same again, after the file, and on another number of threads.
    bench.ask("save tree").unwrap();
    let bench = Bench::start_on(folder.path(), Start::Session("tree".into()), 1);
    assert_eq!(names(&bench.until(|state| state.phase == Phase::Ready)), ["main", "fast"]);
    bench.ask("branch main").unwrap();
    assert_eq!(curve(&bench.until(|state| state.tree.on() == 0)), curve(&first));
    bench.ask("rewind 2").unwrap();
    let again = bench.run("train");
    assert_eq!(names(&again), ["main", "fast", "main-2"], "what lay ahead is kept");
    assert_eq!(curve(&again), curve(&first));
    bench.ask("branch fast").unwrap();
    bench.ask("rewind 1").unwrap();
    bench.ask("set lr 0.01").unwrap();
    assert_eq!(curve(&bench.run("train")), curve(&fast));
    bench.ask("branch main-2").unwrap();
    bench.ask("save again").unwrap();
    assert!(whole.trained.is_some() && weights("again") == whole, "weights, their average, moments and their count");
}

/// The bits of every step's loss, and of every validation.
fn curve(state: &LabState) -> Vec<u64> {
    let steps = state.history.steps.iter().map(|step| u64::from(step.loss.to_bits()));
    let epochs = state.history.epochs.iter().map(|epoch| epoch.validation.unwrap().loss.to_bits());
    steps.chain(epochs).collect()
}

fn names(state: &LabState) -> Vec<String> {
    state.tree.branches().iter().map(|branch| branch.name.clone()).collect()
}

#[test]
fn the_run_goes_back_and_over_and_is_kept_when_it_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::fresh(folder.path());
    bench.ask("set keep 2").unwrap();
    bench.run("train 3");
    let missing = bench.ask("rewind 1").unwrap_err().to_string();
    assert!(missing.contains("there are 2, 3") && missing.contains("set keep"), "{missing}");
    let reply = bench.ask("rewind 2").unwrap();
    assert_eq!(reply.to_json()[0]["ahead"], 3);
    let back = bench.until(|state| state.progress.epoch == 2);
    assert_eq!((back.history.epochs.len(), back.whole_history().epochs.len()), (2, 3));
    assert_eq!((back.phase.clone(), back.settings.keep), (Phase::Paused, 2));
    assert!(back.is_unsaved(), "the file is somewhere else");
    let branches = || {
        let Reply::Branches(rows) = bench.ask("branch").unwrap() else { panic!() };
        rows.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let main = "* main: epoch 3, step 564, keeps epochs 2 to 3";
    assert_eq!(branches(), [format!("{main}; the run is back at the end of epoch 2")]);
    bench.ask("set lr 0.02").unwrap();
    bench.ask("branch main").unwrap();
    bench.ask("set lr 0.03").unwrap();
    bench.ask("rewind 3").unwrap();
    assert_eq!(branches(), [format!("{main}; the run is back there with its earlier settings")]);
    bench.ask("branch main").unwrap();
    assert_eq!(branches(), [main]);
    assert!(bench.ask("branch main").unwrap_err().to_string().contains("already"));
    assert!(bench.ask("branch ../x").is_err());
    bench.ask("branch b").unwrap();
    // The middle of an epoch is ahead of its end, too.
    bench.run("step 5");
    let reply = bench.ask("rewind 3").unwrap().to_string();
    assert!(reply.ends_with("of `b`; to train on begins a branch, and its 569 steps stay"), "{reply}");
    assert!(branches()[1].ends_with("; the run is back at the end of epoch 3"), "{:?}", branches());
    bench.ask("branch b").unwrap();
    assert_eq!(branches()[1], "* b: epoch 3, step 569, from epoch 3 of `main`, keeps epochs 2 to 3");
    bench.ask("quit").unwrap();
    let bench = Bench::start(folder.path(), Start::Session("run-1".into()));
    assert_eq!(names(&bench.until(|state| state.phase == Phase::Ready)), ["main", "b"]);
}

#[test]
fn a_digit_is_explained_by_the_weights_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::fresh(folder.path());
    assert!(bench.ask("explain").unwrap_err().to_string().contains("explain 42"));
    bench.run("train 1");
    let explained = bench.ask("explain 42").unwrap().to_json().remove(0);
    assert_eq!((explained["event"].as_str(), explained["input"].as_str()), (Some("explained"), Some("42")));
    let rows =
        |name: &str| explained[name].as_array().unwrap().iter().map(|row| row.as_array().unwrap().len()).sum::<usize>();
    assert_eq!((rows("saliency"), rows("occlusion")), (784, 784));
    let class = explained["digit"].as_u64().unwrap();
    assert_eq!(explained["class"].as_u64(), Some(class));
    let sum: f64 = explained["saliency"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap())
        .map(|value| value.as_f64().unwrap())
        .sum();
    let evidence = &explained["evidence"][class as usize];
    let both = evidence["pro"].as_f64().unwrap() + evidence["con"].as_f64().unwrap();
    assert!((sum - both).abs() < 1e-3, "{sum} {evidence}");
    let other = bench.ask("explain --class 7").unwrap().to_json().remove(0);
    assert_eq!((other["input"].as_str(), other["class"].as_u64()), (Some("42"), Some(7)));
    assert_ne!(other["saliency"], explained["saliency"]);
}

#[test]
fn a_digit_has_its_like_among_the_training_digits() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::fresh(folder.path());
    assert!(bench.ask("nearest").unwrap_err().to_string().contains("nearest 42"));
    bench.run("train 1");
    bench.ask("next wrong").unwrap();
    let shown = bench.until(|state| state.digit.is_some()).digit.clone().unwrap();
    let Reply::Nearest(digit) = bench.ask("nearest").unwrap() else { panic!() };
    assert_eq!((&digit.source, digit.place, digit.neighbours.len()), (&shown.source, shown.place, 9));
    assert!(digit.neighbours.is_sorted_by(|a, b| a.distance <= b.distance));
    let state = bench.until(|state| state.digit.as_ref().is_some_and(|digit| !digit.neighbours.is_empty()));
    assert_eq!(state.digit.as_ref(), Some(&digit));

    // This network's features are the pixels, and those it validates with are none of its training digits.
    let train = &state.dataset.as_ref().unwrap().train;
    let distance = |index: usize| {
        let square = |(&a, &b): (&u8, &u8)| (f64::from(a) / 255.0 - f64::from(b) / 255.0).powi(2);
        train.image(index).iter().zip(&*digit.image).map(square).sum::<f64>().sqrt()
    };
    let nearest = (0..48_000).map(|index| (distance(index), index)).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    let first = &digit.neighbours[0];
    assert_eq!((first.index as usize, first.label), (nearest.1, train.label(nearest.1)));
    assert!((f64::from(first.distance) - nearest.0).abs() < 1e-4, "{} {}", first.distance, nearest.0);
    assert_eq!(bench.ask("nearest 42").unwrap().to_json()[0]["neighbours"].as_array().unwrap().len(), 9);
}

#[test]
fn advice_comes_with_evidence_and_a_command_that_helps() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::fresh(folder.path());
    assert_eq!(*bench.run("train 1").advice, [], "all is well");
    bench.ask("new").unwrap();
    bench.ask("set lr 1e-6").unwrap();
    let slow = bench.run("train 2");
    assert_eq!(slow.advice[0].finding, Finding::RateTooLow, "{:?}", slow.advice);
    let said = bench.ask("advice").unwrap().to_json().remove(0);
    assert_eq!((said["event"].as_str(), said["commands"][0].as_str()), (Some("advice"), Some("set lr 1e-5")));
    assert!(
        slow.log.iter().any(|line| line.text.contains("learning rate too low") && line.text.contains("set lr 1e-5"))
    );
    for command in &slow.advice[0].commands {
        bench.ask(command).unwrap();
    }
    assert_eq!(*bench.until(|state| (state.settings.learning_rate - 1e-5).abs() < 1e-12).advice, [], "it was taken");

    bench.ask("new 'flatten dense12 relu dense10'").unwrap();
    bench.ask("set optimizer sgd").unwrap();
    bench.ask("set lr 10").unwrap();
    let fast = bench.run("train 2");
    assert_eq!(fast.advice[0].commands[0], "set lr 1", "{:?}", fast.advice);
    assert_eq!(bench.ask("advice").unwrap().to_json().len(), fast.advice.len());
}

#[test]
fn saved_sessions_are_drawn_behind_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::fresh(folder.path());
    bench.run("step 3");
    bench.ask("save one").unwrap();
    bench.ask("save two").unwrap();
    bench.ask("overlay one two").unwrap();
    let slots = |state: &LabState| state.overlays().iter().map(|o| (o.name.clone(), o.slot)).collect::<Vec<_>>();
    let both = bench.until(|state| state.sessions.len() == 2);
    assert_eq!(slots(&both), [("one".to_owned(), -1), ("two".to_owned(), -2)]);
    bench.ask("overlay one").unwrap();
    let mut again = slots(&bench.until(|state| state.sessions[0].name == "two"));
    again.sort();
    assert_eq!(again, slots(&both), "colours stay");
    assert!(bench.ask("overlay three").is_err());
    bench.ask("overlay none").unwrap();
    bench.until(|state| state.overlays().is_empty());
}

/// What a gauge sees reaches the state, at rest and in training, also of another run on the same device; what it saw before
/// publishes nothing, and where it looks no more nothing is shown.
#[test]
fn the_gpu_of_a_run_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let config = RunConfig { arch: "flatten dense10".parse().unwrap(), seed: 1, validation_split: 0.2, teacher: None };
    let start = Start::fresh(config, Settings::default(), Vec::new());
    // One look a second: that two are the same, and then the end, takes some.
    let meter: Meter = |device| {
        assert_eq!(device.device, "cpu");
        let mut looks = [40, 40, 40, 40, 40, 55, 60].into_iter();
        Some(Box::new(move || Some(GpuReading { utilisation: Some(looks.next()?), ..GpuReading::default() })))
    };
    let bench = Bench::start_with(folder.path(), start, 1, meter);
    let busy = |state: &LabState| state.gpu.newest().and_then(|reading| reading.utilisation);
    bench.until(|state| state.run.is_some() && busy(state) == Some(40));
    let mut states = bench.lab.state();
    states.borrow_and_update();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!states.has_changed().unwrap(), "what is seen again is not published again");
    let ready = bench.run("new");
    assert_eq!(busy(&ready), Some(40));
    bench.ask("train").unwrap();
    let seen = bench.until(|state| busy(state) == Some(55));
    assert_eq!(seen.gpu.samples().len(), 2);
    assert!(seen.gpu.samples()[1].seconds >= 5);
    bench.ask("stop").unwrap();
    bench.until(|state| state.gpu.newest().is_none());
}

#[test]
fn data_that_cannot_be_read_is_told_to_everyone_who_asks() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::fresh(folder.path());
    drop(bench);
    let options = |data: &Path| LabOptions {
        data: Some(data.into()),
        store: Store::new(folder.path()),
        device: DeviceChoice::Cpu,
        kernels: Kernels::Auto,
        threads: None,
        start: Start::Session("x".into()),
        name: None,
        autosave: Autosave::On,
        target: None,
        exporter: mnist_lab::export::model,
        plotter: mnist_lab::export::plot::state,
        meter: |_| None,
    };
    let (lab, thread) = Lab::start(options(Path::new("/nowhere/at/all"))).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(lab.ask(Command::Pause)).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    assert_eq!(runtime.block_on(lab.ask(Command::Quit)).unwrap(), Reply::Closing);
    thread.join().unwrap();
}

#[test]
fn a_run_is_taught_by_sessions_until_another_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::fresh(folder.path());
    bench.run("step 30");
    bench.ask("save a").unwrap();
    let done = |line: &str| match bench.ask(line).unwrap() {
        Reply::Done(text) => text,
        other => panic!("{line}: {other:?}"),
    };
    let weighs = || match bench.ask("set").unwrap() {
        Reply::Settings(rows) => rows.iter().filter(|(name, ..)| ["distill", "temperature"].contains(&&**name)).count(),
        other => panic!("{other:?}"),
    };
    assert_eq!(weighs(), 0);
    let refused = bench.ask("set distill 0.5").unwrap_err().to_string();
    assert!(refused.contains("this run has no teacher"), "{refused}");

    assert!(done("new --teacher a").ends_with(", seed 1, taught by a"));
    assert_eq!(weighs(), 2);
    let told: Vec<String> = bench.lab.state().borrow().log.iter().map(|line| line.text.clone()).collect();
    assert!(told.iter().any(|line| line == "asking `a` about the training digits"), "{told:?}");
    assert!(!told.iter().any(|line| line.contains("flattered")), "{told:?}");
    bench.run("step 3");
    bench.ask("save pupil").unwrap();
    assert_eq!(Store::new(folder.path()).load("pupil").unwrap().run.config.teachers(), ["a"]);

    assert!(done("new mlp --seed 7").ends_with("taught by a"), "it stays");
    assert!(done("new --teacher a --teacher pupil").ends_with("taught by a, pupil"));
    assert!(bench.ask("new --teacher nobody").unwrap_err().to_string().contains("there is no session `nobody`"));
    assert!(done("new --teacher none").ends_with("seed 7"));
    assert_eq!(weighs(), 0);
}

/// Whoever knows the answers of the validation may give them away.
#[test]
fn a_teacher_that_has_seen_the_validation_digits_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::fresh(folder.path());
    bench.run("step 3");
    let store = Store::new(folder.path());
    bench.ask("save whole").unwrap();
    let mut session = store.load("whole").unwrap();
    session.run.config.validation_split = 0.0;
    store.save("whole", &session).unwrap();
    // Of one that was imported nobody knows.
    session.run.config.validation_split = 0.2;
    session.run.progress.step = 0;
    store.save("imported", &session).unwrap();
    for (name, words) in
        [("whole", "`whole` was trained on digits that"), ("imported", "`imported` comes from elsewhere")]
    {
        bench.ask(&format!("new --teacher {name}")).unwrap();
        bench.until(|state| state.log.iter().any(|line| line.level == Level::Warning && line.text.contains(words)));
    }
}

#[test]
fn a_network_that_answers_with_no_numbers_does_not_teach() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::fresh(folder.path());
    bench.run("step 3");
    bench.ask("save broken").unwrap();
    let store = Store::new(folder.path());
    let mut session = store.load("broken").unwrap();
    let mut check = |bias: f32, teachers: &str| {
        session.run.network.tensors[1].values[3] = bias;
        store.save("broken", &session).unwrap();
        let refused = bench.ask(&format!("new --teacher {teachers}")).unwrap_err().to_string();
        assert!(refused.contains("session `broken` can't teach"), "{refused}");
    };
    check(f32::NAN, "broken");
    // Each says numbers, and their mean is none.
    let mut other = store.load("broken").unwrap();
    other.run.network.tensors[1].values[3] = f32::MAX;
    store.save("other", &other).unwrap();
    check(f32::MIN, "other,broken");
}
