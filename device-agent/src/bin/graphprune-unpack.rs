//! `graphprune-unpack`: the ONNX file of a network that `graphprune pack` packed.
//!
//! It writes the same bytes as `graphprune unpack` and needs neither ONNX Runtime nor libtorch, so
//! that it fits on a device that downloads networks over a slow link. The file is written whole or
//! not at all, and not before its checksum holds.
//!
//! Deliberately absent: decoding while the container arrives.

#[path = "../unpack.rs"]
mod unpack;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;

/// Unpack a network that `graphprune pack` packed.
#[derive(Parser)]
#[command(
    name = "graphprune-unpack",
    version,
    after_help = "Examples:\n  graphprune-unpack resnet20.gpw resnet20.onnx\n  graphprune-unpack beginning.gpw coarse.onnx --prefix"
)]
struct Arguments {
    #[command(flatten)]
    options: unpack::Options,
}

fn main() -> ExitCode {
    match unpack::unpack(&Arguments::parse().options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // It may contain names from the file, with control characters.
            let text = format!("{error:#}");
            let text = agent_protocol::plain::printable(&text);
            // There is no other place to report a failure of this.
            let _ = writeln!(std::io::stderr(), "error: {text}");
            ExitCode::FAILURE
        }
    }
}
