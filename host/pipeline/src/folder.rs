//! The run folder: one run at a time, files written aside and renamed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use crate::error::PipelineError;

/// The file that makes a folder a run's.
pub(crate) const CONFIG_FILE: &str = "config.toml";

/// The original as it is deployed.
pub(crate) const ORIGINAL: &str = "original.onnx";

/// The result.
pub(crate) const RESULT: &str = "pruned.onnx";

/// The data of the report.
pub(crate) const REPORT_DATA: &str = "report.json";

/// What the result keeps of the given network.
pub(crate) const PLAN: &str = "plan.json";

/// The database of finished stages and episodes.
pub(crate) const RECORDS_FILE: &str = "run.sqlite";

/// The folder of TensorBoard events.
pub(crate) const EVENTS: &str = "events";

const LOCK_FILE: &str = "run.lock";

/// Files that an attempt may have left which ended before the folder became a run's.
const LEFTOVERS: [&str; 7] = [
    RECORDS_FILE,
    "run.sqlite-wal",
    "run.sqlite-shm",
    "measurements.sqlite",
    "measurements.sqlite-wal",
    "measurements.sqlite-shm",
    ORIGINAL,
];

/// A run folder locked by this process. The lock ends with the process, however it ends.
#[derive(Debug)]
pub struct RunFolder {
    root: PathBuf,
    /// Whether this process made the folder.
    created: bool,
    lock: File,
}

impl Drop for RunFolder {
    /// Releases the lock. Closing the file is not enough: a child process that another thread is
    /// just starting shares it until its `exec`.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

impl RunFolder {
    /// Creates a folder for a new run.
    ///
    /// # Errors
    /// [`PipelineError::FolderInUse`] when another process works in it,
    /// [`PipelineError::FolderNotEmpty`] when it holds a run already (use [`RunFolder::open`] to
    /// resume it), [`PipelineError::FolderForeign`] when it holds other files, or an I/O error
    /// naming the path.
    pub fn create(root: &Path) -> Result<Self, PipelineError> {
        let created = !root.exists();
        fs::create_dir_all(root)
            .map_err(|e| PipelineError::io(root, "create the run folder", e))?;
        let mut held =
            fs::read_dir(root).map_err(|e| PipelineError::io(root, "read the folder", e))?;
        // A run would overwrite files that only happen to have the names of its own.
        if !root.join(LOCK_FILE).exists() && held.next().is_some() {
            return Err(PipelineError::FolderForeign {
                path: root.to_owned(),
            });
        }
        let folder = Self::lock(root, created)?.without_unfinished()?;
        if folder.holds_run() {
            return Err(PipelineError::FolderNotEmpty {
                path: root.to_owned(),
            });
        }
        for name in LEFTOVERS {
            let path = folder.path(name);
            match fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(PipelineError::io(
                        &path,
                        "remove what an earlier attempt left",
                        e,
                    ));
                }
                _ => {}
            }
        }
        Ok(folder)
    }

    /// Checks that a new run could start in a folder, without making it.
    ///
    /// # Errors
    /// Those of [`RunFolder::create`].
    pub fn check(root: &Path) -> Result<(), PipelineError> {
        let existing = root.ancestors().find(|path| path.exists());
        let existing = existing.filter(|path| !path.as_os_str().is_empty());
        let existing = existing.unwrap_or(Path::new("."));
        let fail =
            |e: rustix::io::Errno| PipelineError::io(root, "create the run folder", e.into());
        rustix::fs::access(existing, rustix::fs::Access::WRITE_OK).map_err(fail)?;
        if !existing.is_dir() {
            return Err(fail(rustix::io::Errno::NOTDIR));
        }
        // An existing folder is locked for a moment, and stays as it is.
        match root.join(LOCK_FILE).exists() || root.join(CONFIG_FILE).exists() {
            true => match Self::lock(root, false)?.holds_run() {
                true => Err(PipelineError::FolderNotEmpty {
                    path: root.to_owned(),
                }),
                false => Ok(()),
            },
            false
                if root.exists()
                    && fs::read_dir(root).is_ok_and(|mut all| all.next().is_some()) =>
            {
                Err(PipelineError::FolderForeign {
                    path: root.to_owned(),
                })
            }
            false => Ok(()),
        }
    }

    /// Removes the files of an attempt that ended before the folder became a run's, and the
    /// folder if this process made it. What cannot be removed stays: the next attempt removes it.
    pub(crate) fn discard(&self) {
        for name in LEFTOVERS.into_iter().chain([LOCK_FILE]) {
            let _ = fs::remove_file(self.path(name));
        }
        let _ = fs::remove_dir_all(self.path(EVENTS));
        if self.created {
            let _ = fs::remove_dir(&self.root);
        }
    }

    /// Whether a run was started here that can be resumed.
    #[must_use]
    pub fn holds_run(&self) -> bool {
        self.path(CONFIG_FILE).exists()
    }

    /// Opens the folder of an earlier run.
    ///
    /// # Errors
    /// [`PipelineError::NoRun`] when it holds none, otherwise as [`RunFolder::create`].
    pub fn open(root: &Path) -> Result<Self, PipelineError> {
        if !root.join(CONFIG_FILE).is_file() {
            return Err(PipelineError::NoRun {
                path: root.to_owned(),
            });
        }
        Self::lock(root, false)?.without_unfinished()
    }

    /// Removes what a killed run had begun to write. Only the holder of the lock writes the files
    /// of a run.
    fn without_unfinished(self) -> Result<Self, PipelineError> {
        whole_file::remove_unfinished(&self.root).map_err(|e| {
            PipelineError::io(&self.root, "remove what a killed run left unfinished", e)
        })?;
        Ok(self)
    }

    fn lock(root: &Path, created: bool) -> Result<Self, PipelineError> {
        let path = root.join(LOCK_FILE);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| PipelineError::io(&path, "open the lock of the run folder", e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                root: root.to_owned(),
                created,
                lock,
            }),
            Err(TryLockError::WouldBlock) => Err(PipelineError::FolderInUse {
                path: root.to_owned(),
            }),
            Err(TryLockError::Error(e)) => Err(PipelineError::io(&path, "lock the run folder", e)),
        }
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path inside the folder.
    #[must_use]
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// A sub-folder, created when absent.
    ///
    /// # Errors
    /// An I/O error naming the path.
    pub fn dir(&self, name: impl AsRef<Path>) -> Result<PathBuf, PipelineError> {
        let path = self.root.join(name);
        fs::create_dir_all(&path).map_err(|e| PipelineError::io(&path, "create a folder", e))?;
        Ok(path)
    }

    /// Writes a file inside the folder whole or not at all.
    ///
    /// # Errors
    /// An I/O error naming the path; the old file, if any, is then untouched.
    pub fn write(&self, name: impl AsRef<Path>, bytes: &[u8]) -> Result<PathBuf, PipelineError> {
        let path = self.root.join(name);
        write_own(&path, bytes)?;
        Ok(path)
    }
}

