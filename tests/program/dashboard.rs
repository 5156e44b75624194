//! The dashboard in a terminal: from the first frame to a terminal as it was before.

use std::time::{Duration, Instant};

use crate::home::{Home, SMALL};
use crate::terminal::{CTRL_C, CTRL_Z, ENTER, ESCAPE, Launch, TAB, Terminal, eventually};

/// The lab with a run that has this many epochs before it.
fn lab(home: &Home, epochs: &str) -> Launch {
    Launch::program(home, &["lab", "--arch", SMALL, "--epochs", epochs, "--lr", "0.01"])
}

/// The lab, training on and on.
fn training(home: &Home) -> Terminal {
    let launch = Launch::program(home, &["lab", "--arch", SMALL, "--epochs", "100000", "--batch-size", "2"]);
    let mut terminal = launch.start();
    terminal.wait_for("ready");
    terminal.keys(" ");
    // There is a validation after each epoch.
    terminal.wait_for("val ");
    terminal
}

/// Saves a run of two epochs as `run-1`.
fn leave_a_session(home: &Home) {
    let mut terminal = lab(home, "2").start();
    terminal.wait_for("ready");
    terminal.keys("t");
    terminal.wait_for("completed");
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
}

#[test]
fn train_pause_change_ask_save_and_leave() {
    let home = Home::new();
    let mut terminal = training(&home);
    terminal.keys(" ");
    terminal.wait_for("paused");

    terminal.command("set lr 0.003");
    terminal.wait_for("0.003");
    terminal.command("predict 42");
    terminal.wait_for("42: ");
    terminal.command("next wrong");
    terminal.wait_for("wrong [1");
    terminal.leave_command_line();
    terminal.keys("e");
    terminal.wait_until("the second of the misclassified", |screen| screen.contains("wrong 2/"));

    terminal.command("resume");
    terminal.wait_for("· training · epoch");
    terminal.command("pause");
    terminal.wait_for("paused");
    terminal.command("save mine");
    terminal.wait_for("saved `mine`");
    terminal.leave_command_line();
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
    terminal.check_restored();

    let run = home.store().load("mine").unwrap().run;
    assert!((run.settings.learning_rate - 0.003).abs() < 1e-12 && run.progress.epoch >= 1);
    let edit = &run.history.edits[0];
    assert_eq!((edit.setting.as_str(), edit.from.as_str(), edit.to.as_str()), ("lr", "0.001", "0.003"));
    assert!(run.history.steps.iter().any(|step| step.step > edit.step), "it went on with the new value");
}

/// A tenth of a second is wanted; a busy machine is given more, but not the time that reading the real data takes.
#[test]
fn the_first_frame_does_not_wait_for_the_data() {
    let home = Home::new();
    let terminal = Launch::program(&home, &["lab"]).without("MNIST_LAB_DATA").start();
    terminal.wait_for("help");
    let first_frame = terminal.started.elapsed();
    assert!(first_frame < Duration::from_secs(1), "{first_frame:?}");
    terminal.wait_for("ready");
}

/// Fifty milliseconds are wanted; the median of several keys is held to less than a glance.
#[test]
fn keys_are_answered_at_once_while_it_trains() {
    let home = Home::new();
    let mut terminal = training(&home);
    let mut delays: Vec<Duration> = (0..9)
        .map(|_| {
            let pressed = Instant::now();
            terminal.keys("?");
            terminal.wait_for("Esc closes");
            let delay = pressed.elapsed();
            terminal.keys(ESCAPE);
            terminal.wait_until("the help is closed", |screen| !screen.contains("Esc closes"));
            delay
        })
        .collect();
    delays.sort();
    assert!(delays[4] < Duration::from_millis(200), "{delays:?}");
}

#[test]
fn what_is_typed_at_once_comes_whole() {
    let home = Home::new();
    let mut terminal = lab(&home, "1").start();
    terminal.wait_for("ready");
    terminal.keys(&format!(":{}END", "x".repeat(5000)));
    terminal.wait_for("xxxEND");
    terminal.keys("\x03");
    terminal.wait_for("cleared");
    terminal.keys("\x03");
    assert_eq!(terminal.exit_code(), 0);
}

