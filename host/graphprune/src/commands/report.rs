//! `graphprune report`: the report of a finished run, written again or printed.

use crate::output::say;
use std::path::PathBuf;
use std::process::ExitCode;

/// Print the table of a finished run and write its HTML report again.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  graphprune report runs/a\n  graphprune report --schema > report.schema.json"
)]
pub struct Args {
    /// Folder of the run
    #[arg(required_unless_present = "schema")]
    run: Option<PathBuf>,
    /// Print the report's data as JSON, the content of report.json
    #[arg(long)]
    json: bool,
    /// Print the JSON schema of report.json
    #[arg(long, conflicts_with_all = ["run", "json"])]
    schema: bool,
}

/// Prints the table and the report's path.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Some(run) = &args.run else {
        say!(
            "{}",
            serde_json::to_string_pretty(&pipeline::report_schema())?
        );
        return Ok(ExitCode::SUCCESS);
    };
    let (data, path) = pipeline::rewrite_report(run)?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&data)?);
    } else {
        say!("{}", pipeline::table(&data));
        say!("report: {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}
