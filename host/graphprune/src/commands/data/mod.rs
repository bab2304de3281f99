//! `graphprune data`: the data of networks. One file a sub-command.

mod check;

use std::process::ExitCode;

use clap::Subcommand;

/// Check data before a run.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  graphprune data check model.onnx --data folder:photos")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Args),
}

/// Runs the sub-command.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Check(args) => check::run(args),
    }
}