/// Writes a file of a run, whole or not at all.
///
/// # Errors
/// An I/O error naming the path.
pub(crate) fn write_own(path: &Path, bytes: &[u8]) -> Result<(), PipelineError> {
    whole_file::replace(path, bytes).map_err(|e| PipelineError::io(path, "write", e))
}

/// Writes a file that the user names, whole or not at all.
///
/// # Errors
/// An I/O error naming the path.
pub(crate) fn write_named(path: &Path, bytes: &[u8]) -> Result<(), PipelineError> {
    whole_file::write(path, bytes).map_err(|e| PipelineError::io(path, "write", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_in_the_same_folder_is_refused_while_the_first_lives() {
        let dir = tempfile::tempdir().unwrap();
        let first = RunFolder::create(dir.path()).unwrap();
        assert!(matches!(
            RunFolder::create(dir.path()),
            Err(PipelineError::FolderInUse { .. })
        ));
        drop(first);
        RunFolder::create(dir.path()).unwrap();
    }

    #[test]
    fn a_folder_is_free_at_once_although_a_child_process_still_shares_the_file_of_its_lock() {
        let dir = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(dir.path()).unwrap();
        let shared = folder.lock.try_clone().unwrap();
        drop(folder);
        RunFolder::create(dir.path()).unwrap();
        drop(shared);
    }

    #[test]
    fn a_folder_that_holds_a_run_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(dir.path()).unwrap();
        assert!(matches!(
            RunFolder::open(&dir.path().join("none")),
            Err(PipelineError::NoRun { .. })
        ));
        folder.write("config.toml", b"seed = 1").unwrap();
        drop(folder);
        assert!(matches!(
            RunFolder::create(dir.path()),
            Err(PipelineError::FolderNotEmpty { .. })
        ));
        RunFolder::open(dir.path()).unwrap();
    }

    #[test]
    fn a_folder_with_files_of_other_origin_is_refused_and_a_failed_attempts_is_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("original.onnx"), b"a user's").unwrap();
        assert!(matches!(
            RunFolder::create(dir.path()),
            Err(PipelineError::FolderForeign { .. })
        ));
        let attempt = dir.path().join("attempt");
        let folder = RunFolder::create(&attempt).unwrap();
        folder.write("run.sqlite", b"left").unwrap();
        drop(folder);
        let folder = RunFolder::create(&attempt).unwrap();
        assert!(!folder.path("run.sqlite").exists());
    }

    #[test]
    fn what_a_killed_run_had_begun_to_write_is_gone_when_it_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(dir.path()).unwrap();
        folder.write("config.toml", b"seed = 1").unwrap();
        let begun = folder.dir("train").unwrap().join(".writing-aBc123.tmp");
        fs::write(&begun, b"half of a checkpoint").unwrap();
        let of_others = folder.path("notes.tmp");
        fs::write(&of_others, b"a user's").unwrap();
        // As a command that only looks at the folder of a run that goes on.
        assert!(RunFolder::open(dir.path()).is_err());
        assert!(begun.exists());
        drop(folder);
        RunFolder::open(dir.path()).unwrap();
        assert!(!begun.exists() && of_others.exists());
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(dir.path()).unwrap();
        folder.write("report.html", b"old").unwrap();
        assert!(folder.write("missing/report.html", b"new").is_err());
        assert_eq!(fs::read(folder.path("report.html")).unwrap(), b"old");
        let left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(
            left.len(),
            2,
            "only the report and the lock remain: {left:?}"
        );
    }
}
