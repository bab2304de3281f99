//! `graphprune diff`: two networks, group by group.

use std::path::PathBuf;
use std::process::ExitCode;

use latency::stats::Interval;
use pipeline::{DiffSide, GroupDiff, NetworkDiff};

use crate::output::say;

/// Compare two networks group by group: ONNX files, or the results of finished runs
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    graphprune diff model.onnx half.onnx\n  \
    graphprune diff model.onnx runs/a --json\n  \
    graphprune diff runs/a runs/a --all")]
pub struct Args {
    /// ONNX file or run folder
    first: PathBuf,
    /// ONNX file or run folder
    second: PathBuf,
    /// Also list the groups that are as wide in both
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Compares and prints.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let diff = pipeline::diff(&args.first, &args.second)?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&diff)?);
    } else {
        print(&diff, args.all);
    }
    Ok(ExitCode::SUCCESS)
}

/// Columns of a figure.
const WIDTH: usize = 28;

fn print(diff: &NetworkDiff, all: bool) {
    let [a, b] = &diff.sides;
    let row = |name: &str, of: &dyn Fn(&DiffSide) -> String| {
        say!("{name:<13} {:>WIDTH$} {:>WIDTH$}", of(a), of(b));
    };
    row("", &|side| tail(&side.file.display().to_string()));
    if a.test_accuracy.or(b.test_accuracy).is_some() {
        row("test accuracy", &accuracy);
    }
    if a.latency_ratio.or(b.latency_ratio).is_some() {
        row("latency", &|side| {
            side.latency_ratio.map_or("-".into(), ratio)
        });
    }
    row("MACs", &|side| format!("{:.3} M", side.macs as f64 / 1e6));
    row("parameters", &|side| {
        format!("{:.3} M", side.parameters as f64 / 1e6)
    });
    row("bytes", &|side| side.bytes.to_string());
    let apart = |group: &&GroupDiff| {
        group.first != group.second || (group.common.is_some() && group.common != group.first)
    };
    let shown: Vec<&GroupDiff> = diff.groups.iter().filter(|g| all || apart(g)).collect();
    let alike = diff.groups.len() - diff.groups.iter().filter(apart).count();
    if !shown.is_empty() {
        let names = shown.iter().map(|group| group.name.chars().count());
        let width = names.max().unwrap_or(0).max("group".len());
        say!("\n{:<width$}  first  second  in common", "group");
        let number = |of: Option<usize>| of.map_or("-".into(), |n: usize| n.to_string());
        for group in shown {
            let (first, second) = (number(group.first), number(group.second));
            let common = number(group.common);
            say!(
                "{:<width$}  {first:>5}  {second:>6}  {common:>9}",
                group.name
            );
        }
    }
    let more = if all || alike == 0 {
        ""
    } else {
        " (--all lists them)"
    };
    say!("\n{alike} of {} groups are alike{more}", diff.groups.len());
}

/// The end of a long path.
fn tail(path: &str) -> String {
    let count = path.chars().count();
    match count.checked_sub(WIDTH) {
        None | Some(0) => path.to_owned(),
        Some(over) => format!("...{}", path.chars().skip(over + 3).collect::<String>()),
    }
}

fn accuracy(side: &DiffSide) -> String {
    match (side.test_accuracy, side.test_interval) {
        (Some(share), Some((low, high))) => format!(
            "{:.2} % ({:.2} to {:.2})",
            share * 100.0,
            low * 100.0,
            high * 100.0
        ),
        (Some(share), None) => format!("{:.2} %", share * 100.0),
        _ => "-".into(),
    }
}

fn ratio(of: Interval) -> String {
    format!("{:.3}x ({:.3} to {:.3})", of.value, of.low, of.high)
}
