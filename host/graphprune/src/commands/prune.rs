//! `graphprune prune`: the main job, from a network to its pruned, fine-tuned, exported and
//! measured form.

use std::process::ExitCode;

use pipeline::{Crew, Place, PlanLine, Reporter as _, RunOutcome, Stage, StopFlag};

use crate::exit;
use crate::options::{RunOptions, Usage};
use crate::output::say;
use crate::progress::Terminal;
use crate::stop;

/// Prune a network for a device: train, search, fine-tune, export, measure, report.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    graphprune prune model.onnx --data folder:photos --device local --latency 0.7x --config quick.toml --out runs/a\n  \
    graphprune prune --out runs/a --resume\n  \
    graphprune prune model.onnx --data folder:photos --latency 0.8x,0.6x,0.4x --out runs/set\n  \
    graphprune prune model.onnx --data folder:photos --latency 0.2ms --out runs/b --dry-run\n  \
    graphprune prune model.onnx --data images:photos/train --task follow --latency 0.7x --out runs/d\n  \
    graphprune prune model.onnx --data folder:photos --score-with 'python score.py {model}' --latency 0.7x --out runs/e\n  \
    graphprune prune shapes_net --data shapes --macs 0.5 --out runs/c")]
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
    let place = Place::from_env()?;
    let helps = place.as_ref().filter(|place| place.rank > 0);
    if options.dry_run {
        // The first process checks what all would do.
        return helps.map_or_else(|| describe(options), |_| Ok(ExitCode::SUCCESS));
    }
    if helps.is_some() && options.is_set() {
        // The first process says why.
        return Ok(ExitCode::from(exit::USAGE));
    }
    if place.is_some() && options.is_set() {
        return Err(Usage::error(
            "several latency budgets: one process makes them; start several processes for one budget at a time",
        ));
    }
    if let Some(place) = helps {
        let ended = pipeline::help(place, &stop::quietly()?);
        return ended.map(|()| ExitCode::SUCCESS).or_else(exit::silent_stop);
    }
    let stop = stop::on_interrupt()?;
    if options.is_set() {
        return advance_set(options, stage, &stop);
    }
    // The others wait: whatever ends this process from here on ends them, too.
    let crew = place.as_ref().map(Crew::open).transpose()?;
    let mut run = options.open()?;
    let mut terminal = Terminal::new(options.quiet);
    if let Some(crew) = crew {
        terminal.note(&format!("{} processes train together", crew.size()));
        run.lead(crew);
    }
    terminal.note(&format!("budget: {}", run.config().budget.words()));
    let outcome = run.advance(stage, &stop, &mut terminal)?;
    if options.json {
        say!("{}", serde_json::to_string_pretty(&outcome)?);
    } else {
        print(&outcome);
    }
    Ok(exit::met(outcome.within_budget != Some(false)))
}

/// Makes a network for each of several budgets.
fn advance_set(options: &RunOptions, stage: Stage, stop: &StopFlag) -> anyhow::Result<ExitCode> {
    if stage != Stage::Export {
        return Err(Usage::error(
            "several latency budgets: only `graphprune prune` takes them; give one to a single stage",
        ));
    }
    let set = options.open_set()?;
    let outcome = set.advance(stop, &mut Terminal::new(options.quiet))?;
    if options.json {
        say!("{}", serde_json::to_string_pretty(&outcome)?);
    } else {
        say!("{}", pipeline::table(&outcome.data));
        for member in &outcome.members {
            match &member.model {
                Some(model) => say!("{}: {}", member.budget, model.display()),
                None => say!("{}: no network", member.budget),
            }
        }
    }
    Ok(exit::met(outcome.members.iter().all(|of| of.within_budget)))
}

/// Checks the run and prints what it would do.
fn describe(options: &RunOptions) -> anyhow::Result<ExitCode> {
    let mut terminal = Terminal::new(options.quiet);
    let plan = pipeline::dry_run(options.configuration()?, &options.out, &mut terminal)?;
    if options.json {
        say!("{}", serde_json::to_string_pretty(&plan)?);
        return Ok(ExitCode::SUCCESS);
    }
    say!("checked");
    plan.checked.iter().for_each(line);
    say!("\nthe run would do");
    plan.stages.iter().for_each(line);
    let images = plan.training_images.zip(plan.most_training_images);
    let seconds = plan.training_seconds.zip(plan.most_training_seconds);
    let trainings = match (images, seconds) {
        (Some((once, most)), Some((least, longest))) => format!(
            "{} images pass through its trainings: about {} min",
            range(once as f64, most as f64),
            range((least / 60.0).ceil(), (longest / 60.0).ceil())
        ),
        _ => "The time of trainings is not estimated, as libtorch runs the network in part".into(),
    };
    say!(
        "\n{trainings}. At most {} processes measure: about {} min, and less where the latency model is sure. Nothing was \
         started.",
        plan.measurements,
        (plan.measuring_seconds / 60.0).ceil()
    );
    Ok(ExitCode::SUCCESS)
}

/// Whole numbers from one to another, in words.
fn range(from: f64, to: f64) -> String {
    match from == to {
        true => format!("{from:.0}"),
        false => format!("{from:.0} to {to:.0}"),
    }
}

fn line(line: &PlanLine) {
    say!("  {:<17}  {}", line.name, line.text);
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
