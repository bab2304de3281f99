use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use super::{OWN, SUFFIX, remove_unfinished, replace, replace_private, write, write_with};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The names in a folder.
fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = entries.map(name).collect();
    names.sort();
    names
}

#[test]
fn a_new_file_has_the_permissions_of_any_and_a_private_one_its_owners_only() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("plain"), "").unwrap();
    write(&at("written"), b"a").unwrap();
    replace(&at("replaced"), b"b").unwrap();
    replace_private(&at("private"), b"c").unwrap();
    for (name, content, expected) in [
        ("written", "a", mode(&at("plain"))),
        ("replaced", "b", mode(&at("plain"))),
        ("private", "c", 0o600),
    ] {
        assert_eq!(fs::read_to_string(at(name)).unwrap(), content);
        assert_eq!(mode(&at(name)), expected, "{name}");
    }
}

#[test]
fn only_the_programs_own_unfinished_files_are_removed_in_all_folders() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("below")).unwrap();
    let unfinished = format!("{OWN}x{SUFFIX}");
    let others = elsewhere.path().join(&unfinished);
    for path in [
        at(&unfinished),
        at("below").join(&unfinished),
        others.clone(),
    ] {
        fs::write(path, "half").unwrap();
    }
    symlink(elsewhere.path(), at("link")).unwrap();
    // A user's place is written under another name until it is whole.
    write_with(&at("table.csv"), |out| {
        remove_unfinished(folder.path())?;
        out.write_all(b"a,b")
    })
    .unwrap();
    assert_eq!(names(&folder), ["below", "link", "table.csv"]);
    assert_eq!(fs::read_dir(at("below")).unwrap().count(), 0);
    assert!(others.exists(), "behind a link");
}

#[test]
fn a_file_that_is_there_keeps_its_permissions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    write(&path, b"new").unwrap();
    assert_eq!(
        (fs::read(&path).unwrap(), mode(&path)),
        (b"new".to_vec(), 0o640)
    );
}

#[test]
fn a_users_link_leads_to_the_file_and_the_programs_own_files_replace_links() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("data")).unwrap();
    fs::write(at("data/there"), "old").unwrap();
    for (link, target) in [("to-file", "data/there"), ("to-nothing", "data/new")] {
        symlink(target, at(link)).unwrap();
        write(&at(link), link.as_bytes()).unwrap();
        assert_eq!(fs::read_to_string(at(target)).unwrap(), link);
        assert_eq!(fs::read_link(at(link)).unwrap(), Path::new(target));
        replace(&at(link), b"own").unwrap();
        assert!(!at(link).is_symlink());
        assert_eq!(fs::read_to_string(at(target)).unwrap(), link);
    }
    symlink("round", at("round")).unwrap();
    assert!(write(&at("round"), b"").is_err());
}

#[test]
fn a_pipe_and_a_device_are_written_to_and_stay() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let read = {
        let pipe = pipe.clone();
        std::thread::spawn(move || {
            let mut text = String::new();
            fs::File::open(pipe)
                .unwrap()
                .read_to_string(&mut text)
                .unwrap();
            text
        })
    };
    write(&pipe, b"through").unwrap();
    assert_eq!(read.join().unwrap(), "through");
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    assert_eq!(names(&folder), ["pipe"]);

    let error = write(Path::new("/dev/full"), b"x").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    write(Path::new("/dev/null"), b"x").unwrap();
    for device in ["/dev/full", "/dev/null"] {
        assert!(fs::metadata(device).unwrap().file_type().is_char_device());
    }
}

#[test]
fn a_failure_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept");
    write(&path, b"old").unwrap();
    let failed = write_with(&path, |out| {
        out.write_all(b"half")?;
        Err(io::Error::other("lost"))
    });
    assert_eq!(failed.unwrap_err().to_string(), "lost");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(names(&folder), ["kept"]);

    let missing = write(&folder.path().join("none/x"), b"").unwrap_err();
    assert!(
        missing.to_string().starts_with("there is no folder"),
        "{missing}"
    );
    assert_eq!(
        write(folder.path(), b"").unwrap_err().kind(),
        io::ErrorKind::IsADirectory
    );
}
