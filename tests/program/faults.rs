//! What goes wrong on a shared box: kills, full disks, lost terminals, clocks that jump, other labs on the same session.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use mnist_lab::random::{Purpose, Stream};
use mnist_lab::session::{Session, SessionError, decode};
use mnist_lab::train::history::EpochRecord;
use mnist_lab::train::tree::Tree;

use crate::home::{Home, SMALL};
use crate::shell::{check_error, command, end, kept_in, run, signal, start};
use crate::terminal::{CTRL_Z, ENTER, ESCAPE, Launch, Terminal, eventually};

/// A library that makes the disk and the clock fail, and the file that tells it how.
struct Faults {
    library: &'static Path,
    told: PathBuf,
}

impl Faults {
    fn new(home: &Home) -> Self {
        static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
        let library = LIBRARY.get_or_init(|| {
            let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults.so");
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/driver/faults.c");
            let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).status();
            assert!(built.expect("a C compiler").success());
            library
        });
        Self { library, told: home.path().join("faults") }
    }

    fn environment(&self) -> [(&'static str, String); 3] {
        let folder = self.told.parent().unwrap();
        [("LD_PRELOAD", self.library), ("FAULTS", &self.told), ("TMPDIR", folder)]
            .map(|(name, path)| (name, path.display().to_string()))
    }

    /// The same program, which meets them.
    fn meet(&self, launch: Launch) -> Launch {
        self.environment().iter().fold(launch, |launch, (name, value)| launch.with(name, value))
    }

    /// A run of so many epochs that meets them, saved as `a`.
    fn train(&self, home: &Home, epochs: &str) -> Command {
        let mut command = command(home, &["train", "--arch", SMALL, "--epochs", epochs, "--save", "a"]);
        command.envs(self.environment());
        command
    }

    fn tell(&self, words: &str) {
        fs::write(&self.told, words).unwrap();
    }
}

/// What makes a lab train until it is stopped.
const ENDLESS: [&str; 2] = ["--epochs", "100000"];
const PROGRAM: &str = env!("CARGO_BIN_EXE_mnist-lab");

fn lab(home: &Home, arguments: &[&str]) -> Launch {
    Launch::program(home, &[&["lab", "--arch", SMALL, "--lr", "0.01"], arguments].concat())
}

/// A lab that trains, and has seen its first validation.
fn training(launch: Launch) -> Terminal {
    let mut terminal = launch.start();
    begin(&mut terminal);
    terminal
}

fn begin(terminal: &mut Terminal) {
    terminal.wait_for("ready");
    terminal.keys(" ");
    terminal.wait_for("val ");
}

/// A lab after one step, which nothing saves before it is left.
fn after_a_step(launch: Launch) -> Terminal {
    let mut terminal = launch.start();
    terminal.wait_for("ready");
    terminal.keys("s");
    terminal.wait_for("· paused ·");
    terminal
}

/// The program as a shell with job control runs it.
fn in_a_shell(home: &Home, arguments: &str) -> Terminal {
    let mut terminal = Launch::shell(home).start();
    terminal.wait_for("shell>");
    terminal.keys(&format!("{PROGRAM} {arguments}\r"));
    terminal
}

/// The files of saves that are under way or were cut off.
fn half_written(home: &Home) -> Vec<PathBuf> {
    let files = fs::read_dir(home.store().folder()).into_iter().flatten().flatten();
    files.map(|file| file.path()).filter(|path| path.to_string_lossy().contains(".saving-")).collect()
}

/// A session without what a clock says.
fn timeless(mut session: Session) -> Session {
    let record = |record: &EpochRecord| EpochRecord { seconds: 0.0, ..*record };
    session.run.history.epochs = session.run.history.epochs.iter().map(record).collect();
    (session.run.progress.seconds, session.run.progress.epoch_seconds) = (0.0, 0.0);
    session.tree = Tree::default();
    session
}

