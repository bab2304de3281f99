//! The clients that may use an agent on a network, as the device's owner lists them.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use agent_protocol::{AllowedClient, AllowedClients, CLIENTS_FILE, Sha256};
use anyhow::{Context, bail};

/// Bytes of a list.
const MAX_BYTES: u64 = 1024 * 1024;

/// The list of clients in a file. It is read again for every question, so that a client loses its
/// access as soon as the file changes.
pub struct Allowed {
    path: PathBuf,
    /// Whether the last attempt failed, which is reported once.
    is_broken: AtomicBool,
}

impl Allowed {
    /// Reads the list in the folder of `--tls`.
    pub fn in_folder(folder: &Path) -> anyhow::Result<Self> {
        let allowed = Self {
            path: folder.join(CLIENTS_FILE),
            is_broken: AtomicBool::new(false),
        };
        allowed.read()?;
        Ok(allowed)
    }

    /// Returns the client with this key; `None` while the file cannot be read.
    pub fn find(&self, key: Sha256) -> Option<AllowedClient> {
        self.now().find(key).cloned()
    }

    /// Returns the present list; an empty one while the file cannot be read.
    pub fn now(&self) -> AllowedClients {
        match self.read() {
            Ok(list) => {
                self.is_broken.store(false, Ordering::Relaxed);
                list
            }
            Err(error) => {
                if !self.is_broken.swap(true, Ordering::Relaxed) {
                    eprintln!("warning: every client is refused: {error:#}");
                }
                AllowedClients::default()
            }
        }
    }

    fn read(&self) -> anyhow::Result<AllowedClients> {
        let path = self.path.display();
        let reading = || format!("reading {path}: `graphprune device enroll` makes it");
        let metadata = std::fs::metadata(&self.path).with_context(reading)?;
        let mode = metadata.permissions().mode();
        if mode & 0o022 != 0 {
            bail!(
                "others than its owner may change {path} (mode {:03o}): run `chmod go-w {path}` and check the clients in it",
                mode & 0o777
            );
        }
        if metadata.len() > MAX_BYTES {
            bail!("{path} is longer than {MAX_BYTES} bytes");
        }
        let text = std::fs::read(&self.path).with_context(reading)?;
        serde_json::from_slice(&text).with_context(|| format!("reading {path}"))
    }
}

impl fmt::Debug for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Allowed({})", self.path.display())
    }
}
