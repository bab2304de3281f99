//! The agent's private folder: nothing of the agent is anywhere else, and it goes when the agent does.
//!
//! The place that it is made in may be shared, and who shares it may leave there what looks like an agent's folder and leads
//! elsewhere. So nothing there is opened or removed by a path that somebody else can change: only through descriptors of
//! folders, which follow no links, after a look at the owner.

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
/// The agent's place among the caches of its user.
const IN_CACHE: &str = "graphprune-agent";
/// The mode of what only its owner may enter.
const PRIVATE: u32 = 0o700;
/// How deep folders are gone into, a descriptor for each. What lies deeper is moved up first.
const DEPTH: usize = 32;

/// A folder only its owner may enter.
pub struct Folder {
    // Removed, with all it holds, when the agent ends.
    folder: TempDir,
    own: OwnedFd,
    work: OwnedFd,
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

/// Where the agent makes its folder when nothing is named: among the caches of its user, otherwise in a folder of the user's
/// own among the temporary files.
pub fn usual_place() -> anyhow::Result<PathBuf> {
    let variable = |name: &str| {
        let value = std::env::var_os(name).map(PathBuf::from);
        value.filter(|path| path.is_absolute())
    };
    let caches = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    if let Some(caches) = caches
        // Another user's, as after `sudo`, is none of this one's business.
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

/// Makes a folder that only its owner may enter, or sees to it that one that is there is so.
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

/// Opens a folder, not a link to one, that belongs to this user and that nobody else may enter.
fn open_private(place: impl AsFd, name: impl rustix::path::Arg) -> anyhow::Result<OwnedFd> {
    let folder = open_folder(place, name)?;
    let meta = fstat(&folder)?;
    if meta.st_uid != geteuid().as_raw() {
        bail!("it belongs to user {}", meta.st_uid);
    }
    if meta.st_mode & 0o077 != 0 {
        bail!("others may enter it (mode {:03o})", meta.st_mode & 0o777);
    }
    Ok(folder)
}

fn open_folder(place: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(place, name, flags, Mode::empty())
}

impl Folder {
    /// Makes the folder in `place` and clears away those of agents of the same user that were killed.
    pub fn new(place: &Path) -> anyhow::Result<Self> {
        let making = || format!("making a folder in {}", place.display());
        std::fs::create_dir_all(place).with_context(making)?;
        // The place itself may be a link: who names it has a reason.
        let shared = File::open(place).with_context(making)?;
        let mode = shared.metadata().with_context(making)?.mode();
        if mode & 0o1002 == 0o0002 {
            bail!(
                "everybody may replace what is in {} (mode {:04o}): name another folder with --work, or run `chmod +t` on it",
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
        // Named `lock` only once it is held, lest another agent find it free in between.
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
        empty(&self.work, None);
    }

    /// Removes the folder now. Tasks of a server that ends may hold it until the process is gone, and then nobody drops it
    /// any more.
    pub fn clear(&self) {
        // The lock goes last: a removal that is cut short is then finished by the next agent.
        empty(&self.own, Some(LOCK));
        let _ = std::fs::remove_dir_all(self.path());
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

/// Removes all that is in a folder, but for the entry of this name. Links are removed, whatever they lead to. What cannot be
/// removed stays for the next time.
fn empty(folder: &OwnedFd, but: Option<&CStr>) {
    let mut moved = 0;
    loop {
        let before = moved;
        empty_at(folder, but, DEPTH, &mut |parent, name| {
            moved += 1;
            // Nothing else has names with a line feed in them, or it is moved over them.
            let _ = renameat(parent, name, folder, format!("deep\n{moved}"));
        });
        if moved == before {
            return;
        }
    }
}

/// Empties folders as deep as `depth`, and hands those below to `deeper`.
fn empty_at(
    folder: &OwnedFd,
    but: Option<&CStr>,
    depth: usize,
    deeper: &mut dyn FnMut(&OwnedFd, &CStr),
) {
    for name in names(folder) {
        if but == Some(&name) {
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

/// Opens a folder to read and change it, also one whose mode forbids that to its owner.
fn open_whatever_its_mode(place: &OwnedFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = openat(place, name, flags, Mode::empty())?;
    if fstat(&found)?.st_mode & PRIVATE != PRIVATE {
        // A descriptor of this kind changes no mode by itself.
        let path = format!("/proc/self/fd/{}", found.as_raw_fd());
        let private = Permissions::from_mode(PRIVATE);
        std::fs::set_permissions(path, private).map_err(|_| Errno::ACCESS)?;
    }
    open_folder(place, name)
}

/// The names of what is in a folder.
fn names(folder: impl AsFd) -> Vec<CString> {
    let entries = Dir::read_from(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_owned());
    names
        .filter(|name| *name != *c"." && *name != *c"..")
        .collect()
}

/// Removes folders of this user whose lock nobody holds. What cannot be looked at belongs to someone else and stays.
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
    fn folders_too_deep_for_a_path_or_closed_to_their_owner_are_removed() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::new(place.path()).unwrap();
        let mut at = folder.work.try_clone().unwrap();
        for _ in 0..1200 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = open_folder(&at, "d").unwrap();
        }
        let closed = folder.work().join("closed");
        std::fs::create_dir_all(closed.join("inner")).unwrap();
        std::fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
        folder.clear_work();
        assert_eq!(std::fs::read_dir(folder.work()).unwrap().count(), 0);
    }

    /// A folder as an agent that was killed leaves it.
    fn left_behind(at: &Path, mode: u32) {
        std::fs::create_dir(at).unwrap();
        File::create(at.join("lock")).unwrap();
        std::fs::write(at.join("precious"), "x").unwrap();
        std::fs::set_permissions(at, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_folder_left_by_a_killed_agent_is_cleared_away_and_one_in_use_is_not() {
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
    fn what_only_looks_like_an_agents_folder_stays() {
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
        // Only root can give a file away; whoever else runs this owns it still.
        let is_given = std::os::unix::fs::chown(&others, Some(12345), None).is_ok();
        let folder = Folder::new(place.path()).unwrap();
        for kept in [&victim, &link, &open, &odd] {
            assert!(kept.join("precious").exists(), "{}", kept.display());
        }
        assert_eq!(others.join("precious").exists(), is_given);
        drop(folder);
    }

    #[test]
    fn a_place_where_everybody_may_replace_the_folder_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let check = |mode: u32, right: bool| {
            std::fs::set_permissions(place.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(Folder::new(place.path()).is_ok(), right, "{mode:o}");
        };
        check(0o777, false);
        check(0o1777, true);
        check(0o775, true);
        check(0o700, true);
    }
}
