//! `graphprune device remove`.

use std::process::ExitCode;

use crate::output::say;
use latency::Registry;

/// Remove a device's name, or this machine's own profile. The files on the device stay.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the device
    name: String,
}

/// Removes it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let device = Registry::of_user()?.remove(&args.name)?;
    if args.name == Registry::LOCAL {
        say!("local has its built-in profile again");
    } else {
        say!("{} ({}) is forgotten", args.name, device.address);
    }
    Ok(ExitCode::SUCCESS)
}
