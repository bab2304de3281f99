//! `graphprune device doctor`.

use std::process::ExitCode;

use latency::{Grade, Patience, examine};

use super::which::Which;
use crate::exit;
use crate::output::say;

/// Check that a device can measure, and report conditions that would distort its figures.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 the device is fit for measuring, possibly with warnings; 3 it is not; 1 an error."
)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Examines and prints.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let device = args.which.resolve()?;
    let found = examine(device, &Patience::default());
    if args.json {
        say!("{}", serde_json::to_string_pretty(&found)?);
    } else {
        say!(
            "{} ({}), profile {}",
            found.device,
            found.place,
            found.profile
        );
        for finding in &found.findings {
            let grade = match finding.grade {
                Grade::Ok => "ok     ",
                Grade::Warning => "WARNING",
                Grade::Error => "ERROR  ",
            };
            say!("{grade}  {}: {}", finding.check, finding.seen);
            if !finding.advice.is_empty() {
                say!("         -> {}", finding.advice);
            }
        }
    }
    Ok(exit::met(found.is_well()))
}
