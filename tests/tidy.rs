//! The rules of the layers, held by reading the source: what may use what, and how files are laid out.

use std::fs;
use std::path::{Path, PathBuf};

/// The domain, each module after those that it may use: numbers and runs, without a screen, a network, a clock or a word printed.
const DOMAIN: &[&str] = &["random", "data", "arch", "metrics", "nn", "explain", "train", "session", "tune"];
/// The lab: commands in, state out. It uses the domain.
const LAB: &[&str] = &["command", "reply", "state", "advice", "search", "signals", "lab", "error"];
/// The ways in and out. They use the lab and the domain, and not each other.
const ADAPTERS: &[&str] = &["cli", "repl", "serve", "export", "import", "tui", "attach", "gpu"];
/// The one adapter that may start the others: it reads the command line and gives way to what was asked for.
const FRONT_DOOR: &str = "cli";

/// Crates that the domain does without.
const NOT_IN_DOMAIN: &[&str] = &["tokio", "ratatui", "crossterm", "clap", "axum", "indicatif"];
/// Crates that the lab does without.
const NOT_IN_LAB: &[&str] = &["ratatui", "crossterm", "axum", "indicatif"];
/// Macros that print; only adapters speak to people.
const PRINTING: &[&str] = &["print", "println", "eprint", "eprintln", "dbg"];
/// Folders whose kernels may hold `unsafe`.
const UNSAFE_ALLOWED: &[&str] = &["src/nn/cpu", "src/nn/cuda"];
/// File names that say nothing of what is inside.
const EMPTY_NAMES: &[&str] = &["mod", "utils", "util", "common", "helpers", "helper", "manager", "base", "misc"];
/// Words of one machine or one day, which mean nothing to a reader.
const FORBIDDEN_WORDS: &[&str] = &["/work/", "/root/", "/home/", "subagent", "issue #", "FIXME", "XXX"];

