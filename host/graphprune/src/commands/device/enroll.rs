//! `graphprune device enroll`.

use std::process::ExitCode;

use crate::output::say;
use latency::{Enrolment, Registry, enroll};

/// Create the certificates of a device whose agent listens on a network.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Run it again to renew the certificates; those of other devices stay valid.\n\nExample:\n  \
    graphprune device enroll rack --host 10.0.0.7"
)]
pub struct Args {
    /// Name of the device
    name: String,
    /// Address at which hosts reach the device
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    host: String,
    /// Validity of the certificates, in days
    #[arg(long, default_value_t = 825)]
    days: u32,
    /// Replace the CA, after a host or its key was lost. All devices must be enrolled again
    #[arg(long)]
    new_ca: bool,
}

/// Makes them and says what to do with them.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let made = enroll(&Enrolment {
        device: args.name.clone(),
        address: args.host,
        days: args.days,
        folder: None,
        new_ca: args.new_ca,
    })?;
    let folder = made.device_folder.display();
    if made.new_ca {
        say!(
            "A new CA is in {}; ca.key there signs for all your devices and must stay there.",
            made.host_folder.display()
        );
    }
    if let Some(retired) = &made.retired {
        say!("The old CA is in {}.", retired.display());
    }
    if !made.to_enroll.is_empty() {
        say!(
            "These devices accept only hosts of the old CA until they are enrolled again: {}",
            made.to_enroll.join(", ")
        );
    }
    say!(
        "The certificates of {} are valid until {}.\n",
        args.name,
        made.valid_until
    );
    say!(
        "Copy {folder} to the device, readable by the agent's user only, and the agent beside it, for example:"
    );
    made.copying().iter().for_each(|line| say!("  {line}"));
    say!(
        "\nStart the agent there, in the same folder:\n  {}\n",
        made.by_hand()
    );
    say!("Or make it a service:");
    made.installing().iter().for_each(|line| say!("  {line}"));
    say!("\nwith /etc/systemd/system/graphprune-agent.service:");
    made.unit().lines().for_each(|line| say!("  {line}"));
    say!();
    if !Registry::of_user()?.devices()?.contains_key(&args.name) {
        say!(
            "Then: graphprune device add {} --profile PROFILE --address tcp:{}",
            args.name,
            made.address
        );
    }
    Ok(ExitCode::SUCCESS)
}
