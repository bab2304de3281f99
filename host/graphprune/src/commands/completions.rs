//! `graphprune completions`: shell completions.

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::output::Output;

/// Print completions for a shell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  graphprune completions bash > ~/.local/share/bash-completion/completions/graphprune"
)]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the completions.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    clap_complete::generate(
        args.shell,
        &mut crate::Cli::command(),
        "graphprune",
        &mut Output,
    );
    Ok(ExitCode::SUCCESS)
}
