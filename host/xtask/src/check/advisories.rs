//! Security advisories for the locked crates, from RustSec's database.
//!
//! The database is fetched each time. Without a network and an earlier copy nothing is checked, and
//! the output says so.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::output::say;
use crate::shell::{self, Checkout};

/// The database's repository.
const SOURCE: &str = "https://github.com/RustSec/advisory-db";
/// The variable that names another copy of it. One that is named must be there.
const OTHER: &str = "GRAPHPRUNE_ADVISORIES";

/// Crates with an advisory, one line in all: the program that finds them prints them.
pub fn violations(checkout: &Checkout) -> Result<Vec<String>> {
    let folder = checkout.deps().join("advisories");
    let other = std::env::var(OTHER).ok();
    let source = other.as_deref().unwrap_or(SOURCE);
    if let Err(error) = fetch(source, &folder) {
        if other.is_some() {
            return Err(error);
        }
        let have_copy = folder.join("crates").is_dir();
        say!(
            "{}: {error:#}",
            match have_copy {
                true => "the advisories are those of an earlier time",
                false => "advisories are not checked",
            }
        );
        if !have_copy {
            return Ok(Vec::new());
        }
    }
    let mut compare = checkout.cargo();
    compare.args(["run", "--quiet", "--package", "advisories", "--"]);
    let compared = shell::run(compare.arg(&folder));
    Ok(compared
        .err()
        .map(|error| format!("{error:#}"))
        .into_iter()
        .collect())
}

/// Brings the copy in `folder` up to date.
fn fetch(source: &str, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let git = |arguments: &[&str]| {
        let mut git = git_in(folder);
        // A server that does not answer must not stop the check.
        for setting in ["http.lowSpeedLimit=1000", "http.lowSpeedTime=20"] {
            git.args(["-c", setting]);
        }
        git.env("GIT_TERMINAL_PROMPT", "0");
        shell::output(git.args(arguments))
    };
    git(&["init", "--quiet"])?;
    git(&["fetch", "--quiet", "--depth=1", source, "HEAD"])?;
    git(&["checkout", "--quiet", "--force", "--detach", "FETCH_HEAD"])?;
    Ok(())
}

/// Git for the repository in `folder`, and no other. A hook, which may start the check, runs with
/// variables that lead to the user's repository.
fn git_in(folder: &Path) -> Command {
    let mut git = Command::new("git");
    for variable in ["GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"] {
        git.env_remove(variable);
    }
    git.arg("--git-dir").arg(folder.join(".git"));
    git.arg("--work-tree").arg(folder);
    git
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds a file to a repository, which is made if it is not there.
    fn commit(repository: &Path, file: &str) {
        fs::create_dir_all(repository).unwrap();
        fs::write(repository.join(file), file).unwrap();
        let git = |arguments: &[&str]| {
            let mut git = git_in(repository);
            git.args(["-c", "user.name=a", "-c", "user.email=a@b"]);
            shell::output(git.args(arguments)).unwrap();
        };
        git(&["init", "--quiet"]);
        git(&["add", "."]);
        git(&["commit", "--quiet", "--message", file]);
    }

    #[test]
    fn a_copy_follows_its_source_and_stays_when_the_source_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (source, copy) = (folder.path().join("source"), folder.path().join("copy"));
        let address = source.display().to_string();
        for file in ["first", "second"] {
            commit(&source, file);
            fetch(&address, &copy).unwrap();
            assert!(copy.join(file).is_file(), "{file}");
        }
        fs::remove_dir_all(&source).unwrap();
        let error = format!("{:#}", fetch(&address, &copy).unwrap_err());
        assert!(error.contains("source"), "{error}");
        assert!(copy.join("second").is_file());
    }
}
