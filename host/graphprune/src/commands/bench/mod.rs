//! `graphprune bench`: a guard over latency on hardware, for continuous integration. Its history
//! is a sub-command of its own.

mod criterion;
mod history;
mod models;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ArgGroup;
use latency::stats::Interval;
use latency::{LatencyError, Model, Patience, Resolved, percent};
use pipeline::with_input_sizes;
use regression::{
    Baseline, BaselineFolder, Compared, Device, Entry, Guard, GuardRun, History, SeriesConfig,
    Summary, Verdict,
};

use criterion::criterion;
pub use criterion::{Args as StatisticsArgs, run as statistics};

use crate::options::{InputSizes, change};
use crate::output::{self, note, say, say_part};

/// Measure models on devices, compare them with a saved baseline, and fail on a regression.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  \
    graphprune bench model.onnx runs/a --device local --save-baseline main\n  \
    graphprune bench model.onnx --guard main --fail-above 3% --fail-growth-above 5%\n  \
    graphprune bench runs/a model.onnx --baseline main --junit bench.xml --markdown summary.md --report history.html\n  \
    graphprune bench history --model model\n\nExit codes: 0 no regression, 3 a regression, 1 something could not be measured or compared."
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
#[command(group(ArgGroup::new("compared").args(["guard", "baseline"])))]
struct MeasureArgs {
    /// ONNX files, folders of them, or runs (for their pruned network)
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// Devices: `local`, registered names, a profile's name for all devices of it, or profiles'
    /// paths, separated by commas
    #[arg(long, default_value = "local")]
    device: String,
    /// Compare with this baseline, and save what it lacks: the first time the whole of it, later
    /// the models that are new
    #[arg(long, value_name = "NAME", conflicts_with_all = ["baseline", "save_baseline"])]
    guard: Option<String>,
    /// Compare with this baseline
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,
    /// Save the measurements and the models as this baseline
    #[arg(long, value_name = "NAME")]
    save_baseline: Option<String>,
    /// Largest slowdown that is not a regression (3%, 0.03)
    #[arg(
        long,
        value_name = "SHARE",
        default_value = "3%",
        value_parser = change,
        allow_hyphen_values = true,
        requires = "compared"
    )]
    fail_above: f64,
    /// Also fail if the file of a model grows by more than this (5%, 0.05)
    #[arg(
        long,
        value_name = "SHARE",
        value_parser = change,
        allow_hyphen_values = true,
        requires = "compared"
    )]
    fail_growth_above: Option<f64>,
    /// Also fail if the peak memory of a model grows by more than this (10%, 0.1)
    #[arg(
        long,
        value_name = "SHARE",
        value_parser = change,
        allow_hyphen_values = true,
        requires = "compared"
    )]
    fail_memory_above: Option<f64>,
    #[command(flatten)]
    sizes: InputSizes,
    /// Folder of the baselines and the history; keep it between jobs
    #[arg(long, value_name = "DIR", default_value = ".graphprune/bench")]
    folder: PathBuf,
    /// Largest number of worker processes per comparison; more resolve smaller differences
    #[arg(
        long,
        value_name = "N",
        default_value_t = SeriesConfig::default().max_processes as u64,
        value_parser = clap::value_parser!(u64).range(2..=1000)
    )]
    max_processes: u64,
    /// Label of this run in the history [default: the commit on GitHub and GitLab]
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Write the history, this run included, as an HTML page
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write a Markdown summary for a pull request
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print only the result
    #[arg(long, short)]
    quiet: bool,
}

impl MeasureArgs {
    /// The name of the baseline to compare with.
    fn compared_with(&self) -> Option<&String> {
        self.baseline.as_ref().or(self.guard.as_ref())
    }
}

/// Measures, compares and reports, or prints the history.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(Action::History(args)) = &args.action {
        return history::run(args);
    }
    let args = &args.measure;
    let mut summary = Summary {
        threshold: args.fail_above,
        baseline: args.compared_with().cloned(),
        label: args.label.clone().or_else(commit).unwrap_or_default(),
        ..Summary::default()
    };
    // A failure is in every file as well, or a job would read a success there.
    if let Err(error) = compare_all(args, &mut summary) {
        summary.failure = Some(output::with_causes(&error));
    }
    if let Err(error) = write_files(args, &summary) {
        let error = output::with_causes(&error);
        let first = summary.failure.take();
        summary.failure = Some(first.map_or(error.clone(), |first| format!("{first}; {error}")));
    }
    if args.json {
        say!("{}", serde_json::to_string_pretty(&summary.all)?);
    } else if !summary.all.is_empty() {
        say_part!("{}", summary.table());
    }
    if let Some(failure) = &summary.failure {
        note!("error: {failure}");
    }
    Ok(ExitCode::from(summary.severity().exit_code()))
}

fn write_files(args: &MeasureArgs, summary: &Summary) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    // A file that cannot be written does not prevent the others.
    let mut keep = |done: anyhow::Result<()>| {
        if outcome.is_ok() {
            outcome = done;
        }
    };
    if let Some(path) = &args.junit {
        keep(
            summary
                .junit()
                .map_err(Into::into)
                .and_then(|text| history::write(path, &text)),
        );
    }
    if let Some(path) = &args.markdown {
        keep(history::write(path, &summary.markdown()));
    }
    if let Some(path) = &args.report {
        keep(history::write_page(
            &BaselineFolder::new(&args.folder),
            None,
            None,
            path,
        ));
    }
    outcome
}

