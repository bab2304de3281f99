//! What a developer types: `cargo xtask setup | demo | test | agents | check | fuzz | bench | zoo`.
//!
//! Invariants: this package builds with neither libtorch nor ONNX Runtime installed, for it is what installs them;
//! everything it installs lies in `.deps` of the checkout; every command can be killed and started again.
//!
//! Deliberately absent: any part of graphprune itself. The demo and the benches run the built programs.

mod agents;
mod bench;
mod check;
mod debian;
mod demo;
mod fuzz;
mod setup;
mod shell;
mod test;
mod zoo;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::shell::Checkout;

/// Set-up, demo, tests and checks of graphprune.
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
    /// Install, build, and prune the built-in network on the built-in data for this machine
    Demo {
        /// Install the libraries for NVIDIA GPUs too
        #[arg(long)]
        cuda: bool,
        /// More arguments for `graphprune prune`; they override those of the demo
        #[arg(last = true)]
        more: Vec<String>,
    },
    /// Install, then run every check and test
    Test(test::Options),
    /// Build the agent for other machines, into `target/agents`
    Agents(agents::Options),
    /// Assert the architecture and the rules of the house on the sources
    Check(check::Options),
    /// Run each fuzz target for a while
    Fuzz {
        /// Seconds for each target
        #[arg(long, default_value_t = 300)]
        seconds: u32,
    },
    /// Install the peers' environment and run the benchmarks
    Bench {
        /// Arguments for `cargo bench`, such as the name of a benchmark
        #[arg(last = true)]
        more: Vec<String>,
    },
    /// Export the networks of torchvision and timm and check that each is read, pruned exactly and trained
    Zoo(zoo::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = Checkout::find().and_then(|checkout| match &arguments.command {
        Command::Setup(options) => setup::run(&checkout, options),
        Command::Demo { cuda, more } => demo::run(&checkout, *cuda, more),
        Command::Test(options) => test::run(&checkout, options),
        Command::Agents(options) => agents::run(&checkout, options),
        Command::Check(options) => check::run(&checkout, options),
        Command::Fuzz { seconds } => fuzz::run(&checkout, *seconds),
        Command::Bench { more } => bench::run(&checkout, more),
        Command::Zoo(options) => zoo::run(&checkout, options),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
