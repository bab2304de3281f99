//! `graphprune device profile`.

use std::process::ExitCode;

use latency::Profile;

use crate::output::{say, say_part};

/// Show the profiles, the kinds of devices
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    graphprune device profile list\n  \
    graphprune device profile show raspberry-pi-4\n  \
    graphprune device profile show local > mine.toml")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the names of the built-in profiles
    List,
    Show(ShowArgs),
}

/// Print a profile: its file with the comments, or with --all every setting that it takes effect
/// with
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    graphprune device profile show raspberry-pi-4\n  \
    graphprune device profile show local --all")]
struct ShowArgs {
    /// A built-in profile, or the path of one
    profile: String,
    /// Print every setting, those that are not in the file with their defaults
    #[arg(long)]
    all: bool,
}

/// Lists or prints.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::List => Profile::NAMES.iter().for_each(|name| say!("{name}")),
        Command::Show(args) => show(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(args: &ShowArgs) -> anyhow::Result<()> {
    let profile = Profile::find(&args.profile)?;
    if args.all {
        say_part!("{}", profile.to_toml()?);
    } else {
        match Profile::built_in(&args.profile) {
            Some(text) => say_part!("{text}"),
            None => say_part!("{}", std::fs::read_to_string(&args.profile)?),
        }
    }
    Ok(())
}
