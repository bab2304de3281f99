//! The program `graphprune-train`: the commands of `graphprune` that compute with libtorch.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    graphprune::start_training()
}
