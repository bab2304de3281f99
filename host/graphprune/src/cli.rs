//! The command line.

use clap::{Parser, Subcommand};

use crate::{commands, exit};

/// Prune a CNN for one device by latency measured on that device.
#[derive(Debug, Parser)]
#[command(
    name = "graphprune",
    version,
    after_help = exit::help()
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Inspect(commands::inspect::Args),
    Prune(commands::prune::Args),
    Apply(commands::apply::Args),
    Diff(commands::diff::Args),
    Plan(commands::plan::Args),
    Quantize(commands::quantize::Args),
    Pack(commands::pack::Args),
    Unpack(commands::unpack::Args),
    Train(commands::stage::TrainArgs),
    Search(commands::stage::SearchArgs),
    Finetune(commands::stage::FinetuneArgs),
    Export(commands::stage::ExportArgs),
    Measure(commands::measure::Args),
    Predict(commands::predict::Args),
    Explain(commands::explain::Args),
    Measurements(commands::measurements::Args),
    Report(commands::report::Args),
    Bench(commands::bench::Args),
    #[command(hide = true)]
    BenchStatistics(commands::bench::StatisticsArgs),
    Device(commands::device::Args),
    Data(commands::data::Args),
    Config(commands::config::Args),
    Example(commands::example::Args),
    Completions(commands::completions::Args),
}
