//! `graphprune prune`: the main job, from a network to its pruned, fine-tuned, exported and
//! measured form.

use std::process::ExitCode;

use pipeline::{Reporter as _, RunOutcome, Stage};

use crate::options::RunOptions;
use crate::output::say;
use crate::progress::Terminal;
use crate::stop;
use crate::waiting;

/// Prune a network for a device: train, search, fine-tune, export, measure, report.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    graphprune prune resnet20.onnx --data cifar10:cifar-10-batches-bin --device local --latency 0.7x --out runs/a\n  \
    graphprune prune model.onnx --data folder:photos --latency 12ms --config my.toml --out runs/b\n  \
    graphprune prune detector.onnx --data images:photos --latency 0.7x --out runs/d\n  \
    graphprune prune two_inputs.onnx --data npz:samples --task follow --output boxes --latency 0.7x --out runs/e\n  \
    graphprune prune detector.onnx --data images:photos --score-with 'python map.py {model}' --latency 0.7x --out runs/f\n  \
    graphprune prune shapes_net --data shapes --macs 0.5 --out runs/c\n  \
    graphprune prune --out runs/a --resume")]
pub struct Args {
    #[command(flatten)]
    options: RunOptions,
}

/// Runs all stages.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    advance(&args.options, Stage::Export)
}

/// Runs all stages up to `stage` and prints the result.
pub fn advance(options: &RunOptions, stage: Stage) -> anyhow::Result<ExitCode> {
    waiting::asleep();
    let stop = stop::on_interrupt()?;
    let mut run = options.open()?;
    let mut terminal = Terminal::new(options.quiet);
    terminal.note(&format!("budget: {}", run.config().budget.words()));
    let outcome = run.advance(stage, &stop, &mut terminal)?;
    if options.json {
        say!("{}", serde_json::to_string_pretty(&outcome)?);
    } else {
        print(&outcome);
    }
    Ok(if outcome.within_budget == Some(false) {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    })
}

fn print(outcome: &RunOutcome) {
    if let Some(table) = outcome.table() {
        say!("{table}");
    }
    if outcome.within_budget == Some(false) {
        say!("The budget is NOT met by the final measurement.");
    }
    if let Some(model) = &outcome.model {
        say!("pruned network: {}", model.display());
    }
    match &outcome.report {
        Some(report) => say!("report: {}", report.display()),
        None => say!(
            "{:?} stage finished; continue with: graphprune prune --out {} --resume",
            outcome.stage,
            outcome.folder.display()
        ),
    }
}
