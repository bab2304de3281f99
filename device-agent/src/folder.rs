//! The agent's private folder: nothing of the agent is anywhere else, and it goes when the agent does.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use tempfile::TempDir;

const PREFIX: &str = "graphprune-agent-";
const LOCK: &str = "lock";
const WORK: &str = "work";

/// A folder only its owner may enter.
pub struct Folder {
    // Removed, with all it holds, when the agent ends.
    folder: TempDir,
    // Held as long as the folder is in use: what nobody holds was left by an agent that was killed.
    _lock: Flock<File>,
}

/// What a file system has and what of it is free, bytes.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// For an unprivileged process.
    pub free: u64,
    /// Altogether.
    pub size: u64,
}

impl Folder {
    /// Makes the folder in `place` and clears away those of agents that were killed.
    pub fn new(place: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(place)?;
        remove_abandoned(place);
        let private = std::fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(private)
            .tempdir_in(place)?;
        // Named `lock` only once it is held, lest another agent find it free in between.
        let unnamed = folder.path().join("unnamed");
        let lock = Flock::lock(File::create_new(&unnamed)?, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| std::io::Error::from(errno))?;
        std::fs::rename(unnamed, folder.path().join(LOCK))?;
        std::fs::create_dir(folder.path().join(WORK))?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder in it that workers run in.
    pub fn work(&self) -> PathBuf {
        self.path().join(WORK)
    }

    /// Removes what workers left in theirs: logs of libraries, caches. Only for when none runs.
    pub fn clear_work(&self) {
        empty(&self.work(), None);
    }

    /// Removes the folder now. Tasks of a server that ends may hold it until the process is gone, and then nobody drops it
    /// any more.
    pub fn clear(&self) {
        remove(self.path());
    }
}

impl Space {
    /// That of the file system a folder is on.
    pub fn at(folder: &Path) -> std::io::Result<Self> {
        let disk = nix::sys::statvfs::statvfs(folder)?;
        // The types of the counts differ between architectures.
        #[allow(clippy::useless_conversion)]
        let (free, all, unit) = (
            u64::from(disk.blocks_available()),
            u64::from(disk.blocks()),
            u64::from(disk.fragment_size()),
        );
        Ok(Self {
            free: free.saturating_mul(unit),
            size: all.saturating_mul(unit),
        })
    }
}

/// Removes all that is in a folder, but for the entry of this name. What cannot be removed stays for the next time.
fn empty(folder: &Path, but: Option<&str>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| but.is_none_or(|name| entry.file_name() != name)) {
        let path = entry.path();
        // A link is removed, whatever it leads to.
        let _ = if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            std::fs::remove_dir_all(path)
        } else {
            std::fs::remove_file(path)
        };
    }
}

/// Removes an agent's folder, the lock last: a removal that is cut short is then finished by the next agent. Errors are of no
/// account for the same reason.
fn remove(folder: &Path) {
    empty(folder, Some(LOCK));
    let _ = std::fs::remove_dir_all(folder);
}

/// Removes folders whose lock nobody holds. What cannot be looked at belongs to someone else and stays.
fn remove_abandoned(place: &Path) {
    let Ok(entries) = std::fs::read_dir(place) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let Ok(lock) = OpenOptions::new().write(true).open(entry.path().join(LOCK)) else {
            continue;
        };
        if Flock::lock(lock, FlockArg::LockExclusiveNonblock).is_ok() {
            remove(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_private_and_goes_with_its_owner() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::new(&place.path().join("made/anew")).unwrap();
        let path = folder.path().to_owned();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let space = Space::at(&path).unwrap();
        assert!(space.free > 0 && space.free <= space.size);
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn what_workers_leave_is_removed_and_links_are_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let outside = place.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("precious"), "x").unwrap();
        let folder = Folder::new(place.path()).unwrap();
        std::fs::write(folder.work().join("log"), "x").unwrap();
        std::fs::create_dir_all(folder.work().join("cache/deep")).unwrap();
        std::os::unix::fs::symlink(&outside, folder.work().join("link")).unwrap();
        folder.clear_work();
        assert_eq!(std::fs::read_dir(folder.work()).unwrap().count(), 0);
        assert!(outside.join("precious").exists());
        drop(folder);
        assert!(outside.join("precious").exists());
    }

    #[test]
    fn a_folder_left_by_a_killed_agent_is_cleared_away_and_one_in_use_is_not() {
        let place = tempfile::tempdir().unwrap();
        let dead = place.path().join("graphprune-agent-dead");
        let alive = place.path().join("graphprune-agent-alive");
        let young = place.path().join("graphprune-agent-young");
        for folder in [&dead, &alive, &young] {
            std::fs::create_dir(folder).unwrap();
        }
        File::create(dead.join(LOCK)).unwrap();
        let file = File::create(alive.join(LOCK)).unwrap();
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, e)| e)
            .unwrap();
        remove_abandoned(place.path());
        assert!(!dead.exists() && alive.exists() && young.exists());
        drop(lock);
    }
}
