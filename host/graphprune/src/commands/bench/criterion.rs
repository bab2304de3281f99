//! Criterion over what the agent measured.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};
use regression::statistics::{self, Estimates, Rounds};

use crate::output::note_part;

/// Criterion's statistics of rounds that come over standard input, in a process of its own
/// because it prints.
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
    let mut child = Command::new(std::env::current_exe()?)
        .arg("bench-statistics")
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start the statistics")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(serde_json::to_string(rounds)?.as_bytes())?;
    }
    // It gets pipes, because it ends where it cannot print, and standard error may be a disk that
    // is full.
    let output = child.wait_with_output()?;
    if !quiet {
        for said in [&output.stderr, &output.stdout] {
            note_part!("{}", String::from_utf8_lossy(said));
        }
    }
    if !output.status.success() {
        bail!(
            "the statistics of {} ended with {}",
            rounds.id,
            output.status
        );
    }
    Ok(statistics::read(folder, rounds)?)
}

/// The process that runs Criterion.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let rounds = serde_json::from_reader(std::io::stdin().lock())?;
    statistics::run(&args.folder, &rounds);
    Ok(ExitCode::SUCCESS)
}
