//! From a run's records to its report.

use std::fs;
use std::path::{Path, PathBuf};

use latency::{DeviceState, Estimate, Measurement, Record, Verdict as MeasurementVerdict};
use report::{
    Budget, Candidate, DeviceLine, Evidence, Fact, Group, Header, LatencyFigure, MeasurementLine,
    Provider, ReportData, Role, Row, SkippedFiles, Verdict,
};

use crate::chance::Hits;
use crate::device::{Meter, Ratio};
use crate::error::PipelineError;
use crate::folder::write_atomically;
use crate::measure::runtime_line;
use crate::prepare::{Prepared, data_doubts};
use crate::records::StageName;
use crate::run::now;
use crate::stages::export::FinalRow;
use crate::stages::finetune::{Purpose, Tuned};
use crate::stages::search::Searching;
use crate::stages::select;
use crate::start;
use crate::work::{DEVICE_NEWS, Work};

/// When a run began, and how long it has worked over all its resumptions.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(crate) struct Clock {
    pub started_unix_s: u64,
    pub worked_s: f64,
}

pub(crate) fn report_data(
    work: &mut Work<'_>,
    searching: &Searching<'_>,
    rows: &[FinalRow],
) -> Result<ReportData, PipelineError> {
    let prepared = searching.prepared;
    let feasibility = searching.feasibility;
    let clock = work.records.stage::<Clock>(&StageName::new("clock"))?;
    let pruned = rows.iter().find(|r| r.label == "pruned");
    let verdict = match pruned {
        None => Verdict::Unfinished,
        Some(row) => verdict(work, searching, row),
    };
    let meter = work.meter.as_ref();
    let several = meter.is_some_and(|meter| meter.devices() > 1);
    let stored = meter.map(Meter::records).transpose()?.unwrap_or_default();
    let mut candidates = Vec::new();
    for episode in work.records.episodes(None)? {
        let race = Purpose::Race.stage(&select::name(&episode));
        let race = work.records.stage::<Tuned>(&race)?;
        let candidate = Candidate::from(episode);
        candidates.push(Candidate {
            device: candidate.device.filter(|_| several),
            race_accuracy: race.map(|tuned| tuned.search_accuracy),
            ..candidate
        });
    }
    let groups = prepared
        .analysis
        .groups()
        .iter()
        .enumerate()
        .map(|(i, g)| Group {
            name: g.name.clone(),
            channels: g.channels,
            kept: pruned
                .and_then(|p| p.widths.get(i).copied())
                .unwrap_or(g.channels),
        });
    let hits = work
        .records
        .stage::<Hits>(&StageName::new(start::CLASSIFIES))?;
    let tested: Vec<Hits> = rows.iter().map(|r| tested(prepared, r)).collect();
    let doubts = rows.iter().zip(&tested);
    let doubts: Vec<String> = doubts
        .filter_map(|(row, hits)| hits.final_warning(&row.label))
        .collect();
    let rows: Vec<Row> = rows
        .iter()
        .zip(&tested)
        .map(|(final_row, tested)| {
            let row = row(&stored, several, final_row);
            let original = hits.as_ref().filter(|_| row.role == Role::Original);
            Row {
                test_images: Some(tested.total as u64),
                test_interval: Some(tested.interval()),
                search_accuracy: row.search_accuracy.or(original.map(Hits::share)),
                ..row
            }
        })
        .collect();
    let evidence = match meter {
        Some(meter) => evidence(meter, &stored, &rows, work)?,
        None => Evidence::default(),
    };
    let mut warnings = warnings(&rows, prepared.model.trained);
    warnings.extend(prepared.model.training_warning());
    warnings.extend(device_warnings(&evidence.devices));
    let news = work
        .records
        .stage::<Vec<String>>(&StageName::new(DEVICE_NEWS))?;
    warnings.extend(news.unwrap_or_default());
    warnings.extend(hits.and_then(|h| h.warning()));
    warnings.extend(doubts);
    warnings.extend(data_doubts(&prepared.splits.notes));
    Ok(ReportData {
        header: Header {
            model: prepared.model.name.clone(),
            device: meter.map_or_else(String::new, |m| m.profile().name.clone()),
            data: work.config.data.clone(),
            strategy: work.config.search.strategy.name().into(),
            started_unix_s: clock.map(|c| c.started_unix_s),
            duration_s: clock.map(|c| c.worked_s),
            seed: Some(work.config.seed),
            program: format!("graphprune {}", env!("CARGO_PKG_VERSION")),
            command: format!(
                "graphprune prune --out {} --resume",
                work.folder.root().display()
            ),
        },
        verdict,
        budget: Budget {
            latency_ratio: feasibility.limits.latency_ratio,
            macs_ratio: work.config.budget.macs,
        },
        candidates,
        groups: groups.collect(),
        evidence,
        rows,
        config: work.config.to_toml()?,
        skipped: skipped(prepared),
        warnings,
    })
}

