//! `graphprune plan`: what a finished run keeps of its network.

use std::path::PathBuf;
use std::process::ExitCode;

use pipeline::CutPlan;

use crate::options::Usage;
use crate::output::say;

/// Show what a finished run keeps of its network: the units of every group, and with --json the
/// kept indices of every parameter by its name in the file
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  graphprune plan runs/a\n  graphprune plan runs/a --json > plan.json"
)]
pub struct Args {
    /// Run folder, or a plan file
    run: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the plan.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = if args.run.is_dir() {
        args.run.join("plan.json")
    } else {
        args.run.clone()
    };
    if args.run.is_dir() && !args.run.join("config.toml").exists() {
        return Err(Usage::error(format!(
            "'{}' holds no run (no config.toml): name the folder of a run, or a plan file",
            args.run.display()
        )));
    }
    if args.run.is_dir() && !path.exists() {
        return Err(Usage::error(format!(
            "'{}' has no plan yet: it is written when the run is exported (`graphprune prune --out {} --resume`)",
            args.run.display(),
            args.run.display()
        )));
    }
    let plan = CutPlan::read(&path)?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&plan)?);
        return Ok(ExitCode::SUCCESS);
    }
    let longest = plan.groups.iter().map(|g| g.name.len()).max();
    let width = longest.unwrap_or(0).max("group".len());
    say!("{:<width$}  channels  kept", "group");
    for group in &plan.groups {
        let removed = if group.keep.is_empty() {
            "  (the branch is removed)"
        } else {
            ""
        };
        let kept = group.keep.len();
        say!(
            "{:<width$}  {:>8}  {kept:>4}{removed}",
            group.name,
            group.channels
        );
    }
    say!(
        "\n{} parameters of {} get smaller, {} operators go",
        plan.parameters.len(),
        plan.model,
        plan.removed
            .iter()
            .map(|r| r.operators.len())
            .sum::<usize>()
    );
    Ok(ExitCode::SUCCESS)
}
