//! `graphprune device enroll`.

use std::process::ExitCode;

use crate::output::say;
use latency::{Enrolment, Registry, enroll};

/// Make certificates for a device whose agent listens on a network.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Run it again to renew the certificates; other devices go on with theirs.\n\nExample:\n  \
    graphprune device enroll rack --host 10.0.0.7"
)]
pub struct Args {
    /// What the device is or will be called
    name: String,
    /// Where hosts reach the device
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    host: String,
    /// How long the certificates are valid
    #[arg(long, default_value_t = 825)]
    days: u32,
}

/// Makes them and says what to do with them.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let made = enroll(&Enrolment {
        device: args.name.clone(),
        address: args.host,
        days: args.days,
        folder: None,
    })?;
    let folder = made.device_folder.display();
    if made.new_ca {
        say!(
            "A new CA is in {}; ca.key there signs for all your devices and must stay there.",
            made.host_folder.display()
        );
    }
    say!(
        "The certificates of {} are valid until {}.\n",
        args.name,
        made.valid_until
    );
    say!("Copy {folder} to the device, readable by the agent's user only, for example:");
    say!("  scp -rp {folder} USER@HOST:graphprune-tls\n");
    say!("Start the agent there:");
    say!(
        "  graphprune-agent serve --listen 0.0.0.0:{} --tls graphprune-tls\n",
        made.port
    );
    say!("Or as a service, /etc/systemd/system/graphprune-agent.service:");
    say!("{}", unit(made.port));
    if !Registry::of_user()?.devices()?.contains_key(&args.name) {
        say!(
            "Then: graphprune device add {} --profile PROFILE --address tcp:{}",
            args.name,
            made.address
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn unit(port: u16) -> String {
    format!(
        "  [Unit]\n  Description=graphprune agent\n  After=network-online.target\n  Wants=network-online.target\n\n  \
         [Service]\n  ExecStart=/opt/graphprune/graphprune-agent serve --listen 0.0.0.0:{port} --tls /opt/graphprune/tls\n  \
         User=graphprune\n  LimitNICE=-10\n  Restart=always\n  RestartSec=2\n\n  \
         [Install]\n  WantedBy=multi-user.target\n"
    )
}
