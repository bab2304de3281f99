//! `graphprune device list`.

use std::process::ExitCode;
use std::time::Duration;

use crate::output::say;
use latency::{Profile, Registry, resolve};
use serde::Serialize;

/// The time within which an agent must start.
const PATIENCE: Duration = Duration::from_secs(20);

/// List the devices and the profiles.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Start each device's agent to check that it can be reached
    #[arg(long)]
    check: bool,
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
    let registry = Registry::of_user()?;
    let local = ("local".to_owned(), "local".to_owned(), "local".to_owned());
    let registered = registry.devices()?;
    let names = registered
        .into_iter()
        .map(|(name, device)| (name, device.profile, device.address));
    let mut rows: Vec<Row> = std::iter::once(local)
        .chain(names)
        .map(|(name, profile, address)| Row {
            name,
            profile,
            address,
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
