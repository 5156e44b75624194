//! The pictures that README shows, drawn from what the program really puts on the screen.
//!
//! `cargo test --release --test program screens -- --ignored` draws them anew, in some minutes of training.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use crate::home::Home;
use crate::picture;
use crate::terminal::{ENTER, Launch, Terminal};

/// The size of most pictures, in columns and rows.
const MIDDLE: (u16, u16) = (96, 28);
/// One in which all panes are shown.
const LARGE: (u16, u16) = (110, 32);
/// One for a table.
const LOW: (u16, u16) = (96, 18);

/// Writes what is on the screen to `tests/screens`, once nothing is being written to it.
fn draw(terminal: &Terminal, name: &str) {
    let mut written = 0;
    while written != terminal.written() {
        written = terminal.written();
        std::thread::sleep(Duration::from_millis(60));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screens");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name).with_extension("svg"), terminal.look(picture::svg)).unwrap();
}

/// Adds the session that ships with the source; a lab that finds one offers to go on with it.
fn add_demo(home: &Home) {
    fs::create_dir_all(home.store().folder()).unwrap();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("sessions/demo.mlab");
    fs::copy(demo, home.store().folder().join("demo.mlab")).unwrap();
}

/// The lab on the real digits, ready.
fn lab(home: &Home, (columns, rows): (u16, u16), arguments: &[&str]) -> Terminal {
    let launch = Launch::program(home, &[&["lab"], arguments].concat()).without("MNIST_LAB_DATA");
    let terminal = launch.size(columns, rows).start();
    terminal.wait_for("ready");
    terminal
}

/// Gives a command, waits for a part of what it answers, and goes back to the panes.
fn ask(terminal: &mut Terminal, command: &str, answer: &str) {
    terminal.command(command);
    terminal.wait_for(answer);
    terminal.leave_command_line();
}

/// Gives keys, waits for a part of what they show, and draws that.
fn show(terminal: &mut Terminal, keys: &str, shown: &str, name: &str) {
    terminal.keys(keys);
    terminal.wait_for(shown);
    draw(terminal, name);
}

fn leave(mut terminal: Terminal) {
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
}

/// The lab in the middle of a run on the real digits, with a setting changed and a doubtful digit asked for.
#[test]
#[ignore = "draws the picture of README anew"]
fn the_dashboard_in_the_middle_of_a_run() {
    let home = Home::new();
    let mut terminal = lab(&home, (132, 44), &["--seed", "1", "--augment", "tutorial"]);
    terminal.keys(" ");
    terminal.patiently().wait_for("epoch 3/");
    terminal.command("set lr 3e-4");
    ask(&mut terminal, "predict 947", "947: ");
    terminal.wait_for("epoch 5/");
    draw(&terminal, "dashboard");
    leave(terminal);
}

/// A search of the tutorial's space in the place of the curves, with the lines through what its trials tried.
#[test]
#[ignore = "draws the picture of README anew"]
fn a_search_at_its_end() {
    let home = Home::new();
    let mut terminal = lab(&home, (104, 36), &["--seed", "1"]);
    terminal.command("tune --trials 14 --epochs 2 --objective val_loss");
    terminal.leave_command_line();
    terminal.keys("1z");
    terminal.patiently().wait_for("14/14, done");
    draw(&terminal, "search");
    leave(terminal);
}

/// One pane alone, with the session that ships with the source.
#[test]
#[ignore = "draws the pictures of README anew"]
fn the_demo_in_every_view() {
    // A seven: to its corner, the pen down, its stroke to the right and the one down.
    let seven = ["4zdhhhhh", ENTER, "llllllllll", "jjhjjhjjhjjhjjhjj", ENTER].concat();
    for (name, size, (command, answer), (keys, shown)) in [
        ("explained", MIDDLE, ("explain 115", "115: "), ("4z", "saliency")),
        ("corrupted", MIDDLE, ("predict 115", "115: "), ("4zc", "of 15 right")),
        ("studio", MIDDLE, ("predict 115", "115: "), ("4zalll", "not applied: rotate=15")),
        ("drawn", MIDDLE, ("predict 115", "115: "), (&seven, "predicted 7")),
        ("gallery", (96, 29), ("next wrong", "wrong [1"), ("4zoll", "3/")),
        ("nearest", (96, 21), ("nearest 115", "115: "), ("4z", "its like in training")),
        ("classes", LOW, ("eval", "test: accuracy"), ("2zmvv", "precision")),
        ("calibration", LOW, ("eval", "test: accuracy"), ("2zmmjjjjjjjj", "ECE")),
    ] {
        let home = Home::new();
        add_demo(&home);
        let mut terminal = lab(&home, size, &["--load", "demo"]);
        ask(&mut terminal, command, answer);
        show(&mut terminal, keys, shown, name);
        leave(terminal);
    }
}

/// A run as its layers see it, and half of it once more with shorter steps, beside the demo.
#[test]
#[ignore = "draws the pictures of README anew"]
fn the_curves_of_layers_and_of_branches() {
    let home = Home::new();
    let mut terminal = lab(&home, MIDDLE, &["--seed", "1", "--epochs", "8"]);
    add_demo(&home);
    terminal.keys("t");
    terminal.patiently().wait_for("completed");
    show(&mut terminal, "1m", "gradient norm", "layers");
    ask(&mut terminal, "rewind 4", "back at the end of epoch 4");
    ask(&mut terminal, "set lr 2e-4", "0.001 → 2e-4");
    ask(&mut terminal, "overlay demo", "drawn behind the run");
    terminal.keys("t");
    terminal.wait_for("· training ·");
    terminal.wait_for("completed");
    show(&mut terminal, "1mm", "error rate", "branches");
    leave(terminal);
}

/// A run whose learning rate is far too high, and what the lab says of it.
#[test]
#[ignore = "draws the picture of README anew"]
fn the_advice_on_a_run_that_learns_nothing() {
    let home = Home::new();
    let mut terminal = lab(&home, (120, 40), &["--seed", "1", "--lr", "0.1"]);
    terminal.keys(" ");
    terminal.patiently().wait_for("Enter: set lr");
    show(&mut terminal, "6", "epoch 2/", "advice");
    leave(terminal);
}

/// A run without a terminal of its own, and a dashboard that came to it.
#[test]
#[ignore = "draws the picture of README anew"]
fn a_dashboard_attached_to_a_run() {
    let home = Home::new();
    let mut terminal = shell(&home, LARGE);
    terminal.keys("mnist-lab train --seed 1 --listen run.sock --save long > long.log &\r");
    terminal.keys("sleep 1; mnist-lab attach run.sock\r");
    terminal.wait_for("attached");
    terminal.patiently().wait_for("epoch 4/");
    draw(&terminal, "attached");
    terminal.keys("q");
    terminal.wait_for("it trains on");
    terminal.keys("kill $!; wait; exit\r");
    terminal.exit_code();
}

/// What the program says where it has no dashboard.
#[test]
#[ignore = "draws the picture of README anew"]
fn a_run_in_a_shell() {
    let home = Home::new();
    let mut terminal = shell(&home, LOW);
    terminal.keys("mnist-lab train --seed 1 --epochs 3 --save first\r");
    terminal.patiently().wait_for("opens it\n$ ");
    terminal.keys("mnist-lab predict first 42 947\r");
    show(&mut terminal, "", "947: ", "shell");
}

/// A shell that finds the program.
fn shell(home: &Home, (columns, rows): (u16, u16)) -> Terminal {
    let bin = home.path().join("bin");
    fs::create_dir_all(&bin).unwrap();
    symlink(env!("CARGO_BIN_EXE_mnist-lab"), bin.join("mnist-lab")).unwrap();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display());
    let launch = Launch::shell(home).with("PATH", &path).with("PS1", "$ ").without("MNIST_LAB_DATA");
    let terminal = launch.size(columns, rows).start();
    terminal.wait_for("$ ");
    terminal
}

/// Where the tour begins.
#[test]
#[ignore = "draws the picture of README anew"]
fn the_first_stop_of_the_tour() {
    let home = Home::new();
    let mut terminal = lab(&home, LARGE, &["--tour"]);
    show(&mut terminal, "", "1/10", "tour");
    leave(terminal);
}
