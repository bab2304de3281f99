//! `agents.json`: the built agents with their digests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::shell::{self, Checkout};

/// The content of the folder of agents.
#[derive(Serialize, Deserialize, Default)]
struct Manifest {
    agents: Vec<Agent>,
}

/// The agent for one target.
#[derive(Serialize, Deserialize)]
pub struct Agent {
    triple: String,
    /// The agent's version.
    version: String,
    /// The commit of the sources.
    git: String,
    compiler: String,
    /// The oldest glibc with all symbols that the agent and ONNX Runtime need.
    glibc: String,
    pub files: Vec<File>,
}

/// A file, relative to the manifest.
#[derive(Serialize, Deserialize)]
pub struct File {
    pub path: String,
    pub bytes: u64,
    sha256: String,
}

impl Agent {
    /// Describes files in `folder`; the first two are the program and ONNX Runtime.
    pub fn of(triple: &str, compiler: &str, folder: &Path, files: &[PathBuf]) -> Result<Self> {
        let mut described = Vec::new();
        let mut glibc = Vec::new();
        for (index, path) in files.iter().enumerate() {
            let bytes =
                fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            if index < 2 {
                glibc.extend(newest_glibc(&bytes));
            }
            described.push(File {
                path: path.strip_prefix(folder)?.display().to_string(),
                bytes: u64::try_from(bytes.len())?,
                sha256: Sha256::digest(&bytes)
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect(),
            });
        }
        let (major, minor) = glibc.into_iter().max().unwrap_or((0, 0));
        Ok(Self {
            triple: triple.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            git: String::new(),
            compiler: compiler.to_owned(),
            glibc: format!("{major}.{minor}"),
            files: described,
        })
    }
}

/// Adds an agent to the manifest, replacing one for the same target.
pub fn add(checkout: &Checkout, folder: &Path, mut agent: Agent) -> Result<()> {
    let mut git = Command::new("git");
    git.current_dir(checkout.root())
        .args(["describe", "--always", "--tags", "--dirty"]);
    agent.git = shell::output(&mut git)
        .map(|text| text.trim().to_owned())
        .unwrap_or_default();
    let path = folder.join("agents.json");
    // An unreadable manifest is replaced.
    let mut manifest: Manifest = fs::read_to_string(&path)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    manifest.agents.retain(|other| other.triple != agent.triple);
    manifest.agents.push(agent);
    manifest.agents.sort_by(|a, b| a.triple.cmp(&b.triple));
    let aside = path.with_extension("tmp");
    fs::write(&aside, serde_json::to_string_pretty(&manifest)? + "\n")
        .and_then(|()| fs::rename(&aside, &path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The newest glibc version among the symbols that a file needs.
fn newest_glibc(bytes: &[u8]) -> Option<(u32, u32)> {
    let version = |word: &[u8]| {
        let text = std::str::from_utf8(word).ok()?.strip_prefix("GLIBC_")?;
        let mut parts = text.split('.').map(|part| part.parse().ok());
        Some((parts.next()??, parts.next()??))
    };
    bytes.split(|byte| *byte == 0).filter_map(version).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glibc_versions_are_compared_as_numbers() {
        let bytes = b"\x7fELF\0GLIBC_2.9\0GLIBC_2.28\0GLIBC_PRIVATE\0GLIBCXX_3.4.9\0";
        assert_eq!(newest_glibc(bytes), Some((2, 28)));
        assert_eq!(newest_glibc(b"nothing"), None);
    }
}
