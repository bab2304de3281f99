//! The user's folder of graphprune, with registered devices and certificates.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::LatencyError;

/// Returns `$GRAPHPRUNE_HOME`, else `graphprune` in `$XDG_CONFIG_HOME`, else in `~/.config`.
///
/// # Errors
/// Fails if none of the variables is set.
pub fn folder() -> Result<PathBuf, LatencyError> {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("GRAPHPRUNE_HOME")
        .or_else(|| variable("XDG_CONFIG_HOME").map(|folder| folder.join("graphprune")))
        .or_else(|| variable("HOME").map(|folder| folder.join(".config/graphprune")))
        .ok_or_else(|| LatencyError::Io {
            doing: "finding the folder for devices: set GRAPHPRUNE_HOME or HOME".into(),
            source: std::io::ErrorKind::NotFound.into(),
        })
}

/// Returns the folder of the host's certificates.
///
/// # Errors
/// Fails as [`folder`] does.
pub fn certificates() -> Result<PathBuf, LatencyError> {
    Ok(folder()?.join("tls"))
}

/// Waits for an exclusive lock on `path`. The lock ends with the returned file, and so with the
/// process.
///
/// # Errors
/// Fails if the lock file cannot be created or locked.
pub(crate) fn lock(path: &Path) -> Result<File, LatencyError> {
    use std::os::unix::fs::OpenOptionsExt;
    let lock = || {
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        // A link planted in a shared folder must not harm its target: it is not followed, and
        // nothing is written.
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
            .open(path.with_extension("lock"))?;
        file.lock()?;
        Ok(file)
    };
    lock().map_err(|source| LatencyError::Io {
        doing: format!("locking {}", path.display()),
        source,
    })
}

/// Writes a file aside and renames it, so that readers find the old content or the new one. Only
/// the owner may read `private` files.
///
/// # Errors
/// Fails if the file cannot be written.
pub(crate) fn write(path: &Path, text: &[u8], private: bool) -> Result<(), LatencyError> {
    let write = || {
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        if private {
            whole_file::replace_private(path, text)
        } else {
            whole_file::replace(path, text)
        }
    };
    write().map_err(|source| LatencyError::Io {
        doing: format!("writing {}", path.display()),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_a_link_is_refused_and_its_target_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join("ca.lock")).unwrap();
        assert!(lock(&folder.path().join("ca.pem")).is_err());
        assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
        std::fs::remove_file(folder.path().join("ca.lock")).unwrap();
        assert!(lock(&folder.path().join("ca.pem")).is_ok());
    }
}
