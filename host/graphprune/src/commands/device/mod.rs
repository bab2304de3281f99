//! `graphprune device`: the devices that networks are measured on. One file a sub-command.

mod add;
mod deploy;
mod doctor;
mod enroll;
mod list;
mod monitor;
mod remove;

use std::process::ExitCode;

use clap::Subcommand;
use latency::Resolved;

/// Name, set up, examine and watch the devices that networks are measured on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    graphprune device add kitchen --profile raspberry-pi-5 --address pi@kitchen\n  \
    graphprune device deploy kitchen && graphprune device doctor kitchen\n  \
    graphprune prune --device kitchen ...")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::Args),
    Add(add::Args),
    Remove(remove::Args),
    Deploy(deploy::Args),
    Doctor(doctor::Args),
    Monitor(monitor::Args),
    Enroll(enroll::Args),
}

/// Runs the sub-command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List(args) => list::run(&args),
        Command::Add(args) => add::run(args),
        Command::Remove(args) => remove::run(&args),
        Command::Deploy(args) => deploy::run(args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Monitor(args) => monitor::run(&args),
        Command::Enroll(args) => enroll::run(args),
    }
}

/// Which device.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// A device's name, `local`, or with --profile its address
    #[arg(value_name = "DEVICE")]
    device: String,
    /// The profile of a device that is named by its address: a name or a file
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
}

impl Which {
    fn resolve(&self) -> Result<Resolved, latency::LatencyError> {
        match &self.profile {
            Some(profile) => latency::resolve_address(&self.device, profile),
            None => latency::resolve(&self.device),
        }
    }
}
