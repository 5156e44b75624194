//! The picture of the dashboard that README shows, drawn from what the program really puts on the screen.
//!
//! `cargo test --release --test program screens -- --ignored` draws it anew, in half a minute of training.

use std::fs;
use std::path::Path;

use crate::home::Home;
use crate::picture;
use crate::terminal::{Launch, Terminal};

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