/// A run is killed again and again while its session is written: each time the file is a whole one, and what comes of it all is
/// bit for bit the run that nobody killed.
#[test]
fn a_run_that_is_killed_500_times_while_saving_is_the_same_run() {
    const KILLS: usize = 500;
    let home = Home::new();
    let begin = ["train", "--arch", "flatten dense10", "--threads", "1", "--seed", "7", "--epochs"];
    let go_on = ["train", "--resume", "a", "--threads", "1"];
    let (mut in_the_middle, mut step) = (0, 0);
    for kill in 0..KILLS as u64 {
        for left in half_written(&home) {
            fs::remove_file(left).unwrap();
        }
        let first = [&begin[..], &["100000", "--save", "a"]].concat();
        let mut child = start(&home, if step == 0 { &first } else { &go_on }, "");
        // Its first save goes through, so that the run comes further each time; a later one is cut off somewhere.
        assert!(eventually(|| home.store().load("a").is_ok_and(|session| session.run.progress.step > step)));
        assert!(eventually(|| !half_written(&home).is_empty()));
        thread::sleep(Duration::from_micros(Stream::new(kill, Purpose::Search, [0, 0]).uniform(0.0, 1500.0) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        in_the_middle += usize::from(!half_written(&home).is_empty());
        let session = home.store().load("a").unwrap_or_else(|error| panic!("after kill {kill}: {error}"));
        assert!(session.run.progress.step > step, "what was saved stays");
        step = session.run.progress.step;
    }
    assert!(in_the_middle > KILLS / 10, "{in_the_middle} kills cut off a save");
    let killed = home.store().load("a").unwrap();
    let epochs = killed.run.progress.epoch.to_string();
    run(&home, &[&begin[..], &[&epochs, "--save", "b"]].concat()).good();
    let mut whole = timeless(home.store().load("b").unwrap());
    whole.run.settings.epochs = killed.run.settings.epochs;
    assert!(timeless(killed) == whole, "another run after {epochs} epochs");
}

#[test]
fn a_disk_that_refuses_is_told_once_and_the_run_is_saved_when_it_no_longer_does() {
    for (fault, words) in [("full", "No space left"), ("readonly", "Read-only"), ("sync", "os error 5")] {
        let home = Home::new();
        let faults = Faults::new(&home);
        // On the screen it soon scrolls away: an epoch takes a moment.
        let told = |words: &str| fs::read_to_string(home.path().join("log")).unwrap_or_default().matches(words).count();
        let mut terminal = training(faults.meet(lab(&home, &[&ENDLESS[..], &["--log", "log"]].concat())));
        assert!(eventually(|| home.store().load("run-1").is_ok()), "{fault}");
        faults.tell(fault);
        assert!(eventually(|| told(words) == 1), "{fault}");
        let before = home.store().load("run-1").unwrap().run.progress.epoch;
        thread::sleep(Duration::from_secs(5));
        assert_eq!(told("saving is tried every"), 1, "{fault}");
        // At rest no epoch ends that would be saved: it is tried all the same.
        let rests = fault == "readonly";
        if rests {
            terminal.keys(" ");
            terminal.wait_for("· paused ·");
        }
        faults.tell("");
        assert!(eventually(|| told("saved again as `run-1`") == 1), "{fault}");
        assert!(home.store().load("run-1").unwrap().run.progress.epoch > before, "{fault}");
        if rests {
            terminal.keys(" ");
            terminal.wait_for("· training ·");
        }
        // At the end it is kept elsewhere, and may be left or saved in its place after all.
        faults.tell(fault);
        terminal.keys("q");
        terminal.wait_for("leave without saving");
        faults.tell("");
        terminal.keys("q");
        assert_eq!(terminal.exit_code(), 0, "{fault}");
        terminal.check_restored();
        assert!(half_written(&home).is_empty(), "{fault}");
        assert!(fs::read_dir(home.path()).unwrap().flatten().all(|file| file.path().extension().is_none()), "{fault}");
    }
}

/// A save of each of these epochs takes two seconds: a run does not wait for a slow disk, nor hold all that it did not write.
#[test]
fn epochs_that_a_slow_disk_has_no_time_for_are_not_saved() {
    let home = Home::new();
    let faults = Faults::new(&home);
    faults.tell("slow");
    let mut child = faults.train(&home, "100").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(eventually(|| child.try_wait().unwrap().is_some_and(|status| status.success())));
    assert_eq!(home.store().load("a").unwrap().run.progress.epoch, 100);
}

#[test]
fn a_run_that_can_not_be_saved_at_its_end_is_kept_elsewhere() {
    // More than once: nothing may be under way when the program ends.
    for fault in ["full", "a folder of its name"].repeat(10) {
        let home = Home::new();
        let faults = Faults::new(&home);
        faults.tell(fault);
        let place = home.store().folder().join("a.mlab");
        if fault != "full" {
            // The file is written, and can't be renamed.
            fs::create_dir_all(&place).unwrap();
        }
        let output = faults.train(&home, "2").output().unwrap();
        let [ended, told] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(ended.contains("accuracy") && !ended.contains("saved as"), "{ended}");
        assert!(half_written(&home).is_empty(), "{told}");
        assert_eq!(told.matches("saving is tried every").count(), 1, "{told}");
        // As the sentence says.
        let _ = fs::remove_dir(&place);
        fs::rename(kept_in(&told), &place).unwrap();
        assert_eq!(home.store().load("a").unwrap().run.progress.epoch, 2);
        run(&home, &["train", "--resume", "a", "--epochs", "3"]).good();
    }
}

#[test]
fn a_run_that_is_interrupted_where_it_can_not_be_saved_is_kept_elsewhere() {
    let home = Home::new();
    let faults = Faults::new(&home);
    faults.tell("full");
    let mut command = faults.train(&home, "100000");
    let mut child = command.arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("\"event\":\"epoch\"")));
    signal(&child, "INT");
    assert!(lines.all(|line| line.is_ok()));
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    fs::rename(kept_in(&told), home.store().folder().join("a.mlab")).unwrap();
    assert!(home.store().load("a").unwrap().run.progress.epoch > 0);
}

