//! The command line of graphprune: prune a CNN for one device by measured latency.
//!
//! This crate holds messages and wiring only: a file per sub-command, the progress bars, the exit
//! codes. The work is done by the `pipeline` crate. It makes two programs. `graphprune` starts
//! without libtorch; for a command that computes with it, it becomes `graphprune-train`, which lies
//! beside it and takes the same arguments. The linker leaves out of `graphprune` what only the
//! other one calls, so nothing that [`start`] reaches may compute with libtorch.
#![deny(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod cli;
mod command_line;
mod commands;
mod defaults;
mod exit;
mod image_options;
mod options;
mod output;
mod progress;
mod stop;
mod task_options;
mod training;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use tracing_subscriber::EnvFilter;

use cli::{Cli, Command};
use options::Usage;
use output::note;

/// The program `graphprune`.
#[must_use]
pub fn start() -> ExitCode {
    commands::completions::answer(Cli::command);
    run_with(|command| match command {
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Apply(args) => commands::apply::run(&args),
        Command::Diff(args) => commands::diff::run(&args),
        Command::Plan(args) => commands::plan::run(&args),
        Command::Unpack(args) => commands::unpack::run(&args),
        // Networks in floats are calibrated for a board first.
        Command::Measure(args) if args.has_data() => training::become_it(),
        Command::Measure(args) => commands::measure::run(&args),
        Command::Predict(args) => commands::predict::run(&args),
        Command::Explain(args) => commands::explain::run(&args),
        Command::Measurements(args) => commands::measurements::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Bench(args) => commands::bench::run(&args),
        Command::BenchStatistics(args) => commands::bench::statistics(&args),
        Command::Device(args) => commands::device::run(args),
        Command::Config(args) => commands::config::run(&args),
        Command::Completions(args) => commands::completions::run(&args),
        Command::Example(_)
        | Command::Data(_)
        | Command::Prune(_)
        | Command::Quantize(_)
        | Command::Pack(_)
        | Command::Train(_)
        | Command::Search(_)
        | Command::Finetune(_)
        | Command::Export(_) => training::become_it(),
    })
}

/// The program `graphprune-train`: the commands that compute with libtorch.
#[must_use]
pub fn start_training() -> ExitCode {
    run_with(|command| match command {
        Command::Example(args) => commands::example::run(&args),
        Command::Data(args) => commands::data::run(&args),
        Command::Prune(args) => commands::prune::run(&args),
        Command::Quantize(args) => commands::quantize::run(&args),
        Command::Pack(args) => commands::pack::run(&args),
        Command::Measure(args) => commands::measure::run_calibrated(&args),
        Command::Train(args) => commands::stage::train(&args),
        Command::Search(args) => commands::stage::search(&args),
        Command::Finetune(args) => commands::stage::finetune(&args),
        Command::Export(args) => commands::stage::export(&args),
        _ => Err(Usage::error(
            "graphprune-train is a part of graphprune: start graphprune",
        )),
    })
}

fn run_with(run: fn(Command) -> anyhow::Result<ExitCode>) -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would report them on standard error, which is what fails.
        .log_internal_errors(false)
        .init();
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(message) => return not_a_command(&with_defaults(message)),
    };
    let code = run(command).unwrap_or_else(|error| {
        note!("error: {}", output::with_causes(&error));
        ExitCode::from(exit::of_error(&error))
    });
    output::conclude(code)
}

/// The help with the defaults of the configuration, which only it needs.
fn with_defaults(message: clap::Error) -> clap::Error {
    if message.use_stderr() {
        return message;
    }
    let full = defaults::shown(Cli::command()).try_get_matches();
    full.err().unwrap_or(message)
}

/// Prints clap's message: help and the version on standard output, wrong usage on standard error.
fn not_a_command(message: &clap::Error) -> ExitCode {
    let printed = message.print();
    if !message.use_stderr() {
        output::keep(printed);
    }
    let code = u8::try_from(message.exit_code()).unwrap_or(exit::USAGE);
    output::conclude(ExitCode::from(code))
}
