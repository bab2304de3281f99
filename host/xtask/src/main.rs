//! Developer commands: `cargo xtask setup | demo | test | agents | firmware | dist | check | fuzz |
//! bench | arena | zoo | bridge`.
//!
//! Invariants: this package builds without libtorch and ONNX Runtime, because it installs them;
//! all installed files are in `.deps` of the checkout; every command can be killed and run again.
//!
//! Deliberately absent: any part of graphprune. The demo and the benchmarks run the built
//! programs.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod agents;
mod arena;
mod bench;
mod bridge;
mod check;
mod debian;
mod demo;
mod dist;
mod firmware;
mod fuzz;
mod output;
mod setup;
mod shell;
mod test;
mod zoo;

use std::process::ExitCode;

use anyhow::bail;
use clap::{Parser, Subcommand};

use crate::shell::Checkout;

/// Setup, demo, tests and checks of graphprune.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install libtorch and ONNX Runtime into `.deps` of the checkout
    Setup(setup::Options),
    /// Install, build, and prune the built-in network for this machine
    Demo {
        /// Also install the libraries for NVIDIA GPUs
        #[arg(long)]
        cuda: bool,
        /// Further arguments for `graphprune prune`, which override those of the demo
        #[arg(last = true)]
        more: Vec<String>,
    },
    /// Install, then run every check and test
    Test(test::Options),
    /// Build the agent for other architectures, into `target/agents`
    Agents(agents::Options),
    /// Build the firmware of bare-metal boards, into `.deps/firmware`
    Firmware(firmware::Options),
    /// Build what a user installs, into `target/dist`: a tarball, a wheel, a file for a container
    Dist(dist::Options),
    /// Check the architecture and the rules for sources
    Check(check::Options),
    /// Run the fuzz targets
    Fuzz(fuzz::Options),
    /// Install PyTorch for comparison and run the benchmarks
    Bench {
        /// Arguments for the benchmarks, such as a name
        #[arg(last = true)]
        more: Vec<String>,
    },
    /// Prune a network by every strategy, with several seeds, and compare the results
    Arena(arena::Options),
    /// Export the networks of torchvision and timm, and check that each is read, pruned exactly
    /// and trained
    Zoo(zoo::Options),
    /// Check the Python package: cut modules compute what the cut files of their exports compute
    Bridge(bridge::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = Checkout::find().and_then(|checkout| match &arguments.command {
        Command::Setup(options) => setup::run(&checkout, options),
        Command::Demo { cuda, more } => demo::run(&checkout, *cuda, more),
        Command::Test(options) => test::run(&checkout, options),
        Command::Agents(options) => agents::run(&checkout, options),
        Command::Firmware(options) => firmware::run(&checkout, options),
        Command::Dist(options) => dist::run(&checkout, options),
        Command::Check(options) => check::run(&checkout, options),
        Command::Fuzz(options) => fuzz::run(&checkout, *options),
        Command::Bench { more } => bench::run(&checkout, more),
        Command::Arena(options) => arena::run(&checkout, options),
        Command::Zoo(options) => zoo::run(&checkout, options),
        Command::Bridge(options) => bridge::run(&checkout, options),
    });
    let outcome = outcome.and_then(|()| match output::failure() {
        Some(error) => bail!("cannot write to standard output: {error}"),
        None => Ok(()),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error_bytes(format!("xtask: {error:#}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}
