//! The program `graphprune`: everything but what computes with libtorch.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    graphprune::start()
}
