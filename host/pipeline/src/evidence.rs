//! The evidence of a report: devices, runtime, and the measurements behind the final table.

use latency::{DeviceState, Measurement, Record, Verdict, memory_in_words, runtime_in_words};
use measuring::Session;
use report::{DeviceLine, Evidence, Fact, MeasurementLine, Provider};

use crate::measure::runtime_line;
use crate::stages::export::{FinalRow, NetworkRole};

/// The newest measurement of a model, by the device of this name where it is not empty.
pub(crate) fn newest<'a>(
    stored: &'a [Record],
    sha256: &str,
    device: &str,
) -> Option<&'a Measurement> {
    let of = |record: &&Record| {
        (device.is_empty() || record.origin.device_name == device)
            && record.measurement.model_sha256.to_string() == sha256
    };
    stored.iter().rev().find(of).map(|r| &r.measurement)
}

/// Warnings about devices that differ.
pub(crate) fn device_warnings(devices: &[DeviceLine]) -> Vec<String> {
    let differ = devices.iter().filter(|line| line.differs);
    differ
        .filter_map(|line| {
            let bias = line.bias?;
            Some(format!(
                "Device {} differs from the others of its profile: its ratios are {:.3}x theirs (95 % interval {:.3} to {:.3}, {} \
                 models).",
                line.name, bias.value, bias.low, bias.high, line.shared
            ))
        })
        .collect()
}

/// The devices, where there are several.
fn devices(session: &Session, stored: &[Record]) -> Vec<DeviceLine> {
    if session.devices() == 1 {
        return Vec::new();
    }
    let differences = session.differences(stored);
    session
        .states()
        .into_iter()
        .map(|state| {
            let found = differences.iter().find(|(name, _)| *name == state.name);
            let found = found
                .map(|(_, difference)| difference.clone())
                .unwrap_or_default();
            DeviceLine {
                about: state.device.map_or_else(String::new, |info| {
                    format!(
                        "{}, {} cores, {}, {}",
                        info.cpu_model,
                        info.cores,
                        info.hostname,
                        runtime_in_words(&info.runtime_version)
                    )
                }),
                name: state.name,
                set_aside: state.set_aside,
                measured: found.measured as u64,
                reference_ns: found.reference_ns.map(|of| of.interval),
                itself: found.itself.map(|of| of.interval),
                bias: found.bias.map(|of| of.interval),
                shared: found.bias.map_or(0, |bias| bias.count as u64),
                differs: found.differs,
            }
        })
        .collect()
}

