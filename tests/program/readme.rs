//! Every command in README's shell blocks does what it is there for.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::CommandFactory;
use mnist_lab::cli::Grammar;
use mnist_lab::data::{Dataset, SIDE};

use crate::digits;
use crate::home::Home;
use crate::shell;
use crate::terminal::{ENTER, Launch};

/// The session that ships with the source; it was trained on the real digits.
const DEMO: &str = "demo";

#[test]
fn every_command_of_readme_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let home = prepare(root);
    let mut ran = 0;
    for line in shell_lines(&fs::read_to_string(root.join("README.md")).unwrap()) {
        let Some(line) = of_the_program(&line) else { continue };
        if opens_the_lab(&line) {
            open_lab(&home, &line);
        } else if line.starts_with("mnist-lab serve ") {
            // Until it is told to end; on a port that nobody else has.
            run(&home, &format!("timeout -s TERM --preserve-status 3 {line} --addr 127.0.0.1:0"));
        } else {
            run(&home, &line);
        }
        ran += 1;
    }
    assert!(ran > 5, "README shows how to use the program: {ran} commands");
}

/// A home with the program on the path, the demo, and a picture of a digit.
fn prepare(root: &Path) -> Home {
    let home = Home::new();
    fs::create_dir_all(home.path().join("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_mnist-lab"), home.path().join("bin/mnist-lab")).unwrap();
    let demo = root.join("sessions").join(DEMO).with_extension("mlab");
    fs::create_dir_all(home.store().folder()).unwrap();
    if demo.exists() {
        fs::copy(&demo, home.store().folder().join("demo.mlab")).unwrap();
    }
    let data = Dataset::open(Some(digits::folder())).unwrap();
    let side = SIDE as u32;
    let picture = image::GrayImage::from_raw(side, side, data.test.image(0).to_vec()).unwrap();
    picture.save(home.path().join("digit.png")).unwrap();
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    fs::write(home.path().join("space.toml"), toml(&readme, "[parameters]")).unwrap();
    home
}

/// The block of TOML that holds `words`.
fn toml<'a>(text: &'a str, words: &str) -> &'a str {
    let mut blocks = text.split("```toml\n").skip(1).filter_map(|block| block.split("```").next());
    blocks.find(|block| block.contains(words)).unwrap()
}

#[test]
fn the_configuration_of_readme_makes_a_run() {
    let home = Home::new();
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    fs::write(home.path().join("config.toml"), toml(&readme, "[train]")).unwrap();
    let train = ["train", "--config", "config.toml", "--epochs", "1", "--save", "a", "--json"];
    let started = shell::run(&home, &train).good().objects().remove(0);
    assert!(started["arch"].as_str().unwrap().starts_with("conv6:5x5:p2"), "LeNet-5: {started}");
    assert_eq!((started["seed"].as_u64(), started["validation_samples"].as_u64()), (Some(1), Some(60)));
    let settings = home.store().load("a").unwrap().run.settings;
    assert!((settings.learning_rate - 3e-4).abs() < 1e-12, "{}", settings.learning_rate);
    assert_eq!(settings.augment.to_string(), "rotate=10,shift=0.1");
}

/// The lines of all shell blocks, those that end with a backslash joined with the next.
fn shell_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let (mut in_block, mut goes_on) = (false, false);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block && line.contains("sh");
            continue;
        }
        if !in_block {
            continue;
        }
        let line = line.trim();
        let part = line.strip_suffix('\\').unwrap_or(line);
        match lines.last_mut().filter(|_| goes_on) {
            Some(last) => *last += part,
            None => lines.push(part.to_owned()),
        }
        goes_on = part.len() < line.len();
    }
    lines
}

/// A line that starts the program, as the program's own name would; building and copying are no matter of this test, nor
/// is what needs a GPU.
fn of_the_program(line: &str) -> Option<String> {
    let line = line.split(" # ").next().unwrap_or(line).trim();
    let line = match line.strip_prefix("cargo run --release") {
        Some(rest) if rest.trim_start().starts_with("--features") => return None,
        Some(rest) => format!("mnist-lab {}", rest.trim_start().trim_start_matches("--").trim_start()),
        None => line.strip_prefix("./target/release/").unwrap_or(line).to_owned(),
    };
    let is_ours = line == "mnist-lab" || line.contains("mnist-lab ");
    (is_ours && !["cargo ", "scp ", "ssh ", "git ", "cuda"].iter().any(|other| line.contains(other)))
        .then(|| line.trim().to_owned())
}

/// Whether a line asks for the lab, or for nothing else.
fn opens_the_lab(line: &str) -> bool {
    let grammar = Grammar::command();
    let others: Vec<&str> =
        grammar.get_subcommands().map(clap::Command::get_name).filter(|&name| name != "lab").collect();
    let asks_other = |word: &String| others.contains(&word.as_str()) || word == "--help" || word == "--version";
    !shlex::split(line).unwrap().iter().any(asks_other)
}

/// Runs a line in a shell: on the small data set, unless it is about the demo.
#[track_caller]
fn run(home: &Home, line: &str) {
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", home.path().join("bin").display());
    let mut shell = Command::new("/bin/sh");
    shell.args(["-ec", line]).env_clear().envs(home.environment()).env("PATH", path);
    if line.contains(DEMO) {
        shell.env_remove("MNIST_LAB_DATA");
    }
    let output = shell.current_dir(home.path()).stdin(Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{line}\n{}{}", said[0], said[1]);
}

/// Opens the lab in a terminal and leaves it.
#[track_caller]
fn open_lab(home: &Home, line: &str) {
    let words = shlex::split(line).unwrap();
    let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
    let launch = Launch::program(home, &arguments);
    let launch = if line.contains(DEMO) { launch.without("MNIST_LAB_DATA") } else { launch };
    let mut terminal = launch.start();
    terminal.wait_for("help");
    terminal.wait_until("the lab or its offer", |screen| screen.contains("epoch") || screen.contains("resume"));
    if terminal.text().contains("start afresh") {
        terminal.keys(ENTER);
        terminal.wait_until("the offer is taken", |screen| !screen.contains("start afresh"));
    }
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0, "{line}\n{}", terminal.text());
}

#[test]
fn commands_are_found_in_a_text() {
    let text = "```sh\ncargo run --release\ncargo run --release -- train --epochs 1 \\\n  --json # a word\n```\nno\n```toml\nx\n```\n\
                ```sh\nscp target/release/mnist-lab box:\nmnist-lab eval demo\ncargo build --release --features cuda\n```\n";
    let lines: Vec<String> = shell_lines(text).iter().filter_map(|line| of_the_program(line)).collect();
    assert_eq!(lines, ["mnist-lab", "mnist-lab train --epochs 1 --json", "mnist-lab eval demo"]);
}
