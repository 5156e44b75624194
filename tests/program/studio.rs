//! The augmentation studio and the corruptions, as a person uses them.

use crate::home::{Home, SMALL};
use crate::terminal::{ENTER, ESCAPE, Launch, Terminal};

fn ready(home: &Home, columns: u16, rows: u16) -> Terminal {
    let arguments = ["lab", "--arch", SMALL, "--epochs", "1", "--lr", "0.01"];
    let terminal = Launch::program(home, &arguments).size(columns, rows).start();
    terminal.wait_for("ready");
    terminal
}

#[test]
fn an_augmentation_is_turned_seen_and_applied() {
    let home = Home::new();
    let mut terminal = ready(&home, 120, 40);
    terminal.keys("a");
    terminal.wait_for("digit 0, label 5");
    let before = colours(&terminal);
    // What is turned is seen at once, and the run is left alone.
    terminal.keys("ll");
    terminal.wait_for("augment not applied: rotate=10");
    let changed = colours(&terminal).iter().zip(&before).filter(|(now, before)| now != before).count();
    assert!(changed > 100, "the previews follow: {changed} cells have other colours");
    terminal.keys("jl");
    terminal.wait_for("augment not applied: rotate=10,shift=0.05");
    terminal.keys(ENTER);
    terminal.wait_for("augment none → rotate=10,shift=0.05");
    terminal.wait_until("it is the run's", |screen| !screen.contains("not applied"));
    // Another digit, and away without a change.
    terminal.keys("n");
    terminal.wait_for("digit 1, label 0");
    terminal.keys("jjjl");
    terminal.wait_for("elastic=0.5");
    terminal.keys(ESCAPE);
    terminal.wait_until("the studio is left", |screen| !screen.contains("not applied"));
    terminal.command("train");
    terminal.leave_command_line();
    terminal.wait_for("completed");
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
    let settings = home.store().load("run-1").unwrap().run.settings;
    assert_eq!(settings.augment.to_string(), "rotate=10,shift=0.05");
}

/// The colours of all cells: of half-blocks they are the picture.
fn colours(terminal: &Terminal) -> Vec<(vt100::Color, vt100::Color)> {
    terminal.look(|screen| {
        let (rows, columns) = screen.size();
        let cells = (0..rows).flat_map(|row| (0..columns).filter_map(move |column| screen.cell(row, column)));
        cells.map(|cell| (cell.fgcolor(), cell.bgcolor())).collect()
    })
}

#[test]
fn a_digit_is_corrupted_judged_and_the_test_set_measured() {
    let home = Home::new();
    let mut terminal = ready(&home, 80, 24);
    terminal.keys("t");
    terminal.wait_for("completed");
    terminal.keys("4");
    terminal.command("predict 7");
    terminal.leave_command_line();
    terminal.keys("4c");
    for name in ["shot_noise", "impulse_noise", "dotted_line", "canny_edges", " 7 corrupted, severity 3"] {
        terminal.wait_for(name);
    }
    terminal.wait_for(" of 15 right");
    terminal.wait_for("as it is: ");
    terminal.keys("ll");
    terminal.wait_for(" 7 corrupted, severity 5: ");
    terminal.keys("n");
    terminal.wait_until("another digit", |screen| screen.contains("severity 5: ") && !screen.contains(" 7 corrupted"));
    // Too small for a moment, and back.
    terminal.resize(40, 9);
    terminal.wait_for("needs 60");
    terminal.resize(60, 18);
    terminal.wait_for("canny_");
    terminal.resize(80, 24);
    terminal.wait_for("as it is: ");
    terminal.keys(ENTER);
    terminal.wait_for("canny_edges:5");
    terminal.wait_for("not corrupted");
    terminal.leave_command_line();
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
}

#[test]
fn without_colours_and_blocks_it_can_be_read() {
    let home = Home::new();
    let arguments = ["lab", "--arch", SMALL];
    let launch = Launch::program(&home, &arguments).with("NO_COLOR", "1").with("LANG", "C").size(80, 24);
    let mut terminal = launch.start();
    terminal.wait_for("ready");
    terminal.keys("al");
    terminal.wait_for("augment not applied: rotate=5");
    terminal.keys("c");
    terminal.wait_for(" of 15 right");
    assert!(terminal.text().is_ascii(), "{}", terminal.text());
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
}
