//! `graphprune device add`.

use std::path::Path;
use std::process::ExitCode;

use crate::options::Usage;
use crate::output::say;
use anyhow::Context;
use latency::{Address, Profile, Registered, Registry, TransportKind};

/// Register a device under a name.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    graphprune device add kitchen --profile raspberry-pi-5 --address pi@kitchen\n  \
    graphprune device add phone --profile pixel --address adb:0A1B2C3D\n  \
    graphprune device add f4 --profile stm32f4-discovery --address probe:0483:374b\n  \
    graphprune device add lab-f4 --profile stm32f4-discovery --address lab@host/probe:0483:374b\n  \
    graphprune device add rack --profile rock-5b --address tcp:10.0.0.7:7070\n\n\
    The name `local` is this machine. It needs no entry; `--profile mine.toml --address local` gives it \
    other settings, such as more threads.")]
pub struct Args {
    /// Name: lower-case letters, digits, hyphens
    name: String,
    /// Name of a built-in profile, or the path of a profile
    #[arg(long)]
    profile: String,
    /// Address: ssh:USER@HOST, adb:SERIAL, tcp:HOST:PORT, probe:VID:PID[:SERIAL],
    /// USER@HOST/probe:VID:PID[:SERIAL] or local. The prefix defaults to the profile's transport
    #[arg(long)]
    address: String,
    /// The agent's folder on the device [default: .graphprune in the home folder,
    /// /data/local/tmp/graphprune by adb]
    #[arg(long, default_value = "", hide_default_value = true)]
    folder: String,
    /// Further argument for ssh; repeatable
    #[arg(
        long = "ssh-argument",
        value_name = "ARGUMENT",
        allow_hyphen_values = true
    )]
    ssh_arguments: Vec<String>,
    /// Replace the device of the same name
    #[arg(long)]
    replace: bool,
}

/// Adds it.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let profile = Profile::find(&args.profile)?;
    // The absolute path is valid in any folder.
    let named = if Profile::built_in(&args.profile).is_some() {
        args.profile.clone()
    } else {
        let path = Path::new(&args.profile).canonicalize();
        path.with_context(|| format!("finding {}", args.profile))?
            .display()
            .to_string()
    };
    let address = Address::parse(&args.address, Some(profile.transport))
        .map_err(|problem| Usage::error(format!("--address: {problem}")))?;
    if !args.ssh_arguments.is_empty() && address.kind != TransportKind::Ssh {
        return Err(Usage::error(format!(
            "--ssh-argument is for devices behind ssh, and this one is {address}"
        )));
    }
    let registry = Registry::of_user()?;
    let device = Registered {
        profile: named,
        address: address.to_string(),
        folder: args.folder,
        ssh_arguments: args.ssh_arguments,
    };
    registry.add(&args.name, device, args.replace)?;
    if args.name == Registry::LOCAL {
        say!("local is this machine with the profile {}", args.profile);
    } else {
        say!("{} is {address}, a {}", args.name, profile.name);
    }
    Ok(ExitCode::SUCCESS)
}
