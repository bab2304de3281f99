//! Files that are written whole or not at all: under a temporary name beside their place, flushed
//! to the disk, then renamed.
//!
//! - [`write()`] and [`write_with`] are for places that a user names. A link leads to the file that
//!   is replaced, whose permissions stay; a device or a pipe is written to, never replaced.
//! - [`replace`] and [`replace_private`] are for files of the program's own. What has their name is
//!   replaced, also a link, so that one planted in a shared folder harms nothing.
//!
//! Deliberately absent: several files as one.
//!
//! # Example
//!
//! ```
//! use std::io::Write as _;
//!
//! # fn main() -> std::io::Result<()> {
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("figures.csv");
//! whole_file::write(&path, b"a,b\n")?;
//! let failed = whole_file::write_with(&path, |out| {
//!     out.write_all(b"half of it")?;
//!     Err(std::io::Error::other("the rest is lost"))
//! });
//! assert!(failed.is_err());
//! assert_eq!(std::fs::read(&path)?, b"a,b\n");
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes `bytes` to a place that a user names.
///
/// # Errors
/// The system's reason, or that the folder is missing; a file that is there is then unchanged.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with(path, |out| out.write_all(bytes))
}

/// Writes what `content` writes to a place that a user names.
///
/// # Errors
/// As [`write()`], and those of `content`.
pub fn write_with(
    path: &Path,
    content: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    // Follows links, also those of `/dev/stdout`, whose names lead nowhere.
    match fs::metadata(path) {
        Ok(there) if there.is_file() => {
            let path = fs::canonicalize(path)?;
            persist(
                &path,
                (Place::Named, Mode::Kept(there.permissions())),
                content,
            )
        }
        Ok(there) if there.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => content(&mut OpenOptions::new().write(true).open(path)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            persist(&end_of_links(path)?, (Place::Named, Mode::New), content)
        }
        Err(error) => Err(error),
    }
}

/// Writes `bytes` in place of whatever has this name.
///
/// # Errors
/// As [`write()`].
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    persist(path, (Place::Own, Mode::New), |out| out.write_all(bytes))
}

/// As [`replace`], a file that only its owner may read.
///
/// # Errors
/// As [`write()`].
pub fn replace_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    persist(path, (Place::Own, Mode::Private), |out| {
        out.write_all(bytes)
    })
}

/// Removes what [`replace`] and [`replace_private`] had begun in a folder, and in those below it,
/// when their process was killed. No other process may be writing there.
///
/// # Errors
/// The system's reason.
pub fn remove_unfinished(folder: &Path) -> io::Result<()> {
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() && name.starts_with(OWN) && name.ends_with(SUFFIX) {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

/// How the names of unfinished files of the program's own begin.
const OWN: &str = ".writing-";
/// The same for places that a user names, which several programs may write to.
const NAMED: &str = ".saving-";
/// How both end.
const SUFFIX: &str = ".tmp";

/// What a file is for.
#[derive(Clone, Copy)]
enum Place {
    Own,
    Named,
}

/// The permissions of a file.
enum Mode {
    /// Those of any new file: the user's umask decides.
    New,
    /// Its owner's only.
    Private,
    /// Those of the file that it replaces.
    Kept(Permissions),
}

/// Links that may lead to one another, as on Linux.
const LINKS: usize = 40;

/// Where a file is made that is written through `path`, a link to nothing or no link.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&path) {
            // An absolute target replaces the folder.
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many links"))
}

fn folder_of(path: &Path) -> io::Result<&Path> {
    let folder = path.parent().filter(|of| !of.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if folder.is_dir() {
        return Ok(folder);
    }
    let missing = format!("there is no folder '{}'", folder.display());
    Err(io::Error::new(io::ErrorKind::NotFound, missing))
}

/// Writes beside `path`, flushes, and renames.
fn persist(
    path: &Path,
    (place, mode): (Place, Mode),
    content: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let folder = folder_of(path)?;
    let mut builder = tempfile::Builder::new();
    let prefix = match place {
        Place::Own => OWN,
        Place::Named => NAMED,
    };
    builder.prefix(prefix).suffix(SUFFIX);
    #[cfg(unix)]
    if !matches!(mode, Mode::Private) {
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder)?;
    if let Mode::Kept(permissions) = mode {
        file.as_file().set_permissions(permissions)?;
    }
    content(file.as_file_mut())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    // The rename must survive a power failure, too. Not every file system lets a folder be opened.
    if let Ok(folder) = File::open(folder) {
        folder.sync_all()?;
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests;
