//! The machines that agents are built for, and how files are put in place for them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The oldest glibc that the agents run on, that of Debian 10; the wheels of ONNX Runtime ask for the same.
pub const GLIBC: &str = "2.28";
/// The cargo profile they are built in.
pub const PROFILE: &str = "agent";
pub const PACKAGE: &str = "graphprune-agent";
pub const LIBRARY: &str = "libonnxruntime.so";

/// One kind of target.
pub struct Target {
    /// Rust's name.
    pub triple: &'static str,
    /// Debian's name of the architecture.
    pub debian: &'static str,
    /// Where Debian puts its libraries below `lib`.
    pub folder: &'static str,
    /// What the names of Python's wheels call it; `None` where ONNX Runtime has no wheel.
    pub wheel: Option<&'static str>,
}

pub const TARGETS: [Target; 3] = [
    Target {
        triple: "x86_64-unknown-linux-gnu",
        debian: "amd64",
        folder: "x86_64-linux-gnu",
        wheel: Some("x86_64"),
    },
    Target {
        triple: "aarch64-unknown-linux-gnu",
        debian: "arm64",
        folder: "aarch64-linux-gnu",
        wheel: Some("aarch64"),
    },
    Target {
        triple: "armv7-unknown-linux-gnueabihf",
        debian: "armhf",
        folder: "arm-linux-gnueabihf",
        wheel: None,
    },
];

/// Copies aside and renames, so that no reader finds half a file.
pub fn place(from: &Path, to: &Path) -> Result<PathBuf> {
    let name = to.file_name().context("a file without a name")?;
    let aside = to.with_file_name(format!("{}.tmp", name.display()));
    fs::copy(from, &aside)
        .and_then(|_| fs::rename(&aside, to))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(to.to_owned())
}

/// The one entry of a folder whose name begins so.
pub fn entry(folder: &Path, beginning: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(beginning))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    match found.pop() {
        Some(path) => Ok(path),
        None => bail!("there is no {beginning} in {}", folder.display()),
    }
}