/// Adds every comparison to the summary, up to the first failure.
fn compare_all(args: &MeasureArgs, summary: &mut Summary) -> anyhow::Result<()> {
    let folder = BaselineFolder::new(&args.folder);
    let baseline = match (&args.baseline, &args.guard) {
        (Some(name), _) => Some(folder.get(name)?),
        (None, Some(name)) => folder.read(name)?,
        (None, None) => None,
    };
    if let Some(name) = &args.save_baseline {
        // An invalid name is reported before anything is measured.
        folder.read(name)?;
    }
    let models = with_input_sizes(models::models(&args.models)?, &args.sizes.input_sizes)?;
    let devices = latency::resolve_all(&args.device)?;
    if baseline.is_some() && !args.quiet {
        note!("regression threshold: {}", percent(args.fail_above));
    }
    let mut history = History::open(&folder)?;
    let run = GuardRun {
        label: summary.label.clone(),
        baseline: args.compared_with().cloned().unwrap_or_default(),
        threshold: args.fail_above,
    };
    let guard = Guard {
        folder: &folder,
        baseline: baseline.as_ref(),
        config: SeriesConfig {
            threshold: args.fail_above,
            max_processes: args.max_processes as usize,
            ..SeriesConfig::default()
        },
        adds: args.guard.is_some(),
        largest_growth: args.fail_growth_above,
        largest_memory_growth: args.fail_memory_above,
    };
    let mut entries = Vec::new();
    for found in devices {
        let name = found.name.clone();
        let lost = |all: &mut Vec<Compared>, models: &[Model], error: &dyn std::error::Error| {
            all.extend(
                models
                    .iter()
                    .map(|m| Compared::unmeasured(m, &name, error.to_string())),
            );
        };
        let mut device = match start(found) {
            Ok(device) => device,
            Err(error) => {
                lost(&mut summary.all, &models, &error);
                continue;
            }
        };
        for (n, model) in models.iter().enumerate() {
            let turn = guard.turn(&mut device, model, |done, change| {
                if !args.quiet {
                    let change = change.map_or(String::new(), |c| {
                        let Interval { value, low, high } = c.estimate;
                        let [estimate, low, high] = [value, low, high].map(|x| x * 100.0);
                        format!(": {estimate:+.1} % ({low:+.1} to {high:+.1})")
                    });
                    note!("{} on {name}, process {done}{change}", model.name());
                }
            });
            let mut turn = match turn {
                Ok(turn) => turn,
                // The other devices may still measure.
                Err(error) => {
                    lost(&mut summary.all, &models[n..], &error);
                    break;
                }
            };
            match criterion(args.quiet, &folder.statistics(), &turn.rounds) {
                Ok(statistics) => turn.compared.statistics = statistics,
                Err(error) => turn.compared.notes.push(output::with_causes(&error)),
            }
            history.add(&turn, &run)?;
            let is_new = turn.compared.verdict == Verdict::NoBaseline;
            if args.save_baseline.is_some() || (args.guard.is_some() && is_new) {
                entries.extend(turn.entry);
            }
            summary.all.push(turn.compared);
        }
    }
    match (&args.save_baseline, &args.guard) {
        (Some(name), _) => save(args, name, &models, entries, &summary.all),
        (None, Some(name)) if !entries.is_empty() => {
            let new = |c: &&Compared| c.verdict == Verdict::NoBaseline;
            let new: Vec<Compared> = summary.all.iter().filter(new).cloned().collect();
            save(args, name, &models, entries, &new)
        }
        _ => Ok(()),
    }
}

/// Saves the measurements as a baseline, and reports what is missing.
fn save(
    args: &MeasureArgs,
    name: &str,
    models: &[Model],
    entries: Vec<Entry>,
    all: &[Compared],
) -> anyhow::Result<()> {
    let folder = BaselineFolder::new(&args.folder);
    let (saved, asked) = (entries.len(), all.len());
    anyhow::ensure!(
        saved > 0,
        "nothing was measured, so the baseline `{name}` is not saved"
    );
    let mut baseline = folder
        .read(name)?
        .unwrap_or_else(|| Baseline::new(Vec::new()));
    let measured = |model: &&Model| entries.iter().any(|e| e.sha256 == model.sha256());
    let kept: Vec<&Model> = models.iter().filter(measured).collect();
    baseline.put(entries);
    folder.write(
        name,
        &baseline,
        kept.iter().map(|model| model.onnx().as_ref()),
    )?;
    let place = args.folder.display();
    if saved < asked {
        let missing: Vec<String> = all
            .iter()
            .filter(|c| c.median_ns.is_none())
            .map(|c| format!("{} on {}", c.model, c.device))
            .collect();
        anyhow::bail!(
            "{saved} of {asked} measurements are saved as the baseline `{name}` in {place}; not measured and not saved: {}",
            missing.join(", ")
        );
    }
    if !args.quiet {
        note!("saved the baseline `{name}` in {place}");
    }
    Ok(())
}

/// Starts a device's agent.
fn start(found: Resolved) -> Result<Device, LatencyError> {
    let name = found.name.clone();
    let (agent, profile) = found.start(Patience::default())?;
    Ok(Device {
        name,
        profile,
        source: Box::new(agent),
    })
}

/// The commit that the job runs for, where its service names it.
fn commit() -> Option<String> {
    ["GITHUB_SHA", "CI_COMMIT_SHA"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()))
}