/// The files of the data that were left out.
fn skipped(prepared: &Prepared) -> Vec<SkippedFiles> {
    let notes = &prepared.splits.notes;
    let line = |(skipped, image): (&datasets::Skipped, bool)| SkippedFiles {
        reason: skipped.reason.clone(),
        count: skipped.count as u64,
        examples: skipped.examples.clone(),
        image,
    };
    let images = notes.skipped.iter().map(|s| (s, true));
    let others = notes.others.iter().map(|s| (s, false));
    images.chain(others).map(line).collect()
}

/// A row's accuracy on the test set, to be held against a guess: of the images only the labels are read.
fn tested(prepared: &Prepared, row: &FinalRow) -> Hits {
    let correct = (row.test_accuracy * row.test_images as f64).round() as usize;
    Hits::among(prepared.splits.test.as_ref(), correct)
}

fn verdict(work: &Work<'_>, searching: &Searching<'_>, row: &FinalRow) -> Verdict {
    let feasibility = searching.feasibility;
    let high = row.ratio.as_ref().map(|r| r.high.max(r.median));
    let figures = match &row.ratio {
        Some(r) => format!(
            "latency {:.3}x of the original's (95 % interval {:.3} to {:.3})",
            r.median, r.low, r.high
        ),
        None => String::from("latency not measured"),
    };
    let macs = format!(
        "{:.3}x of its MACs",
        row.macs as f64 / searching.prepared.full_macs.max(1) as f64
    );
    let why = format!("{figures}, {macs}; asked for: {}", work.config.budget);
    if feasibility.limits.load(row.macs, high) <= 1.0 {
        Verdict::Met(why)
    } else {
        Verdict::NotMet(why)
    }
}

fn row(stored: &[Record], several: bool, row: &FinalRow) -> Row {
    let role = match row.label.as_str() {
        "original" => Role::Original,
        "pruned" => Role::Pruned,
        _ => Role::Baseline,
    };
    let figure = |ratio: &Ratio| LatencyFigure {
        device: if several {
            ratio.device.clone()
        } else {
            String::new()
        },
        median_ns: ratio.latency_ns,
        low_ns: ratio.interval_ns.0,
        high_ns: ratio.interval_ns.1,
        ratio: Some(ratio.median),
        ratio_low: Some(ratio.low),
        ratio_high: Some(ratio.high),
        samples_ns: Vec::new(),
    };
    Row {
        label: row.label.clone(),
        role,
        test_accuracy: Some(row.test_accuracy),
        test_images: None,
        test_interval: None,
        search_accuracy: row.search_accuracy,
        latency: row.ratio.as_ref().map(|ratio| LatencyFigure {
            samples_ns: newest(stored, &ratio.model_sha256, &ratio.device)
                .map(|m| m.samples_ns.clone())
                .unwrap_or_default(),
            ..figure(ratio)
        }),
        checks: row.checks.iter().map(figure).collect(),
        macs: Some(row.macs),
        parameters: Some(row.parameters),
        bytes: Some(row.bytes),
    }
}

/// The newest measurement of a model; by the device of this name, where it is told.
fn newest<'a>(stored: &'a [Record], sha256: &str, device: &str) -> Option<&'a Measurement> {
    let of = |record: &&Record| {
        (device.is_empty() || record.origin.device_name == device)
            && record.measurement.model_sha256.to_string() == sha256
    };
    stored.iter().rev().find(of).map(|r| &r.measurement)
}

/// What a reader should know of devices that differ.
fn device_warnings(devices: &[DeviceLine]) -> Vec<String> {
    let differ = devices.iter().filter(|line| line.differs);
    differ
        .filter_map(|line| {
            let (median, low, high) = line.bias?;
            Some(format!(
                "Device {} differs from the others of its profile: its ratios are {median:.3}x theirs (95 % interval {low:.3} \
                 to {high:.3}, {} models).",
                line.name, line.shared
            ))
        })
        .collect()
}

/// The devices, where there are several.
fn devices(meter: &Meter, stored: &[Record]) -> Vec<DeviceLine> {
    if meter.devices() == 1 {
        return Vec::new();
    }
    let differences = meter.differences(stored);
    let told = |estimate: Estimate| (estimate.median, estimate.low, estimate.high);
    meter
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
                        "{}, {} cores, {}, ONNX Runtime {}",
                        info.cpu_model, info.cores, info.hostname, info.runtime_version
                    )
                }),
                name: state.name,
                set_aside: state.set_aside,
                measured: found.measured as u64,
                reference_ns: found.reference_ns.map(told),
                itself: found
                    .itself
                    .map(|ratio| (ratio.median, ratio.low, ratio.high)),
                bias: found.bias.map(told),
                shared: found.bias.map_or(0, |bias| bias.count as u64),
                differs: found.differs,
            }
        })
        .collect()
}

