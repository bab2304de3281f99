//! `graphprune device`: the devices that networks are measured on. One file a sub-command.

mod add;
mod deploy;
mod doctor;
mod enroll;
mod list;
mod monitor;
mod profile;
mod remove;
mod which;

use std::process::ExitCode;

use clap::Subcommand;

/// Manage devices: names, set-up, checks and monitoring.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    graphprune device add kitchen --profile raspberry-pi-5 --address pi@kitchen\n  \
    graphprune device deploy kitchen\n  \
    graphprune device doctor local\n  \
    graphprune device list --check")]
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
    Profile(profile::Args),
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
        Command::Profile(args) => profile::run(&args),
        Command::Enroll(args) => enroll::run(args),
    }
}
