//! mnist-lab: the program.

use std::process::ExitCode;

fn main() -> ExitCode {
    mnist_lab::cli::main()
}
