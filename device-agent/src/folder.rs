//! The agent's private folder, which holds all of its files and is removed when it ends.
//!
//! Its parent may be shared, and another user may leave a link there that looks like an agent's
//! folder. So nothing in the parent is opened or removed by a path that others can change: only
//! through descriptors of folders, which follow no links, after a check of the owner.

use std::ffi::{CStr, CString};
use std::fs::{File, Permissions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;
use tempfile::TempDir;

const PREFIX: &str = "graphprune-agent-";
const LOCK: &CStr = c"lock";
const WORK: &str = "work";
/// The parent's name among the caches of the user.
const IN_CACHE: &str = "graphprune-agent";
/// The mode of a folder that only its owner may enter.
const PRIVATE: u32 = 0o700;
/// Maximum depth of a recursive removal, which holds a descriptor for each level. Deeper folders
/// are moved up first.
const DEPTH: usize = 32;

/// A folder only its owner may enter.
pub struct Folder {
    // Removed with its contents when the agent ends.
    folder: TempDir,
    own: OwnedFd,
    work: OwnedFd,
    // Held while the folder is in use: a folder whose lock is free belongs to an agent that was
    // killed.
    _lock: Flock<File>,
}

/// The space of a file system, bytes.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// Free for an unprivileged process.
    pub free: u64,
    /// In total.
    pub size: u64,
}

/// Returns the default parent of the agent's folder: among the caches of the user, otherwise a
/// folder of the user's own among the temporary files.
pub fn default_place() -> anyhow::Result<PathBuf> {
    let variable = |name: &str| {
        let value = std::env::var_os(name).map(PathBuf::from);
        value.filter(|path| path.is_absolute())
    };
    let caches = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    if let Some(caches) = caches
        // After `sudo` they can be another user's.
        && is_own(caches.ancestors().find(|folder| folder.exists()))
        && let Ok(place) = make_private(&caches.join(IN_CACHE))
    {
        return Ok(place);
    }
    let name = format!("{IN_CACHE}-of-{}", geteuid().as_raw());
    make_private(&std::env::temp_dir().join(name))
}

fn is_own(folder: Option<&Path>) -> bool {
    folder
        .and_then(|folder| folder.metadata().ok())
        .is_some_and(|meta| meta.uid() == geteuid().as_raw())
}

/// Makes a folder that only its owner may enter, or checks that the existing one is such a
/// folder.
fn make_private(path: &Path) -> anyhow::Result<PathBuf> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    }
    match std::fs::DirBuilder::new().mode(PRIVATE).create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("making {}", path.display()));
        }
        _ => {}
    }
    open_private(CWD, path).with_context(|| {
        format!(
            "{} is not this user's own: remove it, or name another folder with --work",
            path.display()
        )
    })?;
    Ok(path.to_owned())
}

/// Opens a folder, not a link to one, that belongs to this user and that no other user may enter.
fn open_private(place: impl AsFd, name: impl rustix::path::Arg) -> anyhow::Result<OwnedFd> {
    let folder = open_folder(place, name)?;
    let meta = fstat(&folder)?;
    if meta.st_uid != geteuid().as_raw() {
        bail!("it belongs to user {}", meta.st_uid);
    }
    if meta.st_mode & 0o077 != 0 {
        bail!(
            "other users may enter it (mode {:03o})",
            meta.st_mode & 0o777
        );
    }
    Ok(folder)
}

fn open_folder(place: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(place, name, flags, Mode::empty())
}