/// What is kept elsewhere stays there, by the name that was told, until the run is saved: also where it can't be kept anew.
#[test]
fn a_run_that_is_kept_elsewhere_is_not_lost_by_asking_again() {
    let home = Home::new();
    let faults = Faults::new(&home);
    let kept = || -> Vec<PathBuf> {
        let files = fs::read_dir(home.path()).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|ending| ending == "mlab")).collect()
    };
    let mut terminal = after_a_step(faults.meet(lab(&home, &["--log", "log"])));
    let mut places = Vec::new();
    for fault in ["full", "full", "full nowhere"] {
        faults.tell(fault);
        terminal.keys("q");
        terminal.wait_for("leave without saving");
        places.push(kept());
        assert_eq!(decode(&fs::read(&places[0][0]).unwrap()).unwrap().run.progress.step, 1, "{fault}");
        terminal.keys(ESCAPE);
        terminal.wait_until("the question is gone", |screen| !screen.contains("leave without saving"));
    }
    assert!(places[0].len() == 1 && places.iter().all(|place| *place == places[0]), "{places:?}");
    // The log has it too.
    let log = fs::read_to_string(home.path().join("log")).unwrap();
    assert_eq!((kept_in(&log), log.matches("kept in").count()), (places[0][0].to_str().unwrap(), 2), "{log}");
    assert_eq!(log.matches("nor can it be kept elsewhere").count(), 1, "{log}");
    faults.tell("");
    terminal.keys("q");
    assert_eq!((terminal.exit_code(), kept().len()), (0, 0));
    assert_eq!(home.store().load("run-1").unwrap().run.progress.step, 1);
}

/// What only a pane that has the screen for itself shows.
const ALONE: &str = "1 curves  2 confusion  3 settings";

/// Every screen, by the keys that lead to it and what they show, one after the other.
const SCREENS: [&[(&str, &str)]; 15] = [
    &[("", "val ")],
    &[("?", "Esc closes")],
    &[(":", "Enter run"), ("set lr", "set lr")],
    &[(":", "Enter run"), ("tour\r", "1/10")],
    &[("1z", ALONE)],
    &[("1m", "gradient norm")],
    &[("2z", ALONE)],
    &[("3z", ALONE)],
    &[("d", "press the mouse")],
    &[("a", "digit 0, label 5")],
    &[("4o", "· wrong 1/")],
    &[("e", "wrong 1/"), ("x", "saliency")],
    &[("e", "wrong 1/"), ("c", "of 15 right")],
    &[("6z", ALONE)],
    &[(":", "Enter run"), ("tune --trials 90 --epochs 90 --save long\r", "search long:")],
];

/// Goes to a screen of a lab that trains.
fn go(terminal: &mut Terminal, screen: &[(&str, &str)]) {
    for (keys, shown) in screen {
        terminal.keys(keys);
        terminal.wait_for(shown);
    }
}

