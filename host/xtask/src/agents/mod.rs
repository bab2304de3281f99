//! `cargo xtask agents`: the agent for other machines, in `target/agents/TRIPLE`, with what it needs there beside it.
//!
//! `graphprune-agent` and `libonnxruntime.so` run on any Linux of that architecture with the glibc that `agents.json`
//! names. Where the target's own is older or absent, as on a phone, the folder `libc` holds one, for starting the agent
//! by its loader: `./ld-linux-aarch64.so.1 --argv0 agent --library-path . ./graphprune-agent`.
//!
//! Deliberately absent: copying anything to a device, which is the transports' work.

mod android;
mod libraries;
mod manifest;
mod toolchain;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use self::manifest::Agent;
use self::toolchain::Toolchain;
use crate::debian::Debian;
use crate::setup;
use crate::shell::{self, Checkout};

/// Which agents, and what with them.
#[derive(Args)]
pub struct Options {
    /// Only for this target [default: x86-64, aarch64 and armv7 Linux]
    #[arg(long = "target", value_name = "TRIPLE")]
    targets: Vec<String>,
    /// Put a C and C++ library beside each agent, for devices whose own is too old or of another kind
    #[arg(long)]
    bundle_libc: bool,
    /// Instead, check that the agent compiles for Android, and build it where ANDROID_NDK_HOME and cargo-ndk are there
    #[arg(long)]
    check_android: bool,
}

/// The oldest glibc that the agents run on, that of Debian 10; the wheels of ONNX Runtime ask for the same.
const GLIBC: &str = "2.28";
/// The cargo profile they are built in.
const PROFILE: &str = "agent";
const PACKAGE: &str = "graphprune-agent";
const LIBRARY: &str = "libonnxruntime.so";

/// One kind of target.
pub struct Target {
    /// Rust's name.
    pub triple: &'static str,
    /// Debian's name of the architecture.
    pub debian: &'static str,
    /// Where Debian puts its libraries below `lib`.
    pub folder: &'static str,
    /// What the names of Python's wheels call it; `None` where ONNX Runtime has no wheel.
    pub wheel: Option<&'static str>,
}

const TARGETS: [Target; 3] = [
    Target {
        triple: "x86_64-unknown-linux-gnu",
        debian: "amd64",
        folder: "x86_64-linux-gnu",
        wheel: Some("x86_64"),
    },
    Target {
        triple: "aarch64-unknown-linux-gnu",
        debian: "arm64",
        folder: "aarch64-linux-gnu",
        wheel: Some("aarch64"),
    },
    Target {
        triple: "armv7-unknown-linux-gnueabihf",
        debian: "armhf",
        folder: "arm-linux-gnueabihf",
        wheel: None,
    },
];

pub fn run(checkout: &Checkout, options: &Options) -> Result<()> {
    if options.check_android {
        return android::run(checkout);
    }
    let targets = chosen(&options.targets)?;
    let cross = checkout.deps().join("cross");
    fs::create_dir_all(&cross).with_context(|| format!("cannot create {}", cross.display()))?;
    let output = checkout.metadata()?.target_directory;
    for target in targets {
        shell::timed(target.triple, || {
            make(checkout, &cross, &output, target, options.bundle_libc)
        })?;
    }
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Target>> {
    if names.is_empty() {
        return Ok(TARGETS.iter().collect());
    }
    let find = |name: &String| {
        let found = TARGETS.iter().find(|target| target.triple == name);
        found.with_context(|| {
            let known: Vec<_> = TARGETS.iter().map(|target| target.triple).collect();
            format!(
                "there is no agent for {name}; there are {}",
                known.join(", ")
            )
        })
    };
    names.iter().map(find).collect()
}

fn make(
    checkout: &Checkout,
    cross: &Path,
    output: &Path,
    target: &Target,
    bundle: bool,
) -> Result<()> {
    // A library of Debian's needs libraries of Debian's.
    let bundle = bundle || target.wheel.is_none();
    let lock = setup::lock(checkout)?;
    let toolchain = Toolchain::find(checkout, cross, target)?;
    let runtime = libraries::runtime(checkout, cross, target)?;
    let libraries = match runtime.libraries {
        None if bundle => libraries::libc(&Debian::open(checkout)?, cross, target)?,
        libraries => libraries.unwrap_or_default(),
    };
    drop(lock);
    let program = toolchain.build(checkout, &output.join("cross"), target)?;

    let agents = output.join("agents");
    let folder = agents.join(target.triple);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut files = vec![
        place(&program, &folder.join(PACKAGE))?,
        place(&runtime.library, &folder.join(LIBRARY))?,
    ];
    let own = folder.join("libc");
    setup::remove(&own)?;
    if bundle {
        files.extend(libraries::bundle(&files, &libraries, &own)?);
    }
    let agent = Agent::of(target.triple, toolchain.version(), &agents, &files)?;
    for file in &agent.files {
        println!("{:>10} {}", file.bytes, file.path);
    }
    manifest::add(checkout, &agents, agent)
}

/// Copies aside and renames, so that no reader finds half a file.
fn place(from: &Path, to: &Path) -> Result<PathBuf> {
    let name = to.file_name().context("a file without a name")?;
    let aside = to.with_file_name(format!("{}.tmp", name.display()));
    fs::copy(from, &aside)
        .and_then(|_| fs::rename(&aside, to))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(to.to_owned())
}

/// The one entry of a folder whose name begins so.
fn entry(folder: &Path, beginning: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(beginning))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    match found.pop() {
        Some(path) => Ok(path),
        None => bail!("there is no {beginning} in {}", folder.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_choice_every_target_is_made_and_an_unknown_one_is_refused() {
        assert_eq!(chosen(&[]).unwrap().len(), TARGETS.len());
        let one = chosen(&["aarch64-unknown-linux-gnu".to_owned()]).unwrap();
        assert_eq!(one.first().unwrap().debian, "arm64");
        let error = chosen(&["sparc".to_owned()]).err().unwrap().to_string();
        assert!(error.contains("armv7-unknown-linux-gnueabihf"), "{error}");
    }
}
