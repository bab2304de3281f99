//! `graphprune device list`.

use std::process::ExitCode;
use std::time::Duration;

use crate::options::Usage;
use crate::output::say;
use latency::{Address, Profile, Registry, Transport, TransportKind, plugged_in, resolve};
use serde::Serialize;

/// The time within which an agent must start.
const PATIENCE: Duration = Duration::from_secs(20);

/// List the devices and the profiles.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Start each device's agent to check that it can be reached
    #[arg(long)]
    check: bool,
    /// List the debug probes that are plugged in, here or at a machine behind ssh with a deployed
    /// agent
    #[arg(long, value_name = "USER@HOST", num_args = 0..=1, require_equals = true, default_missing_value = "", conflicts_with = "check")]
    probes: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A device of the list.
#[derive(Serialize)]
struct Row {
    name: String,
    profile: String,
    address: String,
    /// `None` without a check.
    reachable: Option<bool>,
    /// Why it is not reachable.
    problem: Option<String>,
}

#[derive(Serialize)]
struct List {
    devices: Vec<Row>,
    profiles: Vec<&'static str>,
}

/// Lists.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(lab) = &args.probes {
        return list_probes(lab, args.json);
    }
    let registry = Registry::of_user()?;
    let mut rows: Vec<Row> = registry
        .with_local()?
        .into_iter()
        .map(|(name, device)| Row {
            name,
            profile: device.profile,
            address: device.address,
            reachable: None,
            problem: None,
        })
        .collect();
    if args.check {
        // Each may have to wait for a dead connection.
        std::thread::scope(|scope| {
            for row in &mut rows {
                scope.spawn(|| check(row));
            }
        });
    }
    let all_reachable = rows.iter().all(|row| row.reachable != Some(false));
    let list = List {
        devices: rows,
        profiles: Profile::NAMES.to_vec(),
    };
    if args.json {
        say!("{}", serde_json::to_string_pretty(&list)?);
    } else {
        print(&list);
    }
    Ok(ExitCode::from(u8::from(!all_reachable)))
}

/// Lists the debug probes of a machine; an empty name is this one's.
fn list_probes(lab: &str, json: bool) -> anyhow::Result<ExitCode> {
    let transport = match lab {
        "" => None,
        lab => {
            let address = Address::parse(lab, Some(TransportKind::Ssh))
                .map_err(|problem| Usage::error(format!("--probes: {problem}")))?;
            Some(Transport::new(lab, &address, "", &[])?)
        }
    };
    let (ssh, prefix) = match &transport {
        Some(Transport::Ssh(ssh)) => (Some(ssh), format!("{lab}/")),
        Some(_) => return Err(Usage::error(format!("--probes: {lab} is not behind ssh"))),
        None => (None, String::new()),
    };
    let probes = plugged_in(ssh)?;
    if json {
        say!("{}", serde_json::to_string_pretty(&probes)?);
        return Ok(ExitCode::SUCCESS);
    }
    if probes.is_empty() {
        let place = if lab.is_empty() { "this machine" } else { lab };
        say!(
            "No debug probe is plugged in at {place}. Connect one by USB, and check that `lsusb` lists it. A Black Magic Probe \
             on TCP is not listed: its address is {prefix}probe:1d50:6018:HOST:PORT."
        );
    }
    for probe in &probes {
        say!(
            "{prefix}probe:{}  {} ({})",
            probe.selector,
            probe.name,
            probe.driver
        );
        if let Some(advice) = probe.advice() {
            say!("  this user may not open it: {advice}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn check(row: &mut Row) {
    let launched = resolve(&row.name).and_then(|device| device.launcher.launch(PATIENCE));
    row.reachable = Some(launched.is_ok());
    row.problem = launched.err().map(|error| error.to_string());
}

fn print(list: &List) {
    let width = |of: fn(&Row) -> usize| list.devices.iter().map(of).max().unwrap_or(0);
    let (name, profile) = (width(|row| row.name.len()), width(|row| row.profile.len()));
    for row in &list.devices {
        let state = match (row.reachable, &row.problem) {
            (None, _) => String::new(),
            (Some(true), _) => "  reachable".to_owned(),
            (Some(false), problem) => {
                format!(
                    "  NOT REACHABLE: {}",
                    problem.as_deref().unwrap_or_default()
                )
            }
        };
        say!(
            "{:name$}  {:profile$}  {}{state}",
            row.name,
            row.profile,
            row.address
        );
    }
    say!("\nProfiles: {}", list.profiles.join(", "));
}