/// Nothing is written where nothing changes: neither by a run at rest nor by a screen that only shows the time.
#[test]
fn a_dashboard_at_rest_writes_nothing() {
    let home = Home::new();
    let mut terminal = training(&home);
    terminal.keys(" ");
    terminal.wait_for("paused");
    // What the key had to tell comes in the place of the footer's keys, and goes after some seconds.
    terminal.wait_until("what the key did, in the footer", |screen| !screen.contains("q quit"));
    terminal.wait_until("the keys in the footer", |screen| screen.contains("q quit"));
    let settled = || {
        let before = terminal.written();
        std::thread::sleep(Duration::from_secs(2));
        terminal.written() == before
    };
    assert!(eventually(settled));
    let before = terminal.written();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(terminal.written(), before);
}

/// Five frames are fewer bytes than forty.
#[test]
fn fewer_frames_are_drawn_where_fewer_are_wanted() {
    let home = Home::new();
    let arguments = ["lab", "--arch", SMALL, "--epochs", "100000", "--batch-size", "2", "--fps", "1"];
    let mut terminal = Launch::program(&home, &arguments).start();
    terminal.wait_for("ready");
    terminal.keys(" ");
    terminal.wait_for("val ");
    let before = terminal.written();
    std::thread::sleep(Duration::from_secs(5));
    let slow = terminal.written() - before;
    let other = Home::new();
    let lively = training(&other);
    let before = lively.written();
    std::thread::sleep(Duration::from_secs(5));
    let usual = lively.written() - before;
    assert!(slow > 0 && 2 * slow < usual, "{slow} bytes of five frames, {usual} of some forty");
}

#[test]
fn back_in_time_from_the_curve_and_on_as_a_branch() {
    let home = Home::new();
    let mut terminal = lab(&home, "3").start();
    terminal.wait_for("ready");
    terminal.keys("t");
    terminal.wait_for("completed");
    terminal.keys("1[[r");
    terminal.wait_for("epoch 2/3");
    terminal.wait_for("back at the end of epoch 2");
    terminal.command("set lr 0.001");
    terminal.leave_command_line();
    terminal.keys(" ");
    terminal.wait_for("completed");
    terminal.wait_for("· main");
    terminal.command("save mine");
    terminal.wait_for("saved `mine`");
    terminal.leave_command_line();
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
    let session = home.store().load("mine").unwrap();
    let names: Vec<&str> = session.tree.branches().iter().map(|branch| branch.name.as_str()).collect();
    assert_eq!((names, session.tree.on()), (vec!["main", "main-2"], 1));
}

#[test]
fn curves_are_turned_and_written() {
    let home = Home::new();
    leave_a_session(&home);
    let mut terminal = Launch::program(&home, &["lab", "--load", "run-1"]).start();
    terminal.wait_for("epoch 2/2");
    terminal.keys("1z");
    terminal.wait_for("log axis");
    for (key, words) in [
        ("w", "smoothing 0.9"),
        ("x", "by step"),
        ("x", "by time"),
        ("y", "linear axis"),
        ("i", "percentiles 2-98"),
        ("m", "gradients and updates by layer"),
        ("m", "weights by layer, learning rate"),
    ] {
        terminal.keys(key);
        terminal.wait_for(words);
    }
    terminal.wait_for("1 conv4:5x5:s2");
    terminal.keys("z");
    terminal.command("plot shown.svg");
    terminal.wait_for("wrote shown.svg");
    terminal.leave_command_line();
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
    assert!(std::fs::read_to_string(home.path().join("shown.svg")).unwrap().contains("run-1"));
}

