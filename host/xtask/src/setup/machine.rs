//! The system requirements of the setup, and the packages that provide them.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// Minor versions of Python 3 for which all pinned wheels exist.
const PYTHON_MINOR: std::ops::RangeInclusive<u32> = 11..=14;

/// Fails unless the system is one for which the wheels exist.
pub fn check_system() -> Result<()> {
    let (system, architecture) = (env::consts::OS, env::consts::ARCH);
    if system != "linux" || !["x86_64", "aarch64"].contains(&architecture) {
        bail!(
            "graphprune builds on Linux on x86_64 or aarch64; this is {system} on {architecture}"
        );
    }
    Ok(())
}

/// Fails unless Python with its venv module and the compilers are installed. The error lists
/// everything that is missing.
pub fn check_tools() -> Result<()> {
    let mut missing = Vec::new();
    let version = Command::new("python3")
        .args(["-c", "import sys; print(sys.version_info.minor)"])
        .output();
    match version {
        Ok(output) if output.status.success() => {
            let minor = String::from_utf8_lossy(&output.stdout)
                .trim()
                .parse()
                .unwrap_or(0);
            if !PYTHON_MINOR.contains(&minor) {
                let (low, high) = (PYTHON_MINOR.start(), PYTHON_MINOR.end());
                bail!(
                    "python3 is version 3.{minor}; the wheels of torch need 3.{low} to 3.{high} as the first on PATH"
                );
            }
            if !starts("python3", &["-c", "import venv, ensurepip"]) {
                missing.push(("the venv module of python3", "python3-venv"));
            }
        }
        _ => missing.push(("python3", "python3 python3-venv")),
    }
    if !starts("cc", &["--version"]) {
        missing.push(("a C compiler and linker (cc)", "gcc libc6-dev"));
    }
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    if !starts(&compiler, &["--version"]) {
        missing.push((
            "a C++ compiler (c++), which the bindings of libtorch need",
            "g++",
        ));
    }
    require(missing)
}

/// Fails unless the programs that the boards need are installed.
pub fn check_for_boards() -> Result<()> {
    let mut missing = Vec::new();
    if !starts("ssh", &["-V"]) {
        missing.push(("the SSH client (ssh, scp, ssh-keygen)", "openssh-client"));
    }
    if !starts("unshare", &["--version"]) {
        missing.push(("unshare", "util-linux"));
    }
    require(missing)
}

fn require(missing: Vec<(&str, &str)>) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let (things, packages): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
    bail!(
        "missing: {}. On Debian: apt-get install {}",
        things.join("; "),
        packages.join(" ")
    );
}

/// Fails if the disk of `folder` has less than `needed` bytes free.
pub fn check_space(folder: &Path, needed: u64) -> Result<()> {
    let text = shell::output(Command::new("df").args(["-Pk"]).arg(folder))
        .context("cannot determine the free space")?;
    let free =
        free_bytes(&text).with_context(|| format!("cannot parse the output of df: {text}"))?;
    if free < needed {
        let gigabytes = |bytes: u64| bytes as f64 / 1e9;
        bail!(
            "{} has {:.1} GB free and the installation needs {:.1} GB: free some space and run the command again",
            folder.display(),
            gigabytes(free),
            gigabytes(needed)
        );
    }
    Ok(())
}

fn starts(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .output()
        .is_ok_and(|output| output.status.success())
}

/// The free space in the POSIX output of df with blocks of 1024 bytes.
fn free_bytes(text: &str) -> Option<u64> {
    let blocks: u64 = text
        .lines()
        .nth(1)?
        .split_whitespace()
        .nth(3)?
        .parse()
        .ok()?;
    Some(blocks * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_read_from_the_fourth_column() {
        let text =
            "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 100 30 70 30% /\n";
        assert_eq!(free_bytes(text), Some(70 * 1024));
        assert_eq!(free_bytes("nothing"), None);
    }
}
