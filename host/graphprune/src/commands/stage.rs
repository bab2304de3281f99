//! `graphprune train`, `search`, `finetune`, `export`: the stages of `prune`, each up to and
//! including its own.

use std::process::ExitCode;

use pipeline::Stage;

use super::prune::advance;
use crate::options::RunOptions;

/// Run up to the joint training of the Graph PruningNet.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    graphprune train model.onnx --data folder:photos --latency 0.7x --out runs/d\n  \
    graphprune train --out runs/a --resume")]
pub struct TrainArgs {
    #[command(flatten)]
    options: RunOptions,
}

/// Run up to the search for the best configuration.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  graphprune search --out runs/a --resume")]
pub struct SearchArgs {
    #[command(flatten)]
    options: RunOptions,
}

/// Run up to the fine-tuning of the best configurations and the baselines.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  graphprune finetune --out runs/a --resume")]
pub struct FinetuneArgs {
    #[command(flatten)]
    options: RunOptions,
}

/// Run to the end: export, verify, measure and test the result, and write the report.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  graphprune export --out runs/a --resume")]
pub struct ExportArgs {
    #[command(flatten)]
    options: RunOptions,
}

/// Runs the train stage.
pub fn train(args: &TrainArgs) -> anyhow::Result<ExitCode> {
    advance(&args.options, Stage::Train)
}

/// Runs up to the search stage.
pub fn search(args: &SearchArgs) -> anyhow::Result<ExitCode> {
    advance(&args.options, Stage::Search)
}

/// Runs up to the fine-tuning stage.
pub fn finetune(args: &FinetuneArgs) -> anyhow::Result<ExitCode> {
    advance(&args.options, Stage::Finetune)
}

/// Runs up to the export stage.
pub fn export(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    advance(&args.options, Stage::Export)
}
