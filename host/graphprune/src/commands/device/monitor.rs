//! `graphprune device monitor`.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::Context;
use latency::{AgentDevice, DeviceState, Patience};

use super::Which;

/// Watch a device's temperatures, frequencies and load until Ctrl-C.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Seconds between two looks
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
    interval: f64,
    /// End after so many looks
    #[arg(long)]
    count: Option<u64>,
    /// Print each state as a line of JSON
    #[arg(long)]
    json: bool,
}

/// Watches.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let interval = Duration::try_from_secs_f64(args.interval).context("--interval")?;
    let device = args.which.resolve()?;
    let mut agent = AgentDevice::start(device.launcher, &device.profile.name, Patience::default())?;
    let (interrupt, stop) = channel();
    ctrlc::set_handler(move || {
        // Nobody listens any more once the end has begun.
        let _ = interrupt.send(());
    })
    .context("cannot listen for Ctrl-C")?;
    // On a terminal each line replaces the one before; elsewhere they follow each other.
    let live = std::io::stdout().is_terminal() && !args.json;
    let mut before: Option<DeviceState> = None;
    let mut looks = 0;
    while args.count != Some(looks) {
        let client = agent.client().context("the agent is gone")?;
        let state = client.device_state()?;
        if args.json {
            println!("{}", serde_json::to_string(&state)?);
        } else {
            let line = line(&state, before.as_ref());
            if live {
                print!("\r\x1b[K{line}");
                std::io::Write::flush(&mut std::io::stdout())?;
            } else {
                println!("{line}");
            }
        }
        before = Some(state);
        looks += 1;
        if args.count == Some(looks) || stop.recv_timeout(interval).is_ok() {
            break;
        }
    }
    if live {
        println!();
    }
    Ok(ExitCode::SUCCESS)
}

fn line(state: &DeviceState, before: Option<&DeviceState>) -> String {
    let mut parts = Vec::new();
    if let Some(zone) = state.thermal.iter().max_by_key(|zone| zone.millicelsius) {
        parts.push(format!(
            "{} {:.1} C",
            zone.name,
            zone.millicelsius as f64 / 1e3
        ));
    }
    let frequencies: Vec<String> = state
        .cores
        .iter()
        .filter_map(|core| core.frequency_khz)
        .map(|khz| format!("{:.2}", khz as f64 / 1e6))
        .collect();
    if !frequencies.is_empty() {
        parts.push(format!("{} GHz", frequencies.join(" ")));
    }
    if let Some(busy) = busy(state, before) {
        parts.push(format!("{busy:.1} cores busy"));
    }
    if let Some(load) = state.load1 {
        parts.push(format!("load {load:.2}"));
    }
    if let Some(bytes) = state.available_memory_bytes {
        parts.push(format!("{:.0} MB free", bytes as f64 / 1e6));
    }
    if let Some(battery) = &state.battery {
        let charging = if battery.charging == Some(true) {
            " charging"
        } else {
            ""
        };
        parts.push(format!("battery {} %{charging}", battery.percent));
    }
    parts.join("  |  ")
}

/// Cores that were busy between two looks.
fn busy(state: &DeviceState, before: Option<&DeviceState>) -> Option<f64> {
    let before = before?;
    let busy = state.cpu_busy_ns?.checked_sub(before.cpu_busy_ns?)?;
    let elapsed = state.taken_unix_ns.checked_sub(before.taken_unix_ns)?;
    (elapsed > 0).then(|| busy as f64 / elapsed as f64)
}
