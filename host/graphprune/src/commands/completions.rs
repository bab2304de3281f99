//! `graphprune completions`: shell completions.

use std::process::ExitCode;

use clap_complete::Shell;

use crate::output::Output;

/// Print shell completions.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  graphprune completions bash > ~/.local/share/bash-completion/completions/graphprune"
)]
pub struct Args {
    /// Shell
    shell: Shell,
}

/// Prints the completions.
pub fn run(args: &Args, command: &mut clap::Command) -> anyhow::Result<ExitCode> {
    clap_complete::generate(args.shell, command, "graphprune", &mut Output);
    Ok(ExitCode::SUCCESS)
}
