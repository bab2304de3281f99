//! Formatting of all source files, including those that `cargo fmt` misses because a macro
//! declares their module.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::shell::Checkout;

/// The edition of the workspace, which rustfmt does not read from the manifest.
const EDITION: &str = "2024";

/// The unformatted sources among `files`, one line each.
pub fn violations(checkout: &Checkout, files: &[String]) -> Result<Vec<String>> {
    unformatted(checkout.root(), files)
}

fn unformatted(root: &Path, files: &[String]) -> Result<Vec<String>> {
    let sources = files
        .iter()
        .filter(|path| path.ends_with(".rs") && root.join(path).is_file());
    let output = Command::new("rustfmt")
        .current_dir(root)
        .args(["--edition", EDITION, "--check", "-l"])
        .args(sources)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start rustfmt; `rustup component add rustfmt` installs it")?;
    let listed = String::from_utf8_lossy(&output.stdout);
    let mut paths: Vec<_> = listed
        .lines()
        .map(|path| relative(root, path).to_owned())
        .collect();
    // A file may be listed twice: as itself and as a module of another file.
    paths.sort_unstable();
    paths.dedup();
    if !output.status.success() && paths.is_empty() {
        bail!("rustfmt failed without naming a file");
    }
    Ok(paths
        .iter()
        .map(|path| format!("{path}: not formatted; `rustfmt --edition {EDITION} {path}` fixes it"))
        .collect())
}

/// The path relative to the checkout; rustfmt lists absolute paths.
fn relative<'a>(root: &Path, path: &'a str) -> &'a str {
    Path::new(path)
        .strip_prefix(root)
        .ok()
        .and_then(Path::to_str)
        .unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_modules_declared_by_macros_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::write(root.join("lib.rs"), "modules!(hidden);\n").unwrap();
        std::fs::write(root.join("hidden.rs"), "fn  f( ) {}\n").unwrap();
        let files = ["lib.rs", "hidden.rs", "gone.rs", "notes.txt"].map(String::from);
        let violations = unformatted(&root, &files).unwrap();
        assert_eq!(
            violations,
            ["hidden.rs: not formatted; `rustfmt --edition 2024 hidden.rs` fixes it"]
        );
    }
}
