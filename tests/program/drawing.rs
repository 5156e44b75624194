//! Digits drawn in the dashboard: predicted while they are drawn, saved, kept, and measured later.

use std::fs;

use crate::home::{Home, SMALL};
use crate::shell::run;
use crate::terminal::{ENTER, ESCAPE, Launch, Terminal};

/// The dashboard with paper to draw on.
fn paper(home: &Home, columns: u16, rows: u16) -> Terminal {
    let launch = Launch::program(home, &["lab", "--arch", SMALL, "--epochs", "3", "--lr", "0.01"]);
    let mut terminal = launch.size(columns, rows).start();
    terminal.wait_for("ready");
    terminal.keys("d");
    terminal.wait_for("press the mouse");
    terminal
}

/// Where the paper's top left cell is, from 1: two columns right of the frame of the pane and one below.
fn origin(terminal: &Terminal) -> (usize, usize) {
    let text = terminal.text();
    let (row, line) = text.lines().enumerate().find(|(_, line)| line.contains(" 4 digits ·")).unwrap();
    let column = line[..line.find(" 4 digits ·").unwrap()].chars().count();
    (column + 2, row + 2)
}

/// Drags the mouse over these cells of the paper with a button: 0 is the left one, 2 the right one.
fn drag(terminal: &mut Terminal, button: usize, cells: &[(usize, usize)]) {
    let (left, top) = origin(terminal);
    for (number, (x, y)) in cells.iter().enumerate() {
        let code = if number == 0 { button } else { button + 32 };
        terminal.keys(&format!("\x1b[<{code};{};{}M", left + x, top + y));
    }
    terminal.keys(&format!("\x1b[<{button};{left};{top}m"));
}

#[test]
fn a_drawing_is_predicted_saved_kept_and_measured() {
    let home = Home::new();
    let mut terminal = paper(&home, 120, 40);
    drag(&mut terminal, 0, &[(14, 2), (14, 11)]);
    terminal.wait_for("seen: ");
    terminal.wait_for("predicted ");
    let before = terminal.text();
    // While it trains what the network says becomes another, without a key.
    terminal.keys(" ");
    terminal.wait_for("completed");
    terminal.wait_until("what the trained network says", |screen| {
        screen.contains("predicted 1") && probabilities(screen) != probabilities(&before)
    });
    terminal.keys("w");
    terminal.wait_for("draw save");
    terminal.keys("one.png");
    terminal.keys(ENTER);
    terminal.wait_for("saved the drawing in one.png");
    terminal.command("draw save one.png");
    terminal.wait_for("there already");
    terminal.leave_command_line();
    terminal.keys("+");
    terminal.wait_for("which digit is it?");
    terminal.keys("1");
    terminal.wait_for("kept as drawings/1-0001.png");
    // A cross over it is another digit, with a label that can't be right.
    drag(&mut terminal, 0, &[(6, 6), (22, 6)]);
    terminal.keys("+0");
    terminal.wait_for("kept as drawings/0-0001.png");
    fs::write(home.path().join("sessions/drawings/notes.txt"), "mine").unwrap();
    fs::write(home.path().join("sessions/drawings/5-0001.png"), "damaged").unwrap();
    terminal.command("next drawings");
    terminal.wait_for("1 of 2 right");
    terminal.wait_for("label 0");
    terminal.wait_for("left out");
    terminal.leave_command_line();
    terminal.keys("4n");
    terminal.wait_for("label 1");
    terminal.keys("o");
    terminal.wait_for("1→1");
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
    terminal.check_restored();

    let read = run(&home, &["predict", "run-1", "one.png", "--json"]);
    assert!(read.out.contains(r#""digit":1"#), "{}", read.out);
    let measured = run(&home, &["eval", "run-1", "--split", "drawings", "--json"]);
    assert!(measured.out.contains(r#""correct":1"#) && measured.out.contains(r#""total":2"#), "{}", measured.out);
}

/// The lines with the classes' probabilities.
fn probabilities(screen: &str) -> Vec<String> {
    screen.lines().filter(|line| line.contains(" %")).map(str::to_owned).collect()
}

#[test]
fn keys_draw_undo_and_clear_on_a_small_screen_that_changes_its_size() {
    let home = Home::new();
    let mut terminal = paper(&home, 80, 24);
    terminal.keys(ENTER);
    terminal.keys("jjjjjjjjjjjjjjjjjj");
    terminal.wait_for("pen down");
    terminal.wait_for("predicted ");
    drag(&mut terminal, 0, &[(2, 3)]);
    terminal.bytes(b"\x1b[<0;10;10M");
    terminal.resize(60, 18);
    terminal.bytes(b"\x1b[<32;12;12M\x1b[<32;200;90M\x1b[<0;200;90m");
    terminal.wait_until("it is drawn anew", |screen| screen.lines().all(|line| line.chars().count() <= 60));
    terminal.wait_for("predicted ");
    // A size that comes together with input is taken in too, each time.
    for _ in 0..20 {
        terminal.resize(30, 9);
        terminal.wait_for("needs");
        terminal.bytes(b"\x1b[<0;3;3M\x1b[<32;5;5M\x1b[<0;5;5m");
        terminal.resize(80, 24);
        terminal.wait_for("pen up");
        terminal.keys("c");
        terminal.wait_for("press the mouse");
        terminal.keys("u");
        terminal.wait_for("predicted ");
    }
    terminal.keys(ESCAPE);
    terminal.wait_until("the paper is put away", |screen| !screen.contains("draw, pen"));
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
}

#[test]
fn a_folder_that_can_not_be_written_to_is_told() {
    let home = Home::new();
    fs::create_dir_all(home.path().join("sessions")).unwrap();
    fs::write(home.path().join("sessions/drawings"), "a file in the folder's place").unwrap();
    let mut terminal = paper(&home, 120, 40);
    terminal.keys("+3");
    terminal.wait_for("nothing is drawn");
    drag(&mut terminal, 0, &[(14, 2), (14, 11)]);
    terminal.wait_for("predicted ");
    terminal.keys("+3");
    terminal.wait_for("can't be listed");
    terminal.command("next drawings");
    terminal.wait_for("check that it is a folder");
    terminal.leave_command_line();
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
}
