//! `graphprune bench`: a guard over latency on hardware, for continuous integration.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};
use latency::{AgentDevice, Model, Patience};
use regression::statistics::{self, Rounds};
use regression::{Baseline, BaselineFolder, Compared, Device, Guard, SeriesConfig, Verdict};

/// Measure models on devices, compare with a saved baseline, and fail when one became slower.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  graphprune bench models/ --device pi4 --save-baseline main\n  graphprune bench models/ --device pi4 --baseline main --fail-above 3%\n  graphprune bench runs/resnet20 net.onnx --baseline main --junit bench.xml --markdown summary.md\n\nExit codes: 0 fine, 1 a regression, 2 something could not be measured or compared."
)]
pub struct Args {
    /// ONNX files, folders of them, and runs (their pruned network)
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// Devices: `local`, registered names or profiles' paths, separated by commas
    #[arg(long, default_value = "local", value_delimiter = ',')]
    device: Vec<String>,
    /// Compare with this baseline
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,
    /// Save what is measured as this baseline, models included
    #[arg(long, value_name = "NAME")]
    save_baseline: Option<String>,
    /// Largest slow-down that is no regression
    #[arg(long, value_name = "SHARE", default_value = "3%", value_parser = share)]
    fail_above: f64,
    /// Folder of baselines; keep it between runs of the job
    #[arg(long, value_name = "DIR", default_value = ".graphprune/bench")]
    folder: PathBuf,
    /// Most processes that a comparison may take; more make a narrow difference clear
    #[arg(long, value_name = "N", default_value_t = SeriesConfig::default().max_processes)]
    max_processes: usize,
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

/// Criterion's statistics of rounds that come over standard input, in a process of its own because it prints.
#[derive(Debug, clap::Args)]
pub struct StatisticsArgs {
    folder: PathBuf,
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

/// Measures, compares and reports.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match compare_all(args) {
        Ok(all) => conclude(args, &all),
        // A guard that could not do its work must not look like one that found a regression.
        Err(error) => {
            eprintln!("error: {error:#}");
            Ok(ExitCode::from(2))
        }
    }
}

fn conclude(args: &Args, all: &[Compared]) -> anyhow::Result<ExitCode> {
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

fn compare_all(args: &Args) -> anyhow::Result<Vec<Compared>> {
    let folder = BaselineFolder::new(&args.folder);
    let baseline = match &args.baseline {
        Some(name) => Some(folder.get(name)?),
        None => None,
    };
    let models = models(&args.models)?;
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
    for name in &args.device {
        let found = latency::resolve(name)?;
        let agent = AgentDevice::start(found.launcher, &found.profile.name, Patience::default())?;
        let mut device = Device {
            name: found.name,
            profile: found.profile,
            source: Box::new(agent),
        };
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
            turn.compared.statistics = criterion(args, &folder.statistics(), &turn.rounds)?;
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

/// Runs Criterion over the rounds in a process of its own, whose words go to standard error.
fn criterion(
    args: &Args,
    folder: &Path,
    rounds: &Rounds,
) -> anyhow::Result<Option<statistics::Estimates>> {
    let (said, warned) = if args.quiet {
        (Stdio::null(), Stdio::null())
    } else {
        (std::io::stderr().into(), Stdio::inherit())
    };
    let mut child = Command::new(std::env::current_exe()?)
        .arg("bench-statistics")
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(said)
        .stderr(warned)
        .spawn()
        .context("cannot start the statistics")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(serde_json::to_string(rounds)?.as_bytes())?;
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("the statistics of {} ended with {status}", rounds.id);
    }
    Ok(statistics::read(folder, rounds)?)
}

/// The process that runs Criterion.
pub fn statistics(args: &StatisticsArgs) -> anyhow::Result<ExitCode> {
    let rounds = serde_json::from_reader(std::io::stdin().lock())?;
    statistics::run(&args.folder, &rounds);
    Ok(ExitCode::SUCCESS)
}

/// The models of the arguments, in order, each with the name under which a baseline knows it.
fn models(paths: &[PathBuf]) -> anyhow::Result<Vec<Model>> {
    let mut files: Vec<(String, PathBuf)> = Vec::new();
    for path in paths {
        let name = |path: &Path| {
            let name = path.file_stem().unwrap_or(path.as_os_str());
            name.to_string_lossy().into_owned()
        };
        let pruned = path.join("pruned.onnx");
        if pruned.is_file() && path.join("config.toml").is_file() {
            files.push((name(path), pruned));
        } else if path.is_dir() {
            let entries = std::fs::read_dir(path)
                .with_context(|| format!("cannot read the folder '{}'", path.display()))?;
            let mut inside: Vec<PathBuf> = entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.extension().is_some_and(|end| end == "onnx"))
                .collect();
            inside.sort();
            if inside.is_empty() {
                bail!(
                    "the folder '{}' has no ONNX files and is no run",
                    path.display()
                );
            }
            files.extend(inside.into_iter().map(|path| (name(&path), path)));
        } else {
            files.push((name(path), path.clone()));
        }
    }
    for (i, (name, path)) in files.iter().enumerate() {
        if let Some((_, other)) = files[..i].iter().find(|(known, _)| known == name) {
            bail!(
                "'{}' and '{}' have the same name, and a baseline knows models by name",
                other.display(),
                path.display()
            );
        }
    }
    files
        .into_iter()
        .map(|(name, path)| {
            let bytes = std::fs::read(&path)
                .with_context(|| format!("cannot read the model '{}'", path.display()))?;
            Ok(Model::new(name, bytes))
        })
        .collect()
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

    #[test]
    fn folders_and_runs_give_their_networks_and_equal_names_are_refused() {
        let place = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = place.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, name).unwrap();
            path
        };
        file("set/b.onnx");
        file("set/a.onnx");
        file("set/notes.txt");
        file("run/config.toml");
        file("run/pruned.onnx");
        file("run/original.onnx");
        let one = file("one.onnx");
        let found = models(&[
            place.path().join("set"),
            place.path().join("run"),
            one.clone(),
        ]);
        let names: Vec<String> = found.unwrap().iter().map(|m| m.name().to_owned()).collect();
        assert_eq!(names, ["a", "b", "run", "one"]);
        let error = models(&[one, file("other/one.onnx")])
            .unwrap_err()
            .to_string();
        assert!(error.contains("same name"), "{error}");
        assert!(models(&[place.path().join("nowhere.onnx")]).is_err());
    }
}