/// The evidence of the final table's networks, from all measurements of the run.
/// Ratios are to the original, or to `stand_in` where there is one.
pub(crate) fn evidence(
    session: &Session,
    stored: &[Record],
    rows: &[FinalRow],
    stand_in: Option<String>,
) -> Evidence {
    let info = session.info();
    let sampling = &session.profile().sampling;
    let facts = [
        (
            "device",
            format!("{} ({})", session.profile().name, info.hostname),
        ),
        (
            "processor",
            format!("{}, {} cores, {}", info.cpu_model, info.cores, info.arch),
        ),
        ("memory", memory_in_words(info.memory_bytes)),
        ("system", info.os.clone()),
        ("runtime", runtime_in_words(&info.runtime_version)),
        ("agent", info.agent_version.clone()),
        ("threads", sampling.threads.to_string()),
        (
            "spinning",
            if sampling.spinning {
                "on".into()
            } else {
                "off".into()
            },
        ),
        ("batch", sampling.batch.to_string()),
    ];
    let facts = facts.into_iter().chain(board(stored));
    let mut measurements = Vec::new();
    let mut providers: Vec<Provider> = Vec::new();
    let mut of_pruned = Vec::new();
    let mut most_processes = 1;
    for row in rows {
        let Some(of) = &row.ratio else { continue };
        let Some(m) = newest(stored, &of.model_sha256, &of.device) else {
            continue;
        };
        if row.role == NetworkRole::Pruned {
            for node in &m.runtime.node_providers {
                match providers.iter_mut().find(|p| p.name == node.provider) {
                    Some(p) => p.nodes += 1,
                    None => providers.push(Provider {
                        name: node.provider.clone(),
                        nodes: 1,
                    }),
                }
            }
            of_pruned.push(format!("pruned network ran on {}", runtime_line(m)));
            of_pruned.extend(m.notes.iter().cloned());
        }
        most_processes = most_processes.max(m.processes.len());
        measurements.push(line(&row.role.to_string(), m));
    }
    let invalid: Vec<&String> = stored
        .iter()
        .filter_map(|record| match &record.measurement.verdict {
            Verdict::Invalid { reason } => Some(reason),
            Verdict::Valid => None,
        })
        .collect();
    let mut notes: Vec<String> = invalid.iter().map(|r| format!("set aside: {r}")).collect();
    notes.extend(of_pruned);
    if rows.iter().any(|row| row.ratio.is_some()) {
        let reference = stand_in.as_deref().unwrap_or("the original");
        let ratio = if most_processes > 1 {
            "a ratio is the mean over worker processes of the ratio of 5th percentiles in each, its interval that of this mean"
        } else {
            "a ratio is the median over rounds of block against block, its interval that of the order statistics"
        };
        notes.push(format!(
            "Every network ran in the same process as {reference}, in alternating blocks; {ratio}."
        ));
    }
    Evidence {
        facts: facts
            .map(|(name, value)| Fact {
                name: name.into(),
                value,
            })
            .collect(),
        providers,
        reference: Some(stand_in.unwrap_or_else(|| "original".into())),
        valid: (stored.len() - invalid.len()) as u64,
        invalid: invalid.len() as u64,
        measurements,
        devices: devices(session, stored),
        notes,
    }
}

/// The chip and the probe of the newest measurement on a bare-metal board.
fn board(stored: &[Record]) -> impl Iterator<Item = (&'static str, String)> {
    let mut boards = stored.iter().rev();
    let board = boards.find_map(|record| record.measurement.runtime.board.as_ref());
    let facts = board.map(|of| [("chip", of.chip_in_words()), ("probe", of.probe_in_words())]);
    facts.into_iter().flatten()
}

fn line(label: &str, m: &Measurement) -> MeasurementLine {
    MeasurementLine {
        name: label.into(),
        taken_unix_s: Some(m.taken_unix_ns / 1_000_000_000),
        samples: m.samples_ns.len() as u64,
        warmup: m.warmup_ns.len() as u64,
        median_ns: Some(m.median_ns),
        interval_ns: Some(m.ci95_ns),
        peak_memory_bytes: m.peak_memory_bytes,
        before: state(&m.before),
        after: state(&m.after),
        invalid: match &m.verdict {
            Verdict::Valid => None,
            Verdict::Invalid { reason } => Some(reason.clone()),
        },
    }
}

fn state(state: &DeviceState) -> String {
    let mut parts = Vec::new();
    if let Some(load) = state.load1 {
        parts.push(format!("load {load:.2}"));
    }
    let frequencies: Vec<u64> = state.cores.iter().filter_map(|c| c.frequency_khz).collect();
    if let (Some(low), Some(high)) = (frequencies.iter().min(), frequencies.iter().max()) {
        parts.push(format!(
            "{:.2} to {:.2} GHz",
            *low as f64 / 1e6,
            *high as f64 / 1e6
        ));
    }
    if let Some(governor) = state.cores.iter().find_map(|c| c.governor.clone()) {
        parts.push(format!("governor {governor}"));
    }
    if let Some(hottest) = state.thermal.iter().map(|t| t.millicelsius).max() {
        parts.push(format!("{:.0} °C", hottest as f64 / 1000.0));
    }
    if let Some(battery) = &state.battery {
        parts.push(format!("battery {} %", battery.percent));
    }
    if parts.is_empty() {
        "not reported by the system".into()
    } else {
        parts.join(", ")
    }
}