#[test]
fn a_signal_in_any_screen_saves_the_run_and_gives_the_terminal_back() {
    for screen in SCREENS {
        for signal in ["TERM", "HUP", "INT"] {
            let home = Home::new();
            let mut terminal = training(lab(&home, &ENDLESS));
            go(&mut terminal, screen);
            let what = format!("SIG{signal} after {screen:?}");
            terminal.signal(signal);
            assert_eq!(terminal.exit_code(), 130, "{what}");
            terminal.check_restored();
            assert!(home.store().load("run-1").unwrap().run.progress.step > 0, "{what}");
        }
    }
}

/// As at the end of a login: the second is no sign of impatience.
#[test]
fn signals_that_come_together_do_not_cut_the_save_short() {
    let home = Home::new();
    let faults = Faults::new(&home);
    let mut terminal = after_a_step(faults.meet(lab(&home, &[])));
    faults.tell("slow");
    terminal.end_login();
    assert_eq!(terminal.exit_code(), 130);
    terminal.check_restored();
    assert_eq!(home.store().load("run-1").unwrap().run.progress.step, 1);
}

#[test]
fn a_signal_saves_the_run_also_where_nobody_reads_the_screen() {
    let home = Home::new();
    let mut terminal = after_a_step(lab(&home, &[]));
    // As long as somebody looks at it, the terminal reads no further.
    terminal.look(|_| {
        // More than the line holds.
        for columns in [119, 120].repeat(15) {
            terminal.tell_size(columns, 40);
            thread::sleep(Duration::from_millis(20));
        }
        terminal.signal("TERM");
        assert!(eventually(|| home.store().load("run-1").is_ok()));
        assert!(eventually(|| terminal.has_ended()), "it does not wait for ever to say its last words");
    });
    assert_eq!(terminal.exit_code(), 130);
}

#[test]
fn a_signal_saves_the_run_also_where_nobody_reads_what_it_tells() {
    let home = Home::new();
    let arguments = ["train", "--arch", SMALL, "--epochs", "100000", "--save", "a"];
    let mut terminal = Launch::program(&home, &arguments).start();
    terminal.wait_for("epoch 2: ");
    terminal.look(|_| {
        // It tells more than the line holds.
        let epochs = || home.store().load("a").unwrap().run.progress.epoch;
        let before = epochs();
        assert!(eventually(|| epochs() > before + 100));
        terminal.signal("TERM");
        assert!(eventually(|| terminal.has_ended()), "it does not wait for ever for a reader");
    });
    assert_eq!(terminal.exit_code(), 130);
    let run = home.store().load("a").unwrap().run;
    assert_eq!(run.progress.step, run.history.steps.last().unwrap().step);
}

#[test]
fn a_dashboard_that_is_left_unsaved_tells_the_shell_where_the_run_is() {
    for is_signalled in [true, false] {
        let home = Home::new();
        let faults = Faults::new(&home);
        // Its sentence fits on one line.
        let mut terminal = after_a_step(faults.meet(lab(&home, &[]).size(500, 40)));
        faults.tell("full");
        if is_signalled {
            terminal.signal("TERM");
        } else {
            terminal.keys("q");
            terminal.wait_for("leave without saving");
            terminal.keys(ENTER);
        }
        assert_eq!(terminal.exit_code(), 1);
        terminal.check_restored();
        terminal.wait_for("kept in ");
        let told = terminal.text();
        fs::rename(kept_in(&told), home.store().folder().join("run-1.mlab")).unwrap();
        assert_eq!(home.store().load("run-1").unwrap().run.progress.step, 1);
    }
}

#[test]
fn any_screen_is_suspended_and_comes_back() {
    for screen in SCREENS {
        let home = Home::new();
        let mut terminal = in_a_shell(&home, &format!("lab --arch '{SMALL}' --epochs 100000"));
        begin(&mut terminal);
        go(&mut terminal, screen);
        terminal.keys(CTRL_Z);
        terminal.wait_for("Stopped");
        terminal.check_restored();
        terminal.keys("fg\r");
        assert!(eventually(|| terminal.look(vt100::Screen::alternate_screen)), "{screen:?}: {}", terminal.text());
        // It is the same screen.
        terminal.wait_for(screen.last().unwrap().1);
        terminal.signal_foreground("TERM");
        terminal.wait_until("the shell is back", |screen| screen.trim_end().ends_with("shell>"));
        terminal.check_restored();
    }
}