#[test]
fn forgotten_digits_are_listed_with_their_past() {
    let home = Home::new();
    let arguments = ["lab", "--arch", SMALL, "--epochs", "4", "--batch-size", "8", "--lr", "0.03"];
    let mut terminal = Launch::program(&home, &arguments).start();
    terminal.wait_for("ready");
    terminal.keys("t");
    terminal.wait_for("completed");
    terminal.keys("4f");
    terminal.wait_for("forgotten 1/");
    terminal.wait_until("its past", |screen| screen.contains("epoch 1 on ") || screen.contains("e1 "));
    terminal.keys("n");
    terminal.wait_for("forgotten 2/");
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
}

#[test]
fn errors_are_looked_at_side_by_side_and_explained() {
    let home = Home::new();
    leave_a_session(&home);
    let mut terminal = Launch::program(&home, &["lab", "--load", "run-1"]).start();
    terminal.wait_for("epoch 2/2");
    terminal.keys("4o");
    terminal.wait_for("· wrong 1/");
    terminal.keys("l");
    terminal.wait_for("· wrong 2/");
    terminal.keys(ENTER);
    terminal.wait_for("predicted ");
    terminal.keys("x");
    terminal.wait_for("saliency: gradient");
    terminal.keys("mmm");
    terminal.wait_for("layer 1: 4 maps of conv4:5x5:s2");
    terminal.keys("M");
    terminal.wait_for("class        probability");
    terminal.keys("2mm");
    terminal.wait_for("ECE ");
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
}

#[test]
fn advice_is_taken_with_enter() {
    let home = Home::new();
    let arguments = ["lab", "--arch", SMALL, "--epochs", "1", "--batch-size", "2", "--lr", "1e-6"];
    let mut terminal = Launch::program(&home, &arguments).start();
    terminal.wait_for("ready");
    terminal.keys("t");
    terminal.wait_for("Enter: set lr 1e-5");
    terminal.wait_for("learning rate too low");
    terminal.wait_for("completed");
    terminal.keys("6");
    terminal.keys(ENTER);
    terminal.wait_for("lr 1e-6 → 1e-5");
    terminal.wait_until("the advice is gone", |screen| !screen.contains("Enter: set lr"));
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
}

#[test]
fn the_last_session_is_offered_and_goes_on() {
    let home = Home::new();
    leave_a_session(&home);
    let before = home.store().load("run-1").unwrap().run;
    assert_eq!(before.progress.epoch, 2);

    let mut terminal = lab(&home, "2").start();
    terminal.wait_for("start afresh");
    terminal.wait_for("run-1");
    terminal.keys(ENTER);
    terminal.wait_for("epoch 2/2");
    terminal.command("train 1");
    terminal.wait_for("epoch 3/3");
    terminal.wait_for("completed");
    terminal.keys(CTRL_C);
    assert_eq!(terminal.exit_code(), 0);
    terminal.check_restored();
    let after = home.store().load("run-1").unwrap().run;
    assert_eq!(after.progress.epoch, 3);
    let resumed = after.history.steps.iter().take(before.history.steps.len());
    assert!(resumed.eq(before.history.steps.iter()), "what was before is kept");

    let mut terminal = lab(&home, "2").start();
    terminal.wait_for("start afresh");
    terminal.keys(ESCAPE);
    terminal.wait_for("run-2");
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
}

#[test]
fn a_session_is_opened_by_its_name() {
    let home = Home::new();
    leave_a_session(&home);
    let mut terminal = Launch::program(&home, &["lab", "--load", "run-1"]).start();
    terminal.wait_for("epoch 2/2");
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
    let mut terminal = Launch::program(&home, &["lab", "--load", "none"]).start();
    terminal.wait_for("there is no session `none`");
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 3);
    terminal.check_restored();
}

#[test]
fn a_dropped_line_saves_the_run() {
    let home = Home::new();
    let mut terminal = training(&home);
    let seen = home.store().load("run-1").map_or(0, |session| session.run.progress.step);
    terminal.hang_up();
    assert_eq!(terminal.exit_code(), 130);
    let step = home.store().load("run-1").unwrap().run.progress.step;
    assert!(step > seen, "saved when the line dropped, not only before: {step} after {seen}");
}

