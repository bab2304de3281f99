//! `graphprune-agent`: measures ONNX models on the device it runs on.
//!
//! `serve` answers gRPC calls on the loopback interface or, over TLS in which both sides show certificates, on a network. It
//! never runs a model in its own process: each pass of a measurement is a child, this same program as `worker`, with limits on
//! time and memory. So a crash, a hang or an out-of-memory kill costs one measurement, never the agent, and a model's bytes are
//! only ever parsed in a worker.
//!
//! Invariants: a worker does not outlive the agent, nor the agent its host when it was told so; every call carries the token
//! of this start or comes over a connection whose certificate was checked; what a stranger sends is bounded and never decoded;
//! what the system does not tell about the device is left out, never made up. `device-agent/THREATS.md` says who is kept from
//! what, and which test shows it.
//!
//! Deliberately absent: pruning, training, any file outside the agent's own folder, listening on a network without TLS.

mod child;
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
    /// Answer calls until told to end. Prints one line of JSON with the port when ready.
    Serve(serve::Options),
    /// Print the device and its state as JSON.
    Info {
        /// ONNX Runtime's library [default: ORT_DYLIB_PATH, then libonnxruntime.so next to this program]
        #[arg(long, value_name = "FILE")]
        runtime: Option<PathBuf>,
    },
    /// One pass of a measurement, over standard input and output.
    #[command(hide = true)]
    Worker,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads no further has read enough.
        Err(error) if closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // It may repeat names and words of libraries, which a terminal must not obey.
            let text = format!("{error:#}");
            let text = agent_protocol::plain::printable(&text);
            // Where this fails there is nowhere left to say so.
            let _ = writeln!(std::io::stderr(), "error: {text}");
            ExitCode::FAILURE
        }
    }
}

/// Whether standard output was closed.
fn closed(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

fn run() -> anyhow::Result<()> {
    let arguments = match Arguments::try_parse() {
        Err(told) if !told.use_stderr() => {
            let mut out = std::io::stdout();
            return told
                .print()
                .and_then(|()| out.flush())
                .context("cannot write to standard output");
        }
        parsed => parsed.unwrap_or_else(|wrong| wrong.exit()),
    };
    match arguments.command {
        Task::Serve(options) => serve::serve(options),
        Task::Info { runtime } => {
            let library = runtime::find(runtime.as_deref())?;
            let folder = folder::Folder::new(&folder::usual_place()?)?;
            let folders = measure::library_folders(&library, &folder.work())?;
            let facts = measure::runtime_facts(&library, &folders, &folder.work())?;
            let system = device::System {
                sysfs: "/sys".into(),
                folder: folder.work(),
            };
            let what = serde_json::json!({
                "device": system.info(facts),
                "runtime_library": library,
                "state": system.state(),
            });
            let mut out = std::io::stdout();
            writeln!(out, "{}", serde_json::to_string_pretty(&what)?)
                .and_then(|()| out.flush())
                .context("cannot write to standard output")
        }
        Task::Worker => worker::main(),
    }
}
