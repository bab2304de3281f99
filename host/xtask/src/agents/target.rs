//! The targets of the agents, and functions for their files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The oldest glibc that the agents support, that of Debian 10 and of ONNX Runtime's wheels.
pub const GLIBC: &str = "2.28";
/// The cargo profile of the agents.
pub const PROFILE: &str = "agent";
pub const PACKAGE: &str = "graphprune-agent";
/// The package's second program, which unpacks networks. It is not deployed with the agent.
pub const UNPACK: &str = "graphprune-unpack";
pub const LIBRARY: &str = "libonnxruntime.so";

/// A target.
pub struct Target {
    /// Rust's name for it.
    pub triple: &'static str,
    /// Debian's name for its architecture.
    pub debian: &'static str,
    /// Its folder in `lib` on Debian.
    pub folder: &'static str,
    /// Its name in Python wheels; `None` if ONNX Runtime has no wheel for it.
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

/// Copies a file to a temporary name and renames it, so that readers never see a partial file.
pub fn place(from: &Path, to: &Path) -> Result<PathBuf> {
    let name = to.file_name().context("a file without a name")?;
    let aside = to.with_file_name(format!("{}.tmp", name.display()));
    fs::copy(from, &aside)
        .and_then(|_| fs::rename(&aside, to))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(to.to_owned())
}

/// The last entry of a folder whose name starts with `beginning`.
pub fn entry(folder: &Path, beginning: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .flatten();
    let mut paths: Vec<_> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(beginning))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    match paths.pop() {
        Some(path) => Ok(path),
        None => bail!("no {beginning} in {}", folder.display()),
    }
}
