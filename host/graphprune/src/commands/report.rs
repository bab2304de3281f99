//! `graphprune report`: the report of a finished run, written again or printed.

use crate::output::say;
use std::path::PathBuf;
use std::process::ExitCode;

/// Print the table of a finished run and write its HTML report again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  graphprune report runs/a")]
pub struct Args {
    /// Folder of the run
    run: PathBuf,
    /// Print the report's data as JSON
    #[arg(long)]
    json: bool,
}

/// Prints the table and the report's path.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (data, path) = pipeline::rewrite_report(&args.run)?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&data)?);
    } else {
        say!("{}", pipeline::table(&data));
        say!("report: {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}
