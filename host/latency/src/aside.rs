//! Files that are written under a temporary name and then renamed.

use std::io;
use std::path::Path;

use tempfile::NamedTempFile;

/// Makes a temporary file in `folder` for a file that takes its place when it is complete. Its
/// permissions are those of any new file: the user's umask decides.
///
/// # Errors
/// The system's reason.
pub fn temporary_in(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".writing-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    #[test]
    fn a_file_has_the_permissions_of_any_new_file() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let aside = super::temporary_in(folder.path()).unwrap();
        let plain = std::fs::File::create(folder.path().join("plain")).unwrap();
        let mode = |file: &std::fs::File| file.metadata().unwrap().permissions().mode();
        assert_eq!(mode(aside.as_file()), mode(&plain));
    }
}
