//! The command line.

use clap::{Parser, Subcommand};

use crate::commands;

/// Prune a CNN for one device by latency measured on that device.
#[derive(Debug, Parser)]
#[command(
    name = "graphprune",
    version,
    after_help = "Exit codes: 0 success; 1 error; 2 wrong usage; 3 finished, but the budget is not met by the final \
                  measurement; 4 finished, but the pruned network is slower than the original and is refused; 130 stopped \
                  by Ctrl-C (continue with --resume).\n\
                  RUST_LOG=info (or debug) writes a log to standard error."
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
    Completions(commands::completions::Args),
}
