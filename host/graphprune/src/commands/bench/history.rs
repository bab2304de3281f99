//! `graphprune bench history`: the results of earlier runs of the guard.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use regression::{BaselineFolder, History, PastComparison, Verdict};
use report::history::{self, Estimate, HistoryData, Run, Series};

use crate::output::{say, say_part};

/// Print the results of earlier runs, or write them as a page.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    graphprune bench history --model model\n  \
    graphprune bench history --report history.html")]
pub struct Args {
    /// Filter by the model's name
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Filter by the device's name or identity
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Folder of the baselines and the history
    #[arg(long, value_name = "DIR", default_value = ".graphprune/bench")]
    folder: PathBuf,
    /// Write the history as an HTML page
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the history, from the oldest run to the newest.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let folder = BaselineFolder::new(&args.folder);
    let (model, device) = (args.model.as_deref(), args.device.as_deref());
    let entries = entries(&folder, model, device)?;
    if args.json {
        let all: Vec<_> = entries.iter().map(|past| &past.comparison).collect();
        say!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        say_part!("{}", report::history::text(&data(&entries)));
    }
    if let Some(path) = &args.report {
        write(path, &history::render(&data(&entries)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a text file.
pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    whole_file::write(path, text.as_bytes())
        .with_context(|| format!("cannot write '{}'", path.display()))
}

/// Draws the history of a folder.
pub(super) fn write_page(
    folder: &BaselineFolder,
    model: Option<&str>,
    device: Option<&str>,
    path: &Path,
) -> anyhow::Result<()> {
    write(
        path,
        &history::render(&data(&entries(folder, model, device)?)),
    )
}

fn entries(
    folder: &BaselineFolder,
    model: Option<&str>,
    device: Option<&str>,
) -> anyhow::Result<Vec<PastComparison>> {
    match History::open_existing(folder)? {
        Some(history) => Ok(history.entries(model, device)?),
        None => Ok(Vec::new()),
    }
}

/// The entries as a series for each model, device and settings, in the order of their first run.
fn data(entries: &[PastComparison]) -> HistoryData {
    let mut all: Vec<Series> = Vec::new();
    for past in entries {
        let c = &past.comparison;
        let same = |s: &Series| s.model == c.model && s.device_id == c.device && s.setup == c.setup;
        let place = all.iter().position(same).unwrap_or_else(|| {
            all.push(Series {
                model: c.model.clone(),
                device: c.device_name.clone(),
                device_id: c.device.clone(),
                setup: c.setup.clone(),
                runs: Vec::new(),
            });
            all.len() - 1
        });
        // The name that the user gives the device now.
        all[place].device.clone_from(&c.device_name);
        all[place].runs.push(run_of(past));
    }
    HistoryData { series: all }
}

fn run_of(past: &PastComparison) -> Run {
    let c = &past.comparison;
    let figure = |value: Option<f64>, interval| value.map(|value| Estimate { value, interval });
    Run {
        unix_s: c.taken_unix_ns / 1_000_000_000,
        label: c.label.clone(),
        sha256: c.sha256.to_string(),
        runtime: c.runtime.clone(),
        baseline: c.baseline.clone(),
        latency_ns: figure(c.median_ns, c.median_ci95_ns),
        change: figure(c.change, c.change_ci95),
        processes: c.processes,
        threshold: c.threshold,
        verdict: match past.verdict {
            Verdict::Unmeasured => history::RunVerdict::Unmeasured,
            Verdict::NoBaseline => history::RunVerdict::NoBaseline,
            Verdict::Uncompared => history::RunVerdict::Uncompared,
            Verdict::Fine => history::RunVerdict::Fine,
            Verdict::Improved => history::RunVerdict::Improved,
            Verdict::Regressed => history::RunVerdict::Regressed,
            Verdict::Grown => history::RunVerdict::Grown,
            Verdict::MemoryGrown => history::RunVerdict::MemoryGrown,
            Verdict::Undecided => history::RunVerdict::Undecided,
        },
        notes: c.notes.clone(),
    }
}
