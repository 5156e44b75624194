//! The lab's command line without the dashboard, typed and from scripts: how it ends, and what it tells on the way.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::home::{Home, SMALL};
use crate::shell::{Ran, command, end, kept_in, signal, start};
use crate::terminal::{CTRL_C, ENTER, Launch, Terminal, eventually};

/// How long something takes to begin.
const MOMENT: Duration = Duration::from_millis(300);
/// The key that takes a hint into the line, where it is meant to be taken.
const RIGHT: &str = "\x1b[C";

/// A program whose input stays open.
fn open(home: &Home, arguments: &[&str]) -> Child {
    let mut command = command(home, arguments);
    // What can't be saved is kept there.
    command.env("TMPDIR", home.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What a program left behind that was to end by itself.
#[track_caller]
fn ended(mut child: Child) -> Ran {
    let ends = eventually(|| child.try_wait().unwrap().is_some());
    if !ends {
        child.kill().unwrap();
    }
    let ran = end(child);
    assert!(ends, "it did not end: {}{}", ran.out, ran.err);
    ran
}

/// Waits until a process listens for the signals that end it: SIGHUP is the last that it begins to listen for.
fn wait_for_ears(child: &Child) {
    let status = format!("/proc/{}/status", child.id());
    assert!(eventually(|| {
        let status = fs::read_to_string(&status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & 1 == 1
    }));
}

/// A command line that somebody types at.
fn typed(home: &Home) -> Terminal {
    let terminal = Launch::program(home, &["repl"]).start();
    terminal.wait_for(">");
    terminal
}

#[test]
fn a_script_whose_run_can_not_be_saved_says_where_it_is_kept_and_ends() {
    for lines in ["step 1\n", "step 1\nquit\n", "step 1\ntrian\n"] {
        let home = Home::new();
        fs::write(home.store().folder(), "a file in the place of the folder").unwrap();
        let mut child = open(&home, &["repl"]);
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let ran = ended(child);
        let wrong = lines.contains("trian");
        assert_eq!(ran.code, if wrong { 2 } else { 1 }, "{lines:?}: {}", ran.err);
        assert_eq!(ran.err.contains("`train`"), wrong, "{lines:?}: {}", ran.err);
        assert_eq!(ran.err.matches("kept in ").count(), 1, "{lines:?}: {}", ran.err);
        assert!(Path::new(kept_in(&ran.err)).exists(), "{lines:?}: {}", ran.err);
    }
}

#[test]
fn a_signal_ends_a_script_that_waits_for_its_next_line_and_the_run_is_saved() {
    for name in ["INT", "TERM", "HUP"] {
        let home = Home::new();
        let mut child = open(&home, &["repl", "--json"]);
        let mut input = child.stdin.take().unwrap();
        let mut replies = BufReader::new(child.stdout.take().unwrap()).lines();
        input.write_all(b"step 5\npredict 0\n").unwrap();
        assert!(replies.by_ref().take(2).all(|line| line.unwrap().starts_with("{\"event\":")));
        sleep(MOMENT);
        signal(&child, name);
        let ran = ended(child);
        assert_eq!(ran.code, 130, "SIG{name}: {}", ran.err);
        assert_eq!(home.store().load("run-1").unwrap().run.progress.step, 5, "SIG{name}");
        drop(input);
    }
}

#[test]
fn a_signal_does_not_wait_for_the_end_of_a_long_evaluation() {
    let home = Home::new();
    end(start(&home, &["repl"], "new resnet\nsave a\nquit\n")).good();
    // This would take very long.
    let long = ["eval", "a", "--corrupt", "all", "--views", "1000"];
    for name in ["INT", "TERM", "HUP"] {
        let child = open(&home, &long);
        wait_for_ears(&child);
        sleep(MOMENT);
        signal(&child, name);
        let ran = ended(child);
        assert_eq!((ran.code, ran.out.as_str()), (130, ""), "SIG{name}: {}", ran.err);
    }
    // Where there may be something to save, the second signal alone does not wait.
    let mut child = open(&home, &["repl", "a"]);
    child.stdin.as_mut().unwrap().write_all(b"eval --corrupt all --views 1000\n").unwrap();
    wait_for_ears(&child);
    sleep(MOMENT);
    signal(&child, "TERM");
    sleep(MOMENT);
    assert!(child.try_wait().unwrap().is_none());
    signal(&child, "TERM");
    let ran = ended(child);
    assert!(ran.code == 130 && ran.err.contains("once more to leave at once"), "{}: {}", ran.code, ran.err);
}

#[test]
fn ctrl_c_comes_back_to_the_prompt_and_other_signals_end_it() {
    let home = Home::new();
    let mut terminal = typed(&home);
    terminal.keys(&format!("new '{SMALL}'\r"));
    terminal.wait_for("new run:");
    terminal.keys("set batch-size 1\r");
    terminal.wait_for("batch-size 64 → 1");
    terminal.keys("train 1000\r");
    terminal.wait_for("training until epoch 1000");
    terminal.keys(CTRL_C);
    terminal.wait_for("stopping and saving");
    terminal.keys("predict 0\r");
    terminal.wait_for("; label 7");
    terminal.keys("train 2000\r");
    terminal.wait_for("training until epoch 2");
    // A signal so soon after another is taken for its echo.
    sleep(MOMENT);
    terminal.signal("TERM");
    assert_eq!(terminal.exit_code(), 130);
    terminal.check_restored();
    let seen = home.store().load("run-1").unwrap().run.progress.step;
    assert!(seen > 0);

    // In the middle of a line.
    let mut terminal = typed(&home);
    terminal.keys("step 5\r");
    terminal.wait_for("training until step 5");
    terminal.keys("paus");
    terminal.wait_for("Hold training");
    terminal.signal("TERM");
    assert_eq!(terminal.exit_code(), 130);
    terminal.check_restored();
    assert_eq!(home.store().load("run-2").unwrap().run.progress.step, 5);
}

#[test]
fn a_doc_line_does_not_become_a_part_of_the_command() {
    let home = Home::new();
    let mut terminal = typed(&home);
    terminal.keys("pause");
    terminal.wait_for("Hold training");
    terminal.keys(RIGHT);
    terminal.keys(ENTER);
    terminal.wait_for("nothing is training");
    terminal.keys("quit\r");
    assert_eq!(terminal.exit_code(), 0);
    terminal.check_restored();
}

#[test]
fn a_run_that_diverges_fails_its_script() {
    let home = Home::new();
    let lines = [
        "new 'flatten dense64 dense64 dense10'",
        "set lr 10",
        "set optimizer sgd:momentum=0.9",
        "train 5",
        "predict 1",
    ];
    let ran = end(start(&home, &["repl"], &lines.join("\n")));
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert_eq!(ran.err.matches("the run diverged").count(), 1, "{}", ran.err);
    assert!(!ran.out.contains("\n1: "), "{}", ran.out);
}

#[test]
fn why_a_run_has_ended_early_is_told() {
    let home = Home::new();
    let lines = format!("new '{SMALL}'\nset lr 0.05\nset batch-size 4\nset early-stop 1\ntrain 200\n");
    let ran = end(start(&home, &["repl"], &lines)).good();
    assert!(ran.err.contains("stopped getting better: the weights of epoch"), "{}{}", ran.out, ran.err);
}
