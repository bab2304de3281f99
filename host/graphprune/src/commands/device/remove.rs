//! `graphprune device remove`.

use std::process::ExitCode;

use crate::output::say;
use latency::Registry;

/// Remove a device's name. The files on the device stay.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the device
    name: String,
}

/// Removes it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let device = Registry::of_user()?.remove(&args.name)?;
    say!("{} ({}) is forgotten", args.name, device.address);
    Ok(ExitCode::SUCCESS)
}
