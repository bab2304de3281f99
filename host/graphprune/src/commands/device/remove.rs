//! `graphprune device remove`.

use std::process::ExitCode;

use crate::output::say;
use latency::Registry;

/// Forget a device. What lies on it stays there.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The device's name
    name: String,
}

/// Removes it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let device = Registry::of_user()?.remove(&args.name)?;
    say!("{} ({}) is forgotten", args.name, device.address);
    Ok(ExitCode::SUCCESS)
}
