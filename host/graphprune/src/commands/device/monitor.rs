//! `graphprune device monitor`.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::Context;
use latency::{DeviceState, MonitorEvent};

use super::which::Which;
use crate::output::{self, say};

/// The time within which the agent must start.
const PATIENCE: Duration = Duration::from_secs(30);

/// Show a device's temperatures, frequencies, load and queue until Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The queue is that of the agent that is asked. Behind ssh and adb each host has an agent of its own, and then \
    the others show only in temperatures, frequencies and load."
)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Interval in seconds, at least 0.2
    #[arg(long, default_value = "1", value_name = "SECONDS", value_parser = interval)]
    interval: Duration,
    /// Number of readings, after which it ends
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print each reading as a line of JSON
    #[arg(long)]
    json: bool,
}

/// A pause in seconds that an agent accepts.
fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|s| (0.2..=86_400.0).contains(s));
    let pause = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    pause.ok_or_else(|| "a number of seconds from 0.2 to 86400 is needed".to_owned())
}

/// Watches.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let device = args.which.resolve()?;
    let mut link = device.launcher.launch(PATIENCE)?;
    let (interrupt, stop) = channel();
    ctrlc::set_handler(move || {
        // The receiver is gone once the end has begun.
        let _ = interrupt.send(());
    })
    .context("cannot listen for Ctrl-C")?;
    // On a terminal each line replaces the one before; elsewhere they follow each other.
    let live = std::io::stdout().is_terminal() && !args.json;
    let mut before: Option<DeviceState> = None;
    let mut looks = 0;
    link.client().monitor(args.interval, &mut |event| {
        if args.json {
            say!("{}", json(&event));
        } else if live {
            let line = line(&event, before.as_ref());
            let line = latency::plain::on_one_line(&line);
            output::write_raw(format_args!("\r\x1b[K{line}"));
            output::flush();
        } else {
            say!("{}", line(&event, before.as_ref()));
        }
        before = Some(event.device);
        looks += 1;
        args.count != Some(looks) && output::is_open() && stop.try_recv().is_err()
    })?;
    if live {
        say!();
    }
    Ok(ExitCode::SUCCESS)
}

fn json(event: &MonitorEvent) -> serde_json::Value {
    let activity = event.agent.activity.as_ref().map(|activity| {
        serde_json::json!({
            "client": activity.client,
            "models": activity.models,
            "stage": activity.progress.stage,
            "rounds": activity.progress.rounds,
            "elapsed_ns": activity.elapsed_ns,
        })
    });
    serde_json::json!({
        "device": event.device,
        "activity": activity,
        "queued": event.agent.queued,
        "models": event.agent.models,
        "connections": event.agent.connections,
        "uptime_ns": event.agent.uptime_ns,
    })
}

fn line(event: &MonitorEvent, before: Option<&DeviceState>) -> String {
    let state = &event.device;
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
    parts.push(match &event.agent.activity {
        None => "idle".to_owned(),
        Some(activity) => format!(
            "{}: {}",
            activity.models.join(", "),
            activity.progress.stage
        ),
    });
    if event.agent.queued > 0 {
        parts.push(format!("{} wait", event.agent.queued));
    }
    parts.join("  |  ")
}

/// Cores that were busy between two readings.
fn busy(state: &DeviceState, before: Option<&DeviceState>) -> Option<f64> {
    let before = before?;
    let busy = state.cpu_busy_ns?.checked_sub(before.cpu_busy_ns?)?;
    let elapsed = state.taken_unix_ns.checked_sub(before.taken_unix_ns)?;
    (elapsed > 0).then(|| busy as f64 / elapsed as f64)
}