#[test]
fn the_source_keeps_the_rules() {
    let files = files_below("src", &["rs"]);
    assert!(files.len() > 20, "the source is read: {} files", files.len());
    let broken: Vec<String> = files.iter().flat_map(|(path, text)| broken_rules(path, text)).collect();
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn no_file_speaks_of_one_machine() {
    let mut files = files_below("src", &["rs", "md", "txt"]);
    files.extend(files_below("tests", &["rs", "md", "py"]));
    files.extend(files_below(".ci", &[""]));
    for name in ["README.md", "CHANGELOG.md", "Cargo.toml"] {
        files.push((name.into(), fs::read_to_string(root().join(name)).unwrap_or_default()));
    }
    files.retain(|(path, _)| path != "tests/tidy.rs");
    let broken: Vec<String> = files.iter().flat_map(|(path, text)| forbidden_words(path, text)).collect();
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn each_rule_finds_what_breaks_it() {
    check("src/data.rs", "use std::fs;\nuse crate::random::Stream;", &[]);
    check("src/data/idx.rs", "use crate::nn::Network;", &["data may not use nn"]);
    check("src/random.rs", "use crate::{data::Image, arch};", &["random may not use data", "random may not use arch"]);
    check("src/train.rs", "fn f() { crate::lab::Lab::new() }", &["train may not use lab"]);
    check("src/train.rs", "use tokio::sync;", &["train may not use the crate tokio"]);
    check("src/train.rs", "// tokio\nlet s = \"tokio println!(\";", &[]);
    check("src/metrics.rs", "println!(\"{x}\");", &["metrics may not print"]);
    check("src/state.rs", "use crate::train::Progress; use tokio::sync::watch;", &[]);
    check("src/lab.rs", "use crate::tui::App;", &["lab may not use tui"]);
    check("src/lab.rs", "use ratatui::Frame;", &["lab may not use the crate ratatui"]);
    check("src/tui/view.rs", "use crate::export::plot;", &["tui may not use export"]);
    check("src/tui/view.rs", "use crate::lab::Lab; use crate::tui::model::Model;", &[]);
    check("src/cli.rs", "use crate::{export::plot, tui};", &[]);
    check("src/main.rs", "use mnist_lab::cli; println!();", &[]);
    check("src/train.rs", "unsafe { f() }", &["`unsafe` outside"]);
    check("src/nn/cpu/simd.rs", "unsafe { f() }", &[]);
    check("src/nn.rs", "#![expect(unsafe_code, reason = \"unsafe\")]", &[]);
    check("src/nn/utils.rs", "", &["name"]);
    check("src/nn/mod.rs", "", &["name"]);
    check("src/wizard.rs", "", &["no layer"]);
    check("src/wizard/hat.rs", "", &["no layer"]);
    assert_eq!(broken_rules("src/nn.rs", "use std::fs;").len(), 1, "a file without an opening line");
    assert_eq!(forbidden_words("a.rs", "// see /work/main\nfine\n").len(), 1);
}

/// Checks that a file of this content, under an opening line, breaks these rules alone.
#[track_caller]
fn check(path: &str, text: &str, expected: &[&str]) {
    let broken = broken_rules(path, &format!("//! What lives here.\n{text}"));
    assert_eq!(broken.len(), expected.len(), "{path}: {broken:?}");
    for (broken, expected) in broken.iter().zip(expected) {
        assert!(broken.contains(expected), "{path}: {broken}");
    }
}

fn broken_rules(path: &str, text: &str) -> Vec<String> {
    let module = path.trim_start_matches("src/").trim_end_matches(".rs").split('/').next().unwrap_or_default();
    let name = Path::new(path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let code = words(text);
    let mut broken = Vec::new();
    if !text.starts_with("//! ") {
        broken.push("does not open with a `//! ` line that says what lives there".to_owned());
    }
    if EMPTY_NAMES.contains(&name) {
        broken.push("has a name that says nothing: name it after what it holds".to_owned());
    }
    let is_unsafe = code.iter().any(|word| word == "unsafe");
    if is_unsafe && !UNSAFE_ALLOWED.iter().any(|folder| path.starts_with(folder)) {
        broken.push(format!("`unsafe` outside {}", UNSAFE_ALLOWED.join(" and ")));
    }
    if !["lib", "main"].contains(&module) {
        broken.extend(broken_layers(module, &code));
    }
    broken.iter().map(|rule| format!("{path}: {rule}")).collect()
}

fn broken_layers(module: &str, code: &[String]) -> Vec<String> {
    let all: Vec<&str> = [DOMAIN, LAB, ADAPTERS].concat();
    let (allowed, crates): (Vec<&str>, &[&str]) = if let Some(place) = DOMAIN.iter().position(|&name| name == module) {
        (DOMAIN[..=place].to_vec(), NOT_IN_DOMAIN)
    } else if LAB.contains(&module) {
        ([DOMAIN, LAB].concat(), NOT_IN_LAB)
    } else if module == FRONT_DOOR {
        (all, &[])
    } else if ADAPTERS.contains(&module) {
        ([DOMAIN, LAB, &[module]].concat(), &[])
    } else {
        return vec![format!("{module} is in no layer: give it a place in tests/tidy.rs")];
    };
    let mut broken = Vec::new();
    for used in used_modules(code) {
        if !allowed.contains(&used) {
            broken.push(format!("{module} may not use {used}"));
        }
    }
    for name in crates {
        if code.iter().any(|word| word == name) {
            broken.push(format!("{module} may not use the crate {name}"));
        }
    }
    let prints = code.windows(2).any(|pair| PRINTING.contains(&pair[0].as_str()) && pair[1] == "!");
    if prints && !ADAPTERS.contains(&module) {
        broken.push(format!("{module} may not print"));
    }
    broken
}

/// The modules that stand after `crate::`, alone or in braces.
fn used_modules(code: &[String]) -> Vec<&str> {
    let mut used = Vec::new();
    for (position, word) in code.iter().enumerate() {
        if word != "crate" || code.get(position + 1).map(String::as_str) != Some("::") {
            continue;
        }
        let mut depth = 0;
        for pair in code[position + 1..].windows(2) {
            let [before, word] = pair else { break };
            match word.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                name if depth <= 1 && ["::", "{", ","].contains(&before.as_str()) => {
                    let first_in_path = depth == 0 || before != "::";
                    if first_in_path && name.chars().all(|c| c.is_lowercase() || c == '_') {
                        used.push(name);
                    }
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    used
}

/// The names and signs of a source text, without its comments and what its strings say.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(length) = string_length(rest) {
            length
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            words.push(rest[..length].to_owned());
            length
        } else {
            let length = if rest.starts_with("::") { 2 } else { first.len_utf8() };
            if !first.is_whitespace() {
                words.push(rest[..length].to_owned());
            }
            length
        };
        rest = &rest[length..];
    }
    words
}

/// The length of the string or character literal that `text` begins with.
fn string_length(text: &str) -> Option<usize> {
    if text.starts_with("'\"'") || text.starts_with("'\\") {
        return Some(2 + text[2..].find('\'')? + 1);
    }
    if let Some(raw) = text.strip_prefix('r').filter(|raw| raw.starts_with(['#', '"'])) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let opening = 1 + hashes + 1;
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(opening + text.get(opening..)?.find(&end)? + end.len());
    }
    let mut escaped = false;
    let inside = text.strip_prefix('"')?;
    for (position, c) in inside.char_indices() {
        match c {
            '"' if !escaped => return Some(position + 2),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

fn forbidden_words(path: &str, text: &str) -> Vec<String> {
    let found = text.lines().zip(1..).flat_map(|(line, number)| {
        let words = FORBIDDEN_WORDS.iter().filter(move |&&word| line.contains(word));
        words.map(move |word| format!("{path}:{number}: speaks of `{word}`"))
    });
    found.collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files with one of these endings below `folder`: their paths from the project's root, and what they hold.
fn files_below(folder: &str, endings: &[&str]) -> Vec<(String, String)> {
    let mut folders: Vec<PathBuf> = vec![root().join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("the folder can be read").path();
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            if path.is_dir() {
                folders.push(path);
            } else if endings.contains(&ending) {
                let name = path.strip_prefix(root()).expect("it lies in the project").to_string_lossy().into_owned();
                files.push((name, fs::read_to_string(&path).expect("the file is text")));
            }
        }
    }
    files.sort();
    files
}