#[test]
fn a_terminal_that_is_gone_without_a_signal_ends_the_lab() {
    let home = Home::new();
    let mut terminal = Launch::shell(&home).start();
    terminal.wait_for("shell>");
    // Whoever ignores SIGHUP, as `nohup` does, learns of it by EIO alone.
    terminal.keys(&format!("trap '' HUP; exec {PROGRAM} lab --arch '{SMALL}' --epochs 100000\r"));
    begin(&mut terminal);
    let seen = home.store().load("run-1").map_or(0, |session| session.run.progress.step);
    terminal.hang_up();
    assert_eq!(terminal.exit_code(), 130);
    assert!(home.store().load("run-1").unwrap().run.progress.step > seen);
}

#[test]
fn a_run_without_an_ear_for_the_end_of_a_login_goes_on() {
    let home = Home::new();
    // As `nohup` does.
    let line = format!("trap '' HUP; exec {PROGRAM} train --arch '{SMALL}' --epochs 100000 --save a");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &line]).env_clear().envs(home.environment()).current_dir(home.path());
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let epoch = || home.store().load("a").map_or(0, |session| session.run.progress.epoch);
    assert!(eventually(|| epoch() > 0));
    signal(&child, "HUP");
    let seen = epoch();
    assert!(eventually(|| epoch() > seen + 1), "it goes on");
    signal(&child, "TERM");
    assert_eq!(end(child).code, 130);
}

#[test]
fn closed_streams_are_no_trouble() {
    let home = Home::new();
    for (streams, code) in
        [("<&-", 0), (">&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 0), ("</dev/null >/dev/full 2>/dev/full", 1)]
    {
        let line = format!("exec {PROGRAM} train --arch '{SMALL}' --epochs 1 --save a --json {streams}");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &line]).env_clear().envs(home.environment()).current_dir(home.path());
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{streams}");
        // What can't be written ends no training.
        home.store().load("a").unwrap();
        home.store().remove("a").unwrap();
    }
    // The dashboard's keys come from the terminal, whatever standard input is.
    let mut terminal = in_a_shell(&home, &format!("lab --arch '{SMALL}' <&-"));
    terminal.wait_for("ready");
    terminal.keys("q");
    terminal.wait_until("the shell is back", |screen| screen.trim_end().ends_with("shell>"));
    terminal.check_restored();
}

#[test]
fn a_run_that_nobody_reads_any_more_is_stopped_and_saved() {
    let home = Home::new();
    let mut child = start(&home, &["train", "--json", "--arch", SMALL, "--epochs", "100000", "--save", "a"], "");
    // As `| head -2` does.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().take(2).all(|line| line.unwrap().starts_with("{\"event\":")));
    drop(lines);
    assert!(eventually(|| child.try_wait().unwrap().is_some_and(|status| status.success())));
    let run = home.store().load("a").unwrap().run;
    assert!(run.progress.epoch >= 2, "the epoch that could not be told is saved");
    assert_eq!(run.progress.step, run.history.steps.last().unwrap().step);
}

