//! The pictures of the dashboard that README shows, drawn from what the program really puts on the screen.
//!
//! `cargo test --release --test program screens -- --ignored` draws them anew, in half a minute of training.

use std::fs;
use std::path::Path;

use crate::home::Home;
use crate::picture;
use crate::terminal::{ENTER, Launch, Terminal};

/// Writes what is on the screen to `tests/screens`.
fn draw(terminal: &Terminal, name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screens");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name).with_extension("svg"), terminal.look(picture::svg)).unwrap();
}

/// The lab in the middle of a run on the real digits, with a setting changed and a doubtful digit asked for.
#[test]
#[ignore = "draws the picture of README anew"]
fn the_dashboard_in_the_middle_of_a_run() {
    let home = Home::new();
    let launch = Launch::program(&home, &["lab", "--seed", "1", "--augment", "tutorial"]).without("MNIST_LAB_DATA");
    let mut terminal = launch.size(132, 44).start();
    terminal.wait_for("ready");
    terminal.keys(" ");
    terminal.patiently().wait_for("epoch 3/");
    terminal.command("set lr 3e-4");
    terminal.command("predict 947");
    terminal.wait_for("947: ");
    terminal.leave_command_line();
    terminal.patiently().wait_for("epoch 5/");
    draw(&terminal, "dashboard");
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
}

/// A search of the tutorial's space in the place of the curves, with the lines through what its trials tried.
#[test]
#[ignore = "draws the picture of README anew"]
fn a_search_at_its_end() {
    let home = Home::new();
    let launch = Launch::program(&home, &["lab", "--seed", "1"]).without("MNIST_LAB_DATA");
    let mut terminal = launch.size(104, 36).start();
    terminal.wait_for("ready");
    terminal.command("tune --trials 14 --epochs 2 --objective val_loss");
    terminal.leave_command_line();
    terminal.keys("1z");
    terminal.patiently().wait_for("14/14, done");
    draw(&terminal, "search");
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
}

/// The digits pane alone, with the session that ships with the source: each view of it.
#[test]
#[ignore = "draws the pictures of README anew"]
fn a_digit_in_every_view() {
    let home = Home::new();
    fs::create_dir_all(home.store().folder()).unwrap();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("sessions/demo.mlab");
    fs::copy(demo, home.store().folder().join("demo.mlab")).unwrap();
    let launch = Launch::program(&home, &["lab", "--load", "demo"]).without("MNIST_LAB_DATA");
    let mut terminal = launch.size(96, 28).start();
    terminal.wait_for("ready");
    terminal.command("explain 115");
    terminal.wait_for("115: ");
    terminal.leave_command_line();
    terminal.keys("4z");
    terminal.wait_for("saliency");
    draw(&terminal, "explained");
    terminal.keys("c");
    terminal.wait_for("of 15 right");
    draw(&terminal, "corrupted");
    terminal.keys("a");
    terminal.wait_for("elastic");
    terminal.keys("lll");
    terminal.wait_for("not applied: rotate=15");
    draw(&terminal, "studio");
    terminal.keys("d");
    terminal.wait_for("pen");
    // A seven: to its corner, the pen down, its stroke to the right and the one down.
    for keys in ["hhhhh", ENTER, "llllllllll", "jjhjjhjjhjjhjjhjj", ENTER] {
        terminal.keys(keys);
    }
    terminal.wait_for("predicted 7");
    draw(&terminal, "drawn");
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
}
