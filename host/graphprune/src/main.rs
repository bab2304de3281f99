//! `graphprune`: prune a CNN for one device by measured latency.
//!
//! This binary holds words and wiring only: a file per sub-command, the progress bars, the exit codes. The work is
//! done by the `pipeline` crate.
#![forbid(unsafe_code)]

/// Prints to the user's terminal. Everything goes through here: names in models and words of devices may hold what a terminal
/// obeys.
macro_rules! println {
    () => { ::std::println!() };
    ($($text:tt)*) => {
        ::std::println!("{}", ::latency::plain::printable(&::std::format!($($text)*)))
    };
}

/// The same without a line feed at its end.
macro_rules! print {
    ($($text:tt)*) => {
        ::std::print!("{}", ::latency::plain::printable(&::std::format!($($text)*)))
    };
}

/// The same to standard error.
macro_rules! eprintln {
    ($($text:tt)*) => {
        ::std::eprintln!("{}", ::latency::plain::printable(&::std::format!($($text)*)))
    };
}

mod commands;
mod options;
mod progress;
mod stop;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Prune a CNN for one device by latency measured on that device.
#[derive(Debug, Parser)]
#[command(
    name = "graphprune",
    version,
    after_help = "Exit codes: 0 done; 1 an error; 2 wrong usage; 3 finished, but the budget is not met by the final \
                  measurement; 4 finished, but the pruned network is slower than the original and is refused; 130 stopped \
                  by Ctrl-C (go on with --resume).\n\
                  RUST_LOG=info (or debug) logs to standard error what happens inside."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Inspect(commands::inspect::Args),
    Prune(commands::prune::Args),
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

/// Rust ignores SIGPIPE, so that `graphprune inspect MODEL | head` would end in a panic of `println!`; programs end silently
/// there. The signal itself stays ignored: a device's connection that breaks must not end a run.
fn end_silently_with_the_reader() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload_as_str().unwrap_or_default();
        if message.starts_with("failed printing to stdout") && message.contains("Broken pipe") {
            std::process::exit(0);
        }
        report(panic);
    }));
}

fn main() -> ExitCode {
    end_silently_with_the_reader();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let result = match Cli::parse().command {
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Prune(args) => commands::prune::run(&args),
        Command::Train(args) => commands::stage::train(&args),
        Command::Search(args) => commands::stage::search(&args),
        Command::Finetune(args) => commands::stage::finetune(&args),
        Command::Export(args) => commands::stage::export(&args),
        Command::Measure(args) => commands::measure::run(&args),
        Command::Predict(args) => commands::predict::run(&args),
        Command::Explain(args) => commands::explain::run(&args),
        Command::Measurements(args) => commands::measurements::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Bench(args) => commands::bench::run(&args),
        Command::BenchStatistics(args) => commands::bench::statistics(&args),
        Command::Device(args) => commands::device::run(args),
        Command::Completions(args) => commands::completions::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(match error.downcast_ref() {
                Some(pipeline::PipelineError::Stopped) => 130,
                Some(pipeline::PipelineError::Slower { .. }) => 4,
                _ => 1,
            })
        }
    }
}
