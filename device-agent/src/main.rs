//! `graphprune-agent`: measures ONNX models on the device it runs on.
//!
//! `serve` answers gRPC calls on the loopback interface or, over TLS with certificates on both
//! sides, on a network. It never runs a model in its own process: each pass of a measurement is
//! a child, this same program as `worker`, with limits on time and memory. So a crash, a hang or
//! an out-of-memory kill costs one measurement, never the agent, and only a worker parses a
//! model's bytes.
//!
//! Invariants:
//! - A worker never outlives the agent, nor, with `--exit-with-parent`, the agent its host.
//! - Every call carries the token of this start, or comes over a connection with a checked
//!   certificate of a listed client that has the right to it.
//! - Bytes of unauthenticated clients are bounded and never decoded.
//! - Facts that the system does not report about the device are left out, never made up.
//!
//! `device-agent/THREATS.md` lists the threats, the defences, and the tests that show them.
//!
//! Deliberately absent: pruning, training, any file outside the agent's own folder, listening on
//! a network without TLS.

#[cfg(feature = "probe")]
mod board;
mod child;
mod clients;
mod conditions;
mod connections;
mod device;
mod folder;
mod gate;
mod launch;
mod measure;
mod models;
mod queue;
mod runtime;
mod serve;
mod service;
mod summary;
mod tls;
mod unpack;
mod worker;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

/// Measures ONNX models on the device it runs on.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  graphprune-agent info\n  GRAPHPRUNE_AGENT_TOKEN=$(openssl rand -hex 32) graphprune-agent serve --port 7070\n  graphprune-agent serve --listen 0.0.0.0:7070 --tls certificates"
)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Answer calls until ended. Prints one line of JSON with the port when ready.
    Serve(Box<serve::Options>),
    /// Print the device and its state as JSON.
    Info {
        /// ONNX Runtime's library [default: ORT_DYLIB_PATH, then libonnxruntime.so next to this
        /// program]
        #[arg(long, value_name = "FILE")]
        runtime: Option<PathBuf>,
    },
    /// Print the debug probes that are plugged in as JSON.
    #[cfg(feature = "probe")]
    Probes,
    /// Unpack a network that `graphprune pack` packed
    Unpack(unpack::Options),
    /// One pass of a measurement, over standard input and output.
    #[command(hide = true)]
    Worker,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // A reader may close the pipe early, as `head` does.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // It may contain names and messages of libraries, with control characters.
            let text = format!("{error:#}");
            let text = agent_protocol::plain::printable(&text);
            // There is no other place to report a failure of this.
            let _ = writeln!(std::io::stderr(), "error: {text}");
            ExitCode::FAILURE
        }
    }
}

/// Whether standard output was closed.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

fn run() -> anyhow::Result<()> {
    let arguments = match Arguments::try_parse() {
        Err(help) if !help.use_stderr() => {
            let mut out = std::io::stdout();
            return help
                .print()
                .and_then(|()| out.flush())
                .context("cannot write to standard output");
        }
        parsed => parsed.unwrap_or_else(|error| error.exit()),
    };
    match arguments.command {
        Task::Serve(options) => serve::serve(*options),
        Task::Unpack(options) => unpack::unpack(&options),
        Task::Info { runtime } => {
            let library = runtime::find_library(runtime.as_deref())?;
            let folder = folder::Folder::new(&folder::default_place()?)?;
            let mut runtime = runtime::Runtime::probe(library.clone(), folder.work(), false)?;
            let facts = runtime.facts()?;
            let system = device::System {
                sysfs: "/sys".into(),
                folder: folder.work(),
                probe: None,
            };
            let info = serde_json::json!({
                "device": system.info(facts),
                "runtime_library": library,
                "state": system.state(),
            });
            let mut out = std::io::stdout();
            writeln!(out, "{}", serde_json::to_string_pretty(&info)?)
                .and_then(|()| out.flush())
                .context("cannot write to standard output")
        }
        #[cfg(feature = "probe")]
        Task::Probes => {
            let mut out = std::io::stdout();
            writeln!(out, "{}", serde_json::to_string(&board::plugged_in())?)
                .and_then(|()| out.flush())
                .context("cannot write to standard output")
        }
        Task::Worker => worker::main(),
    }
}