#[test]
fn what_a_script_did_is_saved_when_its_reader_or_its_lines_break_off() {
    // The steps that nobody would hear of need not be made.
    for (more, reads, code, steps) in [(&b"step 5\n"[..], false, 0, 5), (b"step 5\n\xff\n", true, 2, 10)] {
        let home = Home::new();
        let mut child = command(&home, &["repl", "--json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"step 5\n").unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().starts_with('{'));
        let lines = reads.then_some(lines);
        input.write_all(more).unwrap();
        let mut status = None;
        assert!(eventually(|| {
            status = child.try_wait().unwrap();
            status.is_some()
        }));
        assert_eq!(status.and_then(|status| status.code()), Some(code));
        assert!(home.store().load("run-1").unwrap().run.progress.step >= steps);
        drop((input, lines));
    }
}

#[test]
fn a_storm_of_sizes_leaves_the_last_one_drawn() {
    let home = Home::new();
    let mut terminal = training(lab(&home, &ENDLESS));
    let sizes = [(1, 1), (2, 1), (80, 24), (1, 60), (300, 2), (59, 17), (60, 18), (500, 200), (7, 7), (120, 40)];
    let started = Instant::now();
    for number in 0..1000 {
        let (columns, rows) = sizes[number % sizes.len()];
        terminal.tell_size(columns, rows);
        thread::sleep((Duration::from_millis(number as u64)).saturating_sub(started.elapsed()));
    }
    terminal.resize(100, 30);
    terminal.wait_until("the last size", |screen| {
        let lines: Vec<&str> = screen.lines().collect();
        lines.len() == 30 && lines[29].contains("Space pause")
    });
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
    terminal.check_restored();
}

#[test]
fn two_labs_do_not_save_over_each_other() {
    let home = Home::new();
    // Both begin when no name is taken yet.
    let [mut first, mut second] = [(); 2].map(|()| lab(&home, &ENDLESS).start());
    second.wait_for("ready");
    begin(&mut first);
    begin(&mut second);
    assert!(eventually(|| home.store().load("run-1").is_ok() && home.store().load("run-2").is_ok()));
    // A run that is open is not gone on with, nor written over.
    check_error(&home, &["train", "--resume", "run-1"], 2, "`run-1` is open in another mnist-lab (process");
    check_error(&home, &["train", "--save", "run-2"], 2, "save this run under another name");
    second.command("save run-1");
    second.wait_for("`run-1` is open in another mnist-lab");
    second.leave_command_line();
    // It may be looked at, and what is made of it has a name of its own.
    run(&home, &["predict", "run-1", "0"]).good();
    let mut third = Launch::program(&home, &["lab", "--load", "run-1"]).start();
    third.wait_for("opened as a copy");
    third.command("step 5");
    third.leave_command_line();
    third.keys("q");
    assert_eq!(third.exit_code(), 0);
    assert!(home.store().load("run-3").is_ok());
    for terminal in [&mut first, &mut second] {
        terminal.keys("q");
        assert_eq!(terminal.exit_code(), 0);
    }
    run(&home, &["train", "--resume", "run-3", "--epochs", "1"]).good();
    let hidden = fs::read_dir(home.store().folder()).unwrap().flatten();
    let hidden: Vec<_> =
        hidden.map(|file| file.file_name()).filter(|name| name.to_string_lossy().starts_with('.')).collect();
    assert_eq!(hidden.len(), 0, "{hidden:?}");
}

#[test]
fn a_clock_that_jumps_changes_nothing() {
    let home = Home::new();
    let faults = Faults::new(&home);
    let mut terminal = training(faults.meet(lab(&home, &ENDLESS)));
    for jump in ["clock 400000000", "clock -400000000", "clock 0"] {
        faults.tell(jump);
        let seen = home.store().load("run-1").map_or(0, |session| session.run.progress.step);
        let further = || home.store().load("run-1").is_ok_and(|session| session.run.progress.step > seen);
        assert!(eventually(further), "{jump}");
    }
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
    let session = home.store().load("run-1").unwrap();
    assert!(session.run.history.epochs.iter().all(|epoch| (0.0..60.0).contains(&epoch.seconds)));
    run(&home, &["train", "--arch", SMALL, "--epochs", "1", "--save", "later"]).good();
    // A session from the future is the newest.
    let future = SystemTime::now() + Duration::from_secs(1 << 32);
    File::options().append(true).open(home.path().join("sessions/run-1.mlab")).unwrap().set_modified(future).unwrap();
    let listed = run(&home, &["sessions", "list", "--json"]).good().objects();
    assert_eq!(listed[0]["name"], "run-1");
}

#[test]
fn a_folder_of_10_000_sessions_is_listed_and_opened() {
    let home = Home::new();
    run(&home, &["train", "--arch", "flatten dense10", "--epochs", "1", "--save", "run-1"]).good();
    let folder = home.store().folder().to_owned();
    for number in 2..=10_000 {
        fs::hard_link(folder.join("run-1.mlab"), folder.join(format!("run-{number}.mlab"))).unwrap();
    }
    let listed = run(&home, &["sessions", "list"]).good();
    assert_eq!(listed.out.lines().filter(|line| line.contains("run-")).count(), 10_000);
    let mut terminal = lab(&home, &["--epochs", "1"]).start();
    terminal.wait_for("start afresh");
    terminal.keys(ESCAPE);
    terminal.wait_until("the offer is gone", |screen| !screen.contains("start afresh"));
    terminal.keys("t");
    terminal.wait_for("completed");
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
    assert!(matches!(home.store().load("run-10002"), Err(SessionError::Missing { .. })));
    assert!(home.store().load("run-10001").is_ok());
}
