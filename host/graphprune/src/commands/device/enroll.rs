//! `graphprune device enroll`.

use std::process::ExitCode;

use crate::output::say;
use latency::{
    ClientEnrolment, ClientList, Enrolment, Registry, Right, clients, enroll, enroll_client,
    revoke_client,
};

/// Create the certificates of a device whose agent listens on a network, or admit other hosts.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "graphprune device enroll NAME --host ADDRESS[:PORT] [--days DAYS] [--new-ca]\n       \
    graphprune device enroll --client HOST [--rights RIGHTS] [--days DAYS]\n       \
    graphprune device enroll --revoke HOST\n       \
    graphprune device enroll --clients",
    after_help = "Run it again to renew the certificates; those of other devices stay valid.\n\nExamples:\n  \
    graphprune device enroll rack --host 10.0.0.7\n  \
    graphprune device enroll --client ci --rights measure\n  \
    graphprune device enroll --revoke ci"
)]
pub struct Args {
    /// Name of the device
    #[arg(required_unless_present_any = ["client", "revoke", "clients"], requires = "host")]
    name: Option<String>,
    /// Address at which hosts reach the device
    #[arg(long, value_name = "ADDRESS[:PORT]", requires = "name", conflicts_with_all = ["client", "revoke", "clients"])]
    host: Option<String>,
    /// Validity of the certificates, in days
    #[arg(long, default_value_t = 825)]
    days: u32,
    /// Replace the CA, after the host with its key was lost. All devices and hosts must be
    /// enrolled again
    #[arg(long, requires = "name", conflicts_with_all = ["client", "revoke", "clients"])]
    new_ca: bool,
    /// Create or renew the certificate of another host that may use your devices
    #[arg(long, value_name = "HOST", conflicts_with = "name")]
    client: Option<String>,
    /// What the other host may do: watch, measure, shut-down; separated by commas
    #[arg(
        long,
        value_name = "RIGHTS",
        value_delimiter = ',',
        default_value = "measure",
        requires = "client"
    )]
    rights: Vec<Right>,
    /// Take the access to your devices from another host
    #[arg(long, value_name = "HOST", conflicts_with_all = ["name", "client"])]
    revoke: Option<String>,
    /// List the hosts that may use your devices
    #[arg(long, conflicts_with_all = ["name", "client", "revoke"])]
    clients: bool,
}

/// Makes or revokes them and prints what to do with them.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(name) = args.client {
        other_host(ClientEnrolment {
            name,
            rights: args.rights,
            days: args.days,
            folder: None,
        })?;
    } else if let Some(name) = &args.revoke {
        let list = revoke_client(name, None)?;
        say!("{name} is no longer a client of your devices once they have the new list.");
        say_copying(&list);
    } else if args.clients {
        say_clients()?;
    } else if let (Some(device), Some(address)) = (args.name, args.host) {
        device_behind_tls(Enrolment {
            device,
            address,
            days: args.days,
            folder: None,
            new_ca: args.new_ca,
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn other_host(enrolment: ClientEnrolment) -> anyhow::Result<()> {
    let made = enroll_client(&enrolment)?;
    let (name, rights) = (&enrolment.name, words(&enrolment.rights));
    say!(
        "{name} may use your devices until {} ({rights}).\n",
        made.valid_until
    );
    say!(
        "Copy {0} to it as ~/.config/graphprune/tls, readable by its user only:\n  scp -rp {0} USER@{name}:.config/graphprune/tls",
        made.client_folder.display()
    );
    say_copying(&made.list);
    Ok(())
}

/// Prints how the list reaches the devices.
fn say_copying(list: &ClientList) {
    if list.devices.is_empty() {
        return;
    }
    say!("\nCopy the list of clients to each device; it takes effect without a restart:");
    for (device, path) in &list.devices {
        say!("  {}   # {device}", ClientList::copying(path));
    }
    say!(
        "For a device whose agent is a service, copy it on to the folder of its --tls, owned by the agent's user."
    );
}

fn say_clients() -> anyhow::Result<()> {
    let clients = clients(None)?;
    if clients.all().is_empty() {
        say!("No host is enrolled; `graphprune device enroll NAME --host ADDRESS` begins.");
    }
    for client in clients.all() {
        say!("{}  {}", client.name, words(&client.rights));
    }
    Ok(())
}

fn words(rights: &[Right]) -> String {
    let names: Vec<&str> = rights.iter().map(|right| right.name()).collect();
    names.join(", ")
}

fn device_behind_tls(enrolment: Enrolment) -> anyhow::Result<()> {
    let made = enroll(&enrolment)?;
    let name = &enrolment.device;
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
    if !made.clients_to_enroll.is_empty() {
        say!(
            "These hosts have no access with the new CA until they are enrolled again: {}",
            made.clients_to_enroll.join(", ")
        );
    }
    say!(
        "The certificates of {name} are valid until {}.\n",
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
    if !Registry::of_user()?.devices()?.contains_key(name) {
        say!(
            "Then: graphprune device add {name} --profile PROFILE --address tcp:{}",
            made.address
        );
    }
    Ok(())
}
