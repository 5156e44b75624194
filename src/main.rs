//! mnist-lab: the program.

use std::process::ExitCode;

/// See Cargo.toml.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    mnist_lab::cli::main()
}
