//! The fuzzer: libFuzzer's inputs go to the target that the environment variable `TARGET` names.
#![no_main]

mod targets;

use std::env;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use targets::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = env::var("TARGET").unwrap_or_default();
    TARGETS.iter().find(|target| target.name == name).expect("TARGET names a target")
});

fuzz_target!(|bytes: &[u8]| (TARGET.read)(bytes));