impl Folder {
    /// Makes the folder in `place` and removes those of killed agents of the same user.
    pub fn new(place: &Path) -> anyhow::Result<Self> {
        let making = || format!("making a folder in {}", place.display());
        std::fs::create_dir_all(place).with_context(making)?;
        // The place itself may be a link: the user chose it.
        let shared = File::open(place).with_context(making)?;
        let mode = shared.metadata().with_context(making)?.mode();
        if mode & 0o1002 == 0o0002 {
            bail!(
                "every user may replace files in {} (mode {:04o}): name another folder with --work, or run `chmod +t` on it",
                place.display(),
                mode & 0o7777
            );
        }
        remove_abandoned(&shared);
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(PRIVATE))
            .tempdir_in(place)
            .with_context(making)?;
        let name = folder.path().file_name().unwrap_or_default();
        let own = open_private(&shared, name).with_context(making)?;
        // It is named `lock` only once it is held, so another agent never finds it free.
        let unnamed = folder.path().join("unnamed");
        let file = File::create_new(&unnamed).with_context(making)?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| std::io::Error::from(errno))
            .with_context(making)?;
        renameat(&own, "unnamed", &own, LOCK).with_context(making)?;
        rustix::fs::mkdirat(&own, WORK, Mode::RWXU).with_context(making)?;
        Ok(Self {
            work: open_folder(&own, WORK).with_context(making)?,
            own,
            folder,
            _lock: lock,
        })
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the folder in it that workers run in.
    pub fn work(&self) -> PathBuf {
        self.path().join(WORK)
    }

    /// Removes the files that workers left: logs of libraries, caches. No worker may be running.
    pub fn clear_work(&self) {
        empty(&self.work, None);
    }

    /// Removes the folder now. Tasks of a server that ends may hold this value until the process
    /// is gone, and it would never be dropped.
    pub fn clear(&self) {
        // The lock goes last, so the next agent finishes a removal that was interrupted.
        empty(&self.own, Some(LOCK));
        let _ = std::fs::remove_dir_all(self.path());
    }
}