fn warnings(rows: &[Row], trained: bool) -> Vec<String> {
    let mut out = Vec::new();
    let accuracy = |role: Role| {
        rows.iter()
            .filter(move |r| r.role == role)
            .filter_map(|r| r.test_accuracy)
    };
    if let (Some(pruned), Some(best)) = (
        accuracy(Role::Pruned).next(),
        accuracy(Role::Baseline).max_by(f64::total_cmp),
    ) && pruned < best
    {
        out.push(format!(
            "A baseline is more accurate on the test set than the result ({:.2} % against {:.2} %).",
            best * 100.0,
            pruned * 100.0
        ));
    }
    let slower = rows
        .iter()
        .filter(|row| row.role == Role::Pruned)
        .filter_map(|row| row.latency.as_ref()?.ratio_low)
        .any(|low| low > 1.0);
    if slower {
        out.push(
            "The pruned network is slower than the original: graphprune explain tells why.".into(),
        );
    }
    if !trained {
        out.push(
            "The original was trained in this run: its accuracy is that of the full-width network out of the joint \
             training after fine-tuning."
                .into(),
        );
    }
    out
}

fn evidence(
    meter: &Meter,
    stored: &[Record],
    rows: &[Row],
    work: &Work<'_>,
) -> Result<Evidence, PipelineError> {
    let info = meter.info();
    let sampling = &meter.profile().sampling;
    let facts = [
        (
            "device",
            format!("{} ({})", meter.profile().name, info.hostname),
        ),
        (
            "processor",
            format!("{}, {} cores, {}", info.cpu_model, info.cores, info.arch),
        ),
        (
            "memory",
            format!("{:.1} GB", info.memory_bytes as f64 / 1e9),
        ),
        ("system", info.os.clone()),
        ("ONNX Runtime", info.runtime_version.clone()),
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
    let mut measurements = Vec::new();
    let mut providers: Vec<Provider> = Vec::new();
    let mut runtime = None;
    let mut told = Vec::new();
    for (label, sha256, device) in final_models(work)? {
        let Some(m) = newest(stored, &sha256, &device) else {
            continue;
        };
        if label == "pruned" {
            for node in &m.runtime.node_providers {
                match providers.iter_mut().find(|p| p.name == node.provider) {
                    Some(p) => p.nodes += 1,
                    None => providers.push(Provider {
                        name: node.provider.clone(),
                        nodes: 1,
                    }),
                }
            }
            runtime = Some(runtime_line(m));
            told.clone_from(&m.notes);
        }
        measurements.push(line(&label, m));
    }
    let invalid: Vec<&String> = stored
        .iter()
        .filter_map(|record| match &record.measurement.verdict {
            MeasurementVerdict::Invalid { reason } => Some(reason),
            MeasurementVerdict::Valid => None,
        })
        .collect();
    let mut notes: Vec<String> = invalid.iter().map(|r| format!("set aside: {r}")).collect();
    notes.extend(runtime.map(|r| format!("pruned network ran on {r}")));
    notes.extend(told);
    if rows.iter().any(|r| r.latency.is_some()) {
        notes.push(
            "Every network ran in one process with the original, in alternating blocks; a ratio is the median over \
             rounds of block against block, its interval that of the order statistics."
                .into(),
        );
    }
    Ok(Evidence {
        facts: facts
            .into_iter()
            .map(|(name, value)| Fact {
                name: name.into(),
                value,
            })
            .collect(),
        providers,
        reference: Some("original".into()),
        valid: (stored.len() - invalid.len()) as u64,
        invalid: invalid.len() as u64,
        measurements,
        devices: devices(meter, stored),
        notes,
    })
}

/// Label, digest and device of every network of the final table.
fn final_models(work: &Work<'_>) -> Result<Vec<(String, String, String)>, PipelineError> {
    let mut out = Vec::new();
    for row in work.records.stages::<FinalRow>("export/")? {
        if let Some(ratio) = row.ratio {
            out.push((row.label, ratio.model_sha256, ratio.device));
        }
    }
    Ok(out)
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
            MeasurementVerdict::Valid => None,
            MeasurementVerdict::Invalid { reason } => Some(reason.clone()),
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
        "not told by the system".into()
    } else {
        parts.join(", ")
    }
}

/// Adds the time of this call to the run's clock.
pub(crate) fn tick(work: &mut Work<'_>, worked_s: f64) -> Result<(), PipelineError> {
    let stage = StageName::new("clock");
    let before = work.records.stage::<Clock>(&stage)?;
    let started_unix_s = before.map_or_else(
        || now().saturating_sub(worked_s as u64),
        |c| c.started_unix_s,
    );
    let worked_s = before.map_or(0.0, |c| c.worked_s) + worked_s;
    work.records.finish(
        &stage,
        &Clock {
            started_unix_s,
            worked_s,
        },
    )
}

/// Writes the HTML report of a finished run again, from its stored data.
///
/// # Errors
/// [`PipelineError::NoRun`] when the folder holds no finished run, or its data cannot be read.
pub fn rewrite_report(root: &Path) -> Result<(ReportData, PathBuf), PipelineError> {
    let path = root.join("report.json");
    if !path.is_file() {
        return Err(PipelineError::NoReport {
            path: root.to_owned(),
        });
    }
    let bytes =
        fs::read(&path).map_err(|e| PipelineError::io(&path, "read the report's data", e))?;
    let data: ReportData =
        serde_json::from_slice(&bytes).map_err(|e| PipelineError::BadRecord {
            reason: e.to_string(),
        })?;
    let html = root.join("report.html");
    write_atomically(&html, report::render(&data).as_bytes())?;
    Ok((data, html))
}
