//! A run that trains on without a terminal, and the dashboards that come to it and go.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::home::{Home, SMALL};
use crate::shell::{command, signal};
use crate::terminal::{CTRL_C, ENTER, ESCAPE, Launch, Terminal, eventually};

/// What a client of this version says first.
const KNOCK: &str = concat!("mnist-lab ", env!("CARGO_PKG_VERSION"), "/6 8\n");

/// `train --listen`, which is ended with the test.
struct Run {
    child: Child,
    socket: PathBuf,
}

impl Run {
    /// Trains on and on, and listens.
    fn start(home: &Home) -> Self {
        Self::of(home, Self::command(home, "far").stderr(Stdio::null()).spawn().unwrap())
    }

    /// The run that this process trains, once it listens.
    fn of(home: &Home, child: Child) -> Self {
        let mut run = Self { child, socket: home.path().join("lab.sock") };
        let ended = |run: &mut Self| run.child.try_wait().unwrap();
        assert!(eventually(|| run.socket.exists() || ended(&mut run).is_some()));
        assert_eq!(ended(&mut run), None, "it listens");
        run
    }

    /// What starts a run that is saved under this name.
    fn command(home: &Home, name: &str) -> Command {
        let endless = ["train", "--arch", SMALL, "--epochs", "100000", "--batch-size", "2"];
        let mut command = command(home, &[&endless[..], &["--save", name, "--json", "--listen", "lab.sock"]].concat());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Its exit code; `None` if a signal killed it.
    fn code(&mut self) -> Option<i32> {
        let mut status = None;
        let ended = eventually(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "the run did not end");
        status.and_then(|status| status.code())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Steps of the run as it was saved last, which it is after each epoch.
fn saved_steps(home: &Home) -> u64 {
    home.store().load("far").map_or(0, |session| session.run.progress.step)
}

/// Checks that the run trains: whoever looks at it, or no longer does.
#[track_caller]
fn check_training(home: &Home) {
    let before = saved_steps(home);
    assert!(eventually(|| saved_steps(home) > before), "training has stopped at step {before}");
}

fn attach(home: &Home) -> Terminal {
    let terminal = Launch::program(home, &["attach", "lab.sock"]).start();
    terminal.wait_for("attached");
    terminal.wait_for("val ");
    terminal
}

#[test]
fn dashboards_come_and_go_and_the_run_trains_on() {
    let home = Home::new();
    let mut run = Run::start(&home);
    assert_eq!(fs::metadata(&run.socket).unwrap().permissions().mode() & 0o777, 0o600);

    let mut first = attach(&home);
    first.wait_for("· training · epoch");
    first.command("set lr 0.003");
    first.wait_for("lr 0.001 → 0.003");
    first.leave_command_line();
    first.keys("q");
    first.wait_for("it trains on");
    assert_eq!(first.exit_code(), 0);
    first.check_restored();
    check_training(&home);

    // The change is there, and what one does the other sees.
    let mut first = attach(&home);
    first.wait_for("0.003");
    let mut second = attach(&home);
    first.keys(" ");
    second.wait_for("· paused ·");
    second.keys("e");
    second.wait_for("wrong 1/");
    first.wait_for("wrong 1/");
    second.keys(" ");
    first.wait_for("· training · epoch");

    // One is killed, one stalls: neither is waited for.
    second.signal("KILL");
    check_training(&home);
    first.signal("STOP");
    check_training(&home);
    sleep(Duration::from_secs(2));
    check_training(&home);
    let before = saved_steps(&home);
    first.signal("CONT");
    let mut third = attach(&home);
    third.keys(CTRL_C);
    assert_eq!(third.exit_code(), 0, "Ctrl-C detaches too");
    assert!(eventually(|| saved_steps(&home) > before));

    // Who types it in full ends the run, after a second thought.
    first.command("quit");
    first.wait_for("train on");
    first.keys(ESCAPE);
    first.wait_until("the question is gone", |screen| !screen.contains("end the run"));
    check_training(&home);
    first.command("quit");
    first.wait_for("end the run");
    first.keys(ENTER);
    first.wait_for("the run has ended: stopped");
    first.wait_for("saved as `far`");
    assert_eq!(first.exit_code(), 0);
    assert_eq!(run.code(), Some(130));
    assert!(!run.socket.exists());
    let edits = home.store().load("far").unwrap().run.history.edits;
    assert_eq!(edits.len(), 1);
}

#[test]
fn a_signal_ends_the_run_and_a_lost_line_does_not() {
    let home = Home::new();
    let mut run = Run::start(&home);
    for name in ["TERM", "HUP", "INT"] {
        let mut terminal = attach(&home);
        terminal.signal(name);
        assert_eq!(terminal.exit_code(), 130, "{name}");
        terminal.check_restored();
        check_training(&home);
    }
    let mut watching = attach(&home);
    run.signal("HUP");
    check_training(&home);
    run.signal("TERM");
    watching.wait_for("the run has ended");
    assert_eq!(watching.exit_code(), 0);
    assert_eq!(run.code(), Some(130));
    assert!(!run.socket.exists());
}

/// As with `| head -2`: nobody reads what it tells, but some look on, and they are told how it ended.
#[test]
fn a_run_whose_reader_is_gone_trains_on_and_says_farewell() {
    let home = Home::new();
    let mut child = Run::command(&home, "far").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut run = Run::of(&home, child);
    assert!(lines.by_ref().take(2).all(|line| line.unwrap().starts_with("{\"event\":")));
    drop(lines);
    check_training(&home);
    let mut watching = attach(&home);
    run.signal("TERM");
    watching.wait_for("the run has ended: stopped");
    assert_eq!(watching.exit_code(), 0);
    assert_eq!(run.code(), Some(130));
    assert!(!run.socket.exists());
}

#[test]
fn a_run_that_is_killed_is_told_of_and_its_socket_replaced() {
    let home = Home::new();
    let mut run = Run::start(&home);
    // A second run does not take the place of one that lives.
    let refused = Run::command(&home, "near").output().unwrap();
    let sentence = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(2) && sentence.contains("a run listens on"), "{sentence}");

    let mut watching = attach(&home);
    run.signal("KILL");
    watching.wait_for("was killed");
    assert_eq!(watching.exit_code(), 1);
    assert_eq!(run.code(), None);
    assert!(run.socket.exists(), "nobody removed it");
    let _ = home.store().remove("far");
    let _heir = Run::start(&home);
    assert!(eventually(|| UnixStream::connect(&run.socket).is_ok()));
    drop(attach(&home));
}

#[test]
fn the_socket_has_a_default_place() {
    let home = Home::new();
    let runtime = home.path().to_string_lossy().into_owned();
    let mut command = command(&home, &["train", "--arch", SMALL, "--epochs", "100000", "--no-save", "--listen"]);
    command.env("XDG_RUNTIME_DIR", &runtime).stdout(Stdio::null());
    let run = Run { child: command.spawn().unwrap(), socket: home.path().join("mnist-lab.sock") };
    assert!(eventually(|| run.socket.exists()));
    let mut terminal = Launch::program(&home, &["attach"]).with("XDG_RUNTIME_DIR", &runtime).start();
    terminal.wait_for("attached");
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
}

/// Whoever is no client is sent away, and neither they nor many of them are in the way of one.
#[test]
fn foreigners_and_crowds_are_sent_away() {
    let home = Home::new();
    let run = Run::start(&home);
    let knock = |words: &[u8]| {
        let mut stream = UnixStream::connect(&run.socket).unwrap();
        let _ = stream.write_all(words);
        stream
    };
    let answer = |stream: &UnixStream| {
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).map(|_| line)
    };
    let mut nothing = knock(b"");
    assert_eq!(answer(&knock(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")).unwrap_or_default(), "");
    assert_eq!(answer(&knock(&[0xff; 4096])).unwrap_or_default(), "");
    assert!(answer(&knock(b"mnist-lab 99.0.0/7 8\n")).unwrap().contains("99.0.0/7"));
    // After a right opening line: nonsense, and a length beyond all measure.
    for words in [&b"\x05\x00\x00\x00\x01\x02\x03\x04hello"[..], &[0xff; 64]] {
        let mut stream = knock(KNOCK.as_bytes());
        let _ = stream.write_all(words);
        let mut told = Vec::new();
        // It ends: whether by a reset or by an end of what is told.
        let _ = stream.read_to_end(&mut told);
    }
    // As many as are let in; none of them reads.
    let crowd: Vec<UnixStream> = (0..16).map(|_| knock(KNOCK.as_bytes())).collect();
    assert!(crowd.iter().all(|stream| answer(stream).unwrap() == format!("{}\n", KNOCK.trim_end_matches(" 8\n"))));
    let line = answer(&knock(KNOCK.as_bytes())).unwrap();
    assert!(line.contains("16 clients already"), "{line}");
    let mut refused = Launch::program(&home, &["attach", "lab.sock"]).start();
    refused.wait_for("16 clients already");
    assert_eq!(refused.exit_code(), 1);
    check_training(&home);
    drop(crowd);
    drop(attach(&home));
    // Who says nothing is not waited for.
    assert_eq!(nothing.read(&mut [0]).unwrap_or_default(), 0);
}

#[test]
fn what_can_not_be_attached_to_is_refused_in_a_sentence() {
    let home = Home::new();
    fs::write(home.path().join("letter"), "dear").unwrap();
    for (arguments, code, words) in [
        (&["attach", "nowhere.sock"][..], 1, "no run listens on nowhere.sock"),
        (&["attach", "letter"], 1, "no run listens on letter"),
        (&["attach", "x", "--fps", "0"], 2, "--fps"),
        (&["train", "--epochs", "1", "--arch", SMALL, "--listen", "letter"], 2, "is no socket of yours"),
        (&["train", "--epochs", "1", "--arch", SMALL, "--listen", "no/folder/s"], 1, "can't listen on no/folder/s"),
    ] {
        let mut terminal = Launch::program(&home, arguments).start();
        // A terminal breaks lines where it likes.
        terminal.wait_until(words, |screen| screen.replace('\n', "").contains(words));
        assert_eq!(terminal.exit_code(), code, "{arguments:?}");
    }
    assert_eq!(fs::read_to_string(home.path().join("letter")).unwrap(), "dear");
}
