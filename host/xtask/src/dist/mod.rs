//! `cargo xtask dist`: what a user installs: a tarball, a wheel, and a file for a container.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::output::say;
use crate::shell::{self, Checkout};
use crate::{firmware, setup};

/// What is installed.
const PROGRAMS: [&str; 4] = [
    "graphprune",
    "graphprune-train",
    "graphprune-agent",
    "graphprune-unpack",
];

/// Further files of the tarball.
const TEXTS: [&str; 3] = ["README.md", "LICENSE-MIT", "LICENSE-APACHE"];

/// Packs the wheel.
const WHEEL: &str = include_str!("wheel.py");

/// How the programs are built.
#[derive(Args)]
pub struct Options {
    /// Cargo's profile: `release`, or `dev` for a fast build
    #[arg(long, default_value = "release")]
    profile: String,
    /// Folder of the results [default: target/dist]
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Builds the programs and packs them.
pub fn run(checkout: &Checkout, options: &Options) -> Result<()> {
    setup::run(checkout, &setup::Options::default())?;
    // The agent has it in itself.
    firmware::run(checkout, &firmware::Options::default())?;
    let target = checkout.metadata()?.target_directory;
    let mut cargo = checkout.cargo_with_torch()?;
    cargo.args([
        "build",
        "--locked",
        "--workspace",
        "--profile",
        &options.profile,
    ]);
    for program in PROGRAMS {
        cargo.args(["--bin", program]);
    }
    shell::run(&mut cargo)?;
    let out = options.out.clone().unwrap_or_else(|| target.join("dist"));
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("graphprune-{version}-linux-{}", std::env::consts::ARCH);
    let stage = out.join(&name);
    let bin = stage.join("bin");
    if stage.exists() {
        fs::remove_dir_all(&stage).with_context(|| format!("cannot empty {}", stage.display()))?;
    }
    fs::create_dir_all(&bin).with_context(|| format!("cannot create {}", bin.display()))?;
    let built = target.join(match options.profile.as_str() {
        "dev" => "debug",
        other => other,
    });
    for program in PROGRAMS {
        let mut strip = Command::new("strip");
        strip
            .arg("-o")
            .args([bin.join(program), built.join(program)]);
        shell::run(&mut strip)?;
    }
    for text in TEXTS {
        let to = stage.join(text);
        fs::copy(checkout.root().join(text), &to)
            .with_context(|| format!("cannot write {}", to.display()))?;
    }
    let tarball = out.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.arg("-C")
        .args([&out, Path::new("-czf"), &tarball])
        .arg(&name);
    shell::run(&mut tar)?;
    say!("{}", tarball.display());
    wheel(checkout, &bin, &out)?;
    let container = out.join("Containerfile");
    fs::write(&container, containerfile(version))
        .with_context(|| format!("cannot write {}", container.display()))?;
    say!("{}", container.display());
    Ok(())
}

/// Packs the wheel with the set-up's Python.
fn wheel(checkout: &Checkout, bin: &Path, out: &Path) -> Result<()> {
    let python = checkout.deps().join("venv/bin/python");
    let torch = fs::read_to_string(checkout.deps().join("libtorch/version.py"));
    let torch = torch.context("cannot read the version of libtorch")?;
    let torch = version_in(&torch).context("the version of libtorch is not where it was")?;
    let mut pack = Command::new(python);
    pack.args(["-c", WHEEL])
        .args([bin, &checkout.root().join("host/python"), out])
        .args([env!("CARGO_PKG_VERSION"), torch]);
    shell::run(&mut pack)
}

/// The version in the file `version.py` of torch.
fn version_in(file: &str) -> Option<&str> {
    let line = file
        .lines()
        .find_map(|line| line.strip_prefix("__version__ = "))?;
    Some(line.trim_matches(['\'', '"']))
}

/// A container with the wheel.
fn containerfile(version: &str) -> String {
    format!(
        "# Build it in the folder of the wheel: podman build --tag graphprune .\n\
         FROM docker.io/library/python:3.12-slim\n\
         COPY graphprune-{version}-py3-none-linux_*.whl /wheel/\n\
         # For a guard over latency alone, leave out [train]: libtorch is not needed then.\n\
         RUN pip install --no-cache-dir \"$(ls /wheel/graphprune-*.whl)[train]\" && rm -r /wheel\n\
         WORKDIR /work\n\
         ENTRYPOINT [\"graphprune\"]\n"
    )
}

#[cfg(test)]
mod tests {
    use super::version_in;

    #[test]
    fn the_version_of_torch_is_that_of_its_file() {
        let file =
            "__all__ = ['__version__', 'debug']\n__version__ = '2.11.0+cpu'\ndebug = False\n";
        assert_eq!(version_in(file), Some("2.11.0+cpu"));
        assert_eq!(version_in("debug = False"), None);
    }
}
