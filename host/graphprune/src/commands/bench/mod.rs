//! `graphprune bench`: a guard over latency on hardware, for continuous integration. Its history is a sub-command of its own.

mod criterion;
mod history;
mod models;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use latency::{Patience, Resolved};
use regression::{
    Baseline, BaselineFolder, Compared, Device, Guard, History, RunOf, SeriesConfig, Verdict,
};

use criterion::criterion;
pub use criterion::{Args as StatisticsArgs, run as statistics};

/// Measure models on devices, compare with a saved baseline, and fail when one became slower.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  graphprune bench models/ --device pi4 --save-baseline main\n  graphprune bench models/ --device pi4 --baseline main --fail-above 3%\n  graphprune bench runs/resnet20 net.onnx --baseline main --junit bench.xml --markdown summary.md --report history.html\n  graphprune bench history --model net\n\nExit codes: 0 fine, 1 a regression, 2 something could not be measured or compared."
)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    measure: MeasureArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    History(history::Args),
}

#[derive(Debug, clap::Args)]
struct MeasureArgs {
    /// ONNX files, folders of them, and runs (their pruned network)
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// Devices: `local`, registered names, a profile's name for all devices of it, or profiles' paths, separated by commas
    #[arg(long, default_value = "local")]
    device: String,
    /// Compare with this baseline
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,
    /// Save what is measured as this baseline, models included
    #[arg(long, value_name = "NAME")]
    save_baseline: Option<String>,
    /// Largest slow-down that is no regression
    #[arg(long, value_name = "SHARE", default_value = "3%", value_parser = share)]
    fail_above: f64,
    /// Folder of baselines and of the history; keep it between runs of the job
    #[arg(long, value_name = "DIR", default_value = ".graphprune/bench")]
    folder: PathBuf,
    /// Most processes that a comparison may take; more make a narrow difference clear
    #[arg(long, value_name = "N", default_value_t = SeriesConfig::default().max_processes)]
    max_processes: usize,
    /// What the history calls this run; a commit's digest that GitHub or GitLab names, unless given
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Write the history with this run in it as an HTML page
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write a Markdown summary, as for a pull request
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Show nothing but the outcome
    #[arg(long, short)]
    quiet: bool,
}

/// A share such as `3%` or `0.03`.
fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.strip_suffix('%') {
        Some(number) => (number, 0.01),
        None => (text, 1.0),
    };
    match number.trim().parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value * unit),
        _ => Err("give a share such as 3% or 0.03".into()),
    }
}

/// Measures, compares and reports, or tells what was.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(Action::History(args)) = &args.action {
        return history::run(args);
    }
    let args = &args.measure;
    match compare_all(args).and_then(|all| conclude(args, &all)) {
        Ok(code) => Ok(code),
        // A guard that could not do its work must not look like one that found a regression.
        Err(error) => {
            eprintln!("error: {error:#}");
            Ok(ExitCode::from(2))
        }
    }
}

fn conclude(args: &MeasureArgs, all: &[Compared]) -> anyhow::Result<ExitCode> {
    if args.json {
        println!("{}", serde_json::to_string_pretty(all)?);
    } else {
        print!("{}", regression::table(all));
    }
    if let Some(path) = &args.junit {
        write(path, &regression::junit(all, args.fail_above)?)?;
    }
    if let Some(path) = &args.markdown {
        write(path, &regression::markdown(all, args.fail_above))?;
    }
    if let Some(path) = &args.report {
        history::write_page(&BaselineFolder::new(&args.folder), None, None, path)?;
    }
    let code = if all.iter().any(|c| c.verdict == Some(Verdict::Regressed)) {
        1
    } else if all
        .iter()
        .any(|c| c.is_unmeasured() || (args.baseline.is_some() && c.verdict.is_none()))
    {
        2
    } else {
        0
    };
    Ok(ExitCode::from(code))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write '{}'", path.display()))
}

fn compare_all(args: &MeasureArgs) -> anyhow::Result<Vec<Compared>> {
    let folder = BaselineFolder::new(&args.folder);
    let baseline = match &args.baseline {
        Some(name) => Some(folder.get(name)?),
        None => None,
    };
    let models = models::models(&args.models)?;
    let mut history = History::open(&folder)?;
    let run = RunOf {
        label: args.label.clone().or_else(commit).unwrap_or_default(),
        baseline: args.baseline.clone().unwrap_or_default(),
        threshold: args.fail_above,
    };
    let guard = Guard {
        folder: &folder,
        baseline: baseline.as_ref(),
        config: SeriesConfig {
            threshold: args.fail_above,
            max_processes: args.max_processes,
            ..SeriesConfig::default()
        },
    };
    let mut all = Vec::new();
    let mut entries = Vec::new();
    for found in latency::resolve_all(&args.device)? {
        let mut device = start(found)?;
        let name = device.name.clone();
        for model in &models {
            let mut turn = guard.turn(&mut device, model, |done, change| {
                if !args.quiet {
                    let change = change.map_or(String::new(), |c| {
                        let [estimate, low, high] = [c.estimate, c.low, c.high].map(|x| x * 100.0);
                        format!(": {estimate:+.1} % ({low:+.1} to {high:+.1})")
                    });
                    eprintln!("{} on {name}, process {done}{change}", model.name());
                }
            })?;
            turn.compared.statistics = criterion(args.quiet, &folder.statistics(), &turn.rounds)?;
            history.add(&turn, &run)?;
            entries.extend(turn.entry);
            all.push(turn.compared);
        }
    }
    if let Some(name) = &args.save_baseline {
        let mut saved = folder
            .read(name)?
            .unwrap_or_else(|| Baseline::new(Vec::new()));
        saved.put(entries);
        let contents = models.iter().map(|model| model.onnx().as_ref());
        folder.write(name, &saved, contents)?;
        if !args.quiet {
            eprintln!("saved the baseline `{name}` in {}", args.folder.display());
        }
    }
    Ok(all)
}

/// Brings a device's agent up.
fn start(found: Resolved) -> anyhow::Result<Device> {
    let name = found.name.clone();
    let (agent, profile) = found.start(Patience::default())?;
    Ok(Device {
        name,
        profile,
        source: Box::new(agent),
    })
}

/// The commit that the job runs for, where its service says so.
fn commit() -> Option<String> {
    ["GITHUB_SHA", "CI_COMMIT_SHA"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_number_with_or_without_a_percent_sign() {
        assert_eq!(share("3%"), Ok(0.03));
        assert_eq!(share("0.05"), Ok(0.05));
        for wrong in ["", "%", "x", "-1%", "0", "inf"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
