//! Criterion over what the agent measured.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};
use regression::statistics::{self, Estimates, Rounds};

/// Criterion's statistics of rounds that come over standard input, in a process of its own because it prints.
#[derive(Debug, clap::Args)]
pub struct Args {
    folder: PathBuf,
}

/// Runs Criterion over the rounds in a process of its own, whose words go to standard error.
pub(super) fn criterion(
    quiet: bool,
    folder: &Path,
    rounds: &Rounds,
) -> anyhow::Result<Option<Estimates>> {
    let (said, warned) = if quiet {
        (Stdio::null(), Stdio::null())
    } else {
        (std::io::stderr().into(), Stdio::inherit())
    };
    let mut child = Command::new(std::env::current_exe()?)
        .arg("bench-statistics")
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(said)
        .stderr(warned)
        .spawn()
        .context("cannot start the statistics")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(serde_json::to_string(rounds)?.as_bytes())?;
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("the statistics of {} ended with {status}", rounds.id);
    }
    Ok(statistics::read(folder, rounds)?)
}

/// The process that runs Criterion.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let rounds = serde_json::from_reader(std::io::stdin().lock())?;
    statistics::run(&args.folder, &rounds);
    Ok(ExitCode::SUCCESS)
}
