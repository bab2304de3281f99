//! `graphprune unpack`: the ONNX file of a packed network.

use std::path::PathBuf;
use std::process::ExitCode;

use pipeline::{UnpackRequest, unpack};

use crate::output::say;

/// Unpack a network that `graphprune pack` packed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    graphprune unpack model.gpw --out restored.onnx\n  \
    graphprune unpack model.gpw --out coarse.onnx --prefix")]
pub struct Args {
    /// Packed network
    file: PathBuf,
    /// ONNX file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Accept the beginning of a network packed by successive refinement
    #[arg(long)]
    prefix: bool,
    /// Refuse a network with more than this many MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    limit: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Unpacks and prints.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let unpacked = unpack(&UnpackRequest {
        file: args.file.clone(),
        out: args.out.clone(),
        prefix: args.prefix,
        limit: args.limit.saturating_mul(1 << 20),
    })?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&unpacked)?);
    } else {
        let part = if unpacked.complete {
            ""
        } else {
            ", refined as far as the beginning goes"
        };
        say!(
            "written: {} ({} bytes{part})",
            unpacked.file.display(),
            unpacked.bytes
        );
    }
    Ok(ExitCode::SUCCESS)
}
