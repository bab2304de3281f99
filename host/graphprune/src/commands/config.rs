//! `graphprune config`: the settings of runs.

use std::path::PathBuf;
use std::process::ExitCode;

use pipeline::{RunConfig, settings};
use serde::Serialize;

use crate::options::read_configuration;
use crate::output::{say, say_part};

/// Show the settings of runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    graphprune config show > my.toml\n  \
    graphprune config show my.toml\n  \
    graphprune config show runs/a --json")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Show(ShowArgs),
}

/// Print every setting with its meaning, its values, its default and its effective value, as a
/// TOML file for --config
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    graphprune config show > my.toml\n  \
    graphprune config show my.toml\n  \
    graphprune config show runs/a --json")]
struct ShowArgs {
    /// A configuration or a run folder; without it, the defaults
    of: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Shown {
    /// The effective values.
    values: RunConfig,
    /// The meaning of each.
    settings: Vec<pipeline::SettingsTable>,
}

/// Prints the settings.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Command::Show(args) = &args.command;
    let values = match &args.of {
        None => RunConfig::default(),
        Some(of) => {
            let path = if of.is_dir() {
                of.join("config.toml")
            } else {
                of.clone()
            };
            read_configuration(Some(&path))?
        }
    };
    if args.json {
        let settings = settings();
        let shown = Shown { values, settings };
        say!("{}", serde_json::to_string_pretty(&shown)?);
    } else {
        say_part!("{}", values.annotated()?);
    }
    Ok(ExitCode::SUCCESS)
}
