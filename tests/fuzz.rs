//! Every input that the fuzzer began with or found, given to what reads it; `tests/fuzz/run.sh` looks for more.
#![expect(clippy::unwrap_used, reason = "a test that can't go on stops")]

#[path = "fuzz/seeds.rs"]
mod seeds;
#[path = "fuzz/targets.rs"]
mod targets;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, panic};

use targets::{TARGETS, Target};

/// No input may take longer, on a machine that does other things too.
const LONGEST: Duration = Duration::from_secs(10);

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

/// The files of a folder, by name; those of the folders in it are left out.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

#[test]
fn every_input_is_read_without_harm() {
    for Target { name, read } in TARGETS {
        let inputs = files(&corpus().join(name));
        assert!(!inputs.is_empty(), "{name} has no inputs");
        for input in inputs {
            let bytes = fs::read(&input).unwrap();
            let start = Instant::now();
            let result = panic::catch_unwind(|| read(&bytes));
            assert!(result.is_ok() && start.elapsed() < LONGEST, "{name} reads {}", input.display());
        }
    }
}

#[test]
fn every_folder_of_inputs_has_a_target() {
    let folders = fs::read_dir(corpus()).unwrap();
    let folders: BTreeSet<String> = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let names = TARGETS.map(|target| target.name.to_owned());
    assert_eq!(folders, names.into_iter().collect());
}

/// The formats that the program writes: `cargo test --release --test fuzz -- --ignored` takes their inputs from it anew.
#[test]
#[ignore = "writes into tests/fuzz/corpus"]
fn what_the_program_writes_becomes_input() {
    seeds::write(&corpus());
}
