//! Folders of agents as `cargo xtask agents` lays them out, from files that are there.

use std::fmt::Write as _;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::BoardError;
use crate::container;

/// Writes a folder of agents for this machine's architecture, which `graphprune device deploy
/// --agents` takes: `files` are pairs of a name in it and the content.
///
/// # Errors
/// When a file cannot be written.
pub fn write_agents(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<(), BoardError> {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut listed = Vec::new();
    for (name, bytes) in files {
        let path = folder.join(&triple).join(name);
        let place = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(place).map_err(BoardError::io("making", place))?;
        std::fs::write(&path, bytes).map_err(BoardError::io("writing", &path))?;
        let mut digest = String::new();
        for byte in Sha256::digest(bytes) {
            // Writing to a string does not fail.
            let _ = write!(digest, "{byte:02x}");
        }
        listed.push(serde_json::json!({
            "path": format!("{triple}/{name}"),
            "bytes": bytes.len(),
            "sha256": digest,
        }));
    }
    let agent = serde_json::json!({
        "triple": triple, "version": "test", "git": "", "compiler": "", "glibc": "2.28", "files": listed,
    });
    let manifest = serde_json::json!({ "agents": [agent] });
    container::write(&folder.join("agents.json"), &manifest.to_string())
}
