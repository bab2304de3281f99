//! Unpacking a network that arrived packed. The file is written whole or not at all, and not before
//! its checksum holds.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use weight_codec::{Limits, unpack_prefix};

/// What to unpack.
#[derive(clap::Args)]
pub struct Options {
    /// Packed network
    file: PathBuf,
    /// ONNX file to write
    out: PathBuf,
    /// Accept the beginning of a network packed by successive refinement
    #[arg(long)]
    prefix: bool,
    /// Refuse a network with more than this many MiB. Unpacking takes up to six times as much
    /// memory
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    limit: usize,
}

/// Unpacks.
pub fn unpack(arguments: &Options) -> anyhow::Result<()> {
    let limits = Limits {
        declared: arguments.limit.saturating_mul(1 << 20),
    };
    let (from, to) = (&arguments.file, &arguments.out);
    let bytes = read(from, limits.declared)?;
    let unpacked = if arguments.prefix {
        unpack_prefix(&bytes, &limits).map(|prefix| prefix.file)
    } else {
        weight_codec::unpack(&bytes, &limits)
    };
    let file = unpacked.with_context(|| format!("cannot unpack '{}'", from.display()))?;
    whole_file::write(to, &file).with_context(|| format!("cannot write '{}'", to.display()))
}

/// Reads a container. One that is larger than what it may contain is not read to its end.
fn read(path: &Path, most: usize) -> anyhow::Result<Vec<u8>> {
    let failed = || format!("cannot read '{}'", path.display());
    let file = File::open(path).with_context(failed)?;
    let mut bytes = Vec::new();
    let mut beginning = file.take((most as u64).saturating_add(1));
    beginning.read_to_end(&mut bytes).with_context(failed)?;
    if bytes.len() > most {
        bail!("'{}' has more than {most} bytes, the limit", path.display());
    }
    Ok(bytes)
}
