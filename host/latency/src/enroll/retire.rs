//! How a CA is put aside.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use time::OffsetDateTime;

use super::clients;
use crate::LatencyError;

/// Moves the CA, this host's certificate and those of all clients to a folder of their own, if
/// there are any.
pub fn retire(folder: &Path) -> Result<Option<PathBuf>, LatencyError> {
    const FILES: [&str; 4] = ["ca.pem", "ca.key", "host.pem", "host.key"];
    if !folder.join("ca.pem").is_file() {
        return Ok(None);
    }
    let now = OffsetDateTime::from(SystemTime::now()).unix_timestamp();
    let retired = folder.join("retired").join(now.to_string());
    let moving = || {
        std::fs::create_dir_all(&retired)?;
        for name in FILES.into_iter().chain(clients::FILES) {
            match std::fs::rename(folder.join(name), retired.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    };
    moving().map_err(|source| LatencyError::Io {
        doing: format!("moving the old CA to {}", retired.display()),
        source,
    })?;
    Ok(Some(retired))
}