impl Space {
    /// Returns the space of the file system a folder is on.
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

/// Removes everything in a folder except the entry of this name. Links are removed, not
/// followed. An entry that cannot be removed stays for the next time.
fn empty(folder: &OwnedFd, except: Option<&CStr>) {
    let mut moved = 0;
    loop {
        let before = moved;
        empty_at(folder, except, DEPTH, &mut |parent, name| {
            moved += 1;
            // A name with a line feed; an existing entry of that name is replaced.
            let _ = renameat(parent, name, folder, format!("deep\n{moved}"));
        });
        if moved == before {
            return;
        }
    }
}

/// Empties folders down to `depth`, and passes those below to `deeper`.
fn empty_at(
    folder: &OwnedFd,
    except: Option<&CStr>,
    depth: usize,
    deeper: &mut dyn FnMut(&OwnedFd, &CStr),
) {
    for name in names(folder) {
        if except == Some(&name) {
            continue;
        }
        if unlinkat(folder, &name, AtFlags::empty()).is_ok() {
            continue;
        }
        if depth == 0 {
            deeper(folder, &name);
            continue;
        }
        if let Ok(inner) = open_whatever_its_mode(folder, &name) {
            empty_at(&inner, None, depth - 1, deeper);
        }
        let _ = unlinkat(folder, &name, AtFlags::REMOVEDIR);
    }
}

/// Opens a folder to read and change it, even one whose mode denies that to its owner.
fn open_whatever_its_mode(place: &OwnedFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(place, name, flags, Mode::empty())?;
    if fstat(&opened)?.st_mode & PRIVATE != PRIVATE {
        // fchmod refuses a descriptor opened with O_PATH.
        let path = format!("/proc/self/fd/{}", opened.as_raw_fd());
        let private = Permissions::from_mode(PRIVATE);
        std::fs::set_permissions(path, private).map_err(|_| Errno::ACCESS)?;
    }
    open_folder(place, name)
}

/// Returns the names of a folder's entries.
fn names(folder: impl AsFd) -> Vec<CString> {
    let entries = Dir::read_from(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_owned());
    names
        .filter(|name| *name != *c"." && *name != *c"..")
        .collect()
}

/// Removes agents' folders of this user whose lock is free. One that cannot be opened belongs to
/// another user and stays.
fn remove_abandoned(place: impl AsFd) {
    let is_agents = |name: &CString| name.to_bytes().starts_with(PREFIX.as_bytes());
    for name in names(&place).into_iter().filter(is_agents) {
        let Ok(folder) = open_private(&place, &*name) else {
            continue;
        };
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(lock) = openat(&folder, LOCK, flags, Mode::empty()) else {
            continue;
        };
        let is_file =
            |meta: rustix::fs::Stat| FileType::from_raw_mode(meta.st_mode) == FileType::RegularFile;
        if fstat(&lock).is_ok_and(is_file)
            && Flock::lock(File::from(lock), FlockArg::LockExclusiveNonblock).is_ok()
        {
            empty(&folder, Some(LOCK));
            let _ = unlinkat(&folder, LOCK, AtFlags::empty());
            let _ = unlinkat(&place, &*name, AtFlags::REMOVEDIR);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_private_and_is_removed_with_its_value() {
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
    fn workers_files_are_removed_and_links_are_not_followed() {
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
    fn folders_too_deep_for_a_path_or_closed_to_their_owner_are_removed() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::new(place.path()).unwrap();
        let mut deepest = folder.work.try_clone().unwrap();
        for _ in 0..1200 {
            rustix::fs::mkdirat(&deepest, "d", Mode::RWXU).unwrap();
            deepest = open_folder(&deepest, "d").unwrap();
        }
        let closed = folder.work().join("closed");
        std::fs::create_dir_all(closed.join("inner")).unwrap();
        std::fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
        folder.clear_work();
        assert_eq!(std::fs::read_dir(folder.work()).unwrap().count(), 0);
    }

    /// Makes a folder as a killed agent leaves it.
    fn left_behind(path: &Path, mode: u32) {
        std::fs::create_dir(path).unwrap();
        File::create(path.join("lock")).unwrap();
        std::fs::write(path.join("precious"), "x").unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_folder_of_a_killed_agent_is_removed_and_one_in_use_is_not() {
        let place = tempfile::tempdir().unwrap();
        let [dead, alive, young] =
            ["dead", "alive", "young"].map(|name| place.path().join(format!("{PREFIX}{name}")));
        left_behind(&dead, PRIVATE);
        left_behind(&alive, PRIVATE);
        std::fs::create_dir(&young).unwrap();
        let file = File::open(alive.join("lock")).unwrap();
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, e)| e)
            .unwrap();
        remove_abandoned(File::open(place.path()).unwrap());
        assert!(!dead.exists() && alive.exists() && young.exists());
        drop(lock);
    }

    #[test]
    fn a_folder_that_only_looks_like_an_agents_stays() {
        let place = tempfile::tempdir().unwrap();
        let victim = place.path().join("victim");
        left_behind(&victim, PRIVATE);
        let link = place.path().join(format!("{PREFIX}link"));
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        let open = place.path().join(format!("{PREFIX}open"));
        left_behind(&open, 0o755);
        let odd = place.path().join(format!("{PREFIX}odd"));
        left_behind(&odd, PRIVATE);
        std::fs::remove_file(odd.join("lock")).unwrap();
        std::os::unix::fs::symlink(victim.join("lock"), odd.join("lock")).unwrap();
        let others = place.path().join(format!("{PREFIX}others"));
        left_behind(&others, PRIVATE);
        // Only root can give a file away; for another user the folder remains its own.
        let is_given = std::os::unix::fs::chown(&others, Some(12345), None).is_ok();
        let folder = Folder::new(place.path()).unwrap();
        for kept in [&victim, &link, &open, &odd] {
            assert!(kept.join("precious").exists(), "{}", kept.display());
        }
        assert_eq!(others.join("precious").exists(), is_given);
        drop(folder);
    }

    #[test]
    fn a_place_where_other_users_may_replace_the_folder_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let check = |mode: u32, accepted: bool| {
            std::fs::set_permissions(place.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(Folder::new(place.path()).is_ok(), accepted, "{mode:o}");
        };
        check(0o777, false);
        check(0o1777, true);
        check(0o775, true);
        check(0o700, true);
    }
}