#[test]
fn suspended_and_brought_back_by_the_shell() {
    let home = Home::new();
    let mut terminal = Launch::shell(&home).start();
    terminal.wait_for("shell>");
    terminal.keys(&format!("{} lab --arch '{SMALL}' --epochs 100000\r", env!("CARGO_BIN_EXE_mnist-lab")));
    terminal.wait_for("ready");
    terminal.keys(" ");
    terminal.wait_for("val ");
    terminal.keys(CTRL_Z);
    terminal.wait_for("Stopped");
    terminal.check_restored();
    terminal.keys("fg\r");
    assert!(eventually(|| terminal.look(vt100::Screen::alternate_screen)), "{}", terminal.text());
    terminal.keys("?");
    terminal.wait_for("Esc closes");
    terminal.keys(ESCAPE);
    terminal.wait_until("the help is closed", |screen| !screen.contains("Esc closes"));
    terminal.keys("q");
    terminal.wait_until("the shell is back", |screen| screen.trim_end().ends_with("shell>"));
    terminal.check_restored();
    terminal.keys("exit\r");
    terminal.exit_code();
}

#[test]
fn a_terminal_that_can_not_be_drawn_on_says_what_to_use() {
    let home = Home::new();
    let mut terminal = lab(&home, "2").with("TERM", "dumb").start();
    terminal.wait_for("`mnist-lab repl` takes the lab's commands there");
    assert_eq!(terminal.exit_code(), 2);
    terminal.check_restored();
}

#[test]
fn any_size_is_drawn_and_a_small_one_says_what_it_needs() {
    let home = Home::new();
    let mut terminal = lab(&home, "2").size(50, 10).start();
    terminal.wait_for("50×10, needs 60×18");
    for (columns, rows) in [(60, 18), (80, 24), (120, 40), (250, 70), (81, 24)] {
        terminal.resize(columns, rows);
        terminal.wait_until("the footer on the last line", |screen| {
            let lines: Vec<&str> = screen.lines().collect();
            lines.len() == usize::from(rows) && lines.last().is_some_and(|line| line.contains("Space train"))
        });
    }
    terminal.resize(1, 1);
    terminal.resize(80, 24);
    terminal.wait_for("ready");
    for pane in ["1", "2", "3", "4", "6"] {
        terminal.keys(pane);
        terminal.keys("z");
        terminal.wait_until("the pane alone", |screen| screen.contains(&format!("╭ {pane} ")));
        terminal.keys("z");
    }
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
    terminal.check_restored();
}

#[test]
fn without_colours_none_is_used() {
    let home = Home::new();
    let mut terminal = lab(&home, "2").with("NO_COLOR", "1").start();
    terminal.wait_for("ready");
    terminal.keys("t");
    terminal.wait_for("completed");
    let coloured = terminal.look(|screen| {
        let (rows, columns) = screen.size();
        let cells = (0..rows).flat_map(|row| (0..columns).filter_map(move |column| screen.cell(row, column)));
        cells
            .filter(|cell| [cell.fgcolor(), cell.bgcolor()].iter().any(|&color| color != vt100::Color::Default))
            .count()
    });
    assert_eq!(coloured, 0, "{}", terminal.text());
}

#[test]
fn a_click_moves_the_focus() {
    let home = Home::new();
    let mut terminal = lab(&home, "2").start();
    terminal.wait_for("ready");
    let (row, column) = terminal.look(|screen| {
        let (rows, columns) = screen.size();
        let has_it = |row: u16| screen.contents_between(row, 0, row, columns).find("press : to type");
        (0..rows).find_map(|row| Some((row, has_it(row)?))).unwrap()
    });
    terminal.keys(&format!("\x1b[<0;{};{}M\x1b[<0;{};{}m", column + 1, row + 1, column + 1, row + 1));
    terminal.wait_for("Tab complete");
    terminal.keys("hel");
    terminal.keys(TAB);
    terminal.keys(ENTER);
    terminal.wait_for("Esc closes");
}
