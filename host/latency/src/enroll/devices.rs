//! The enrolled devices.

use std::path::Path;

use crate::LatencyError;
use crate::transport::remote::quote_path;

/// The folder of the certificates in the user's home folder on a device. It lies outside the
/// libraries' folder, which models may read.
pub const CERTIFICATES: &str = "graphprune-tls";

/// Returns the command that copies a list of clients to a device.
pub fn copying_list(list: &Path) -> String {
    let list = list.display().to_string();
    format!("scp -p {} USER@HOST:{CERTIFICATES}/", quote_path(&list))
}

/// Returns the names of the enrolled devices.
pub fn names(folder: &Path) -> Result<Vec<String>, LatencyError> {
    let devices = folder.join("devices");
    let entries = match std::fs::read_dir(&devices) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|source| LatencyError::Io {
            doing: format!("reading {}", devices.display()),
            source,
        })?,
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut names: Vec<String> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}
