//! `cargo xtask agents`: the agent for other architectures, in `target/agents/TRIPLE`, together
//! with its libraries.
//!
//! `graphprune-unpack` lies beside the agent, for devices that receive packed networks.
//!
//! `graphprune-agent` and `libonnxruntime.so` run on Linux with the glibc stated in
//! `agents.json`. For targets with an older one or none, such as phones, the folder `libc`
//! contains a loader: `./ld-linux-aarch64.so.1 --argv0 agent --library-path .
//! ./graphprune-agent`.
//!
//! Deliberately absent: copying to a device, which is the task of the transports.

mod android;
mod libraries;
mod manifest;
mod target;
pub mod toolchain;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::Args;

use self::manifest::Agent;
use self::target::{LIBRARY, PACKAGE, TARGETS, Target, UNPACK, place};
use self::toolchain::Toolchain;
use crate::debian::Debian;
use crate::output::say;
use crate::setup;
use crate::shell::{self, Checkout};

/// Selects agents and their form.
#[derive(Args)]
pub struct Options {
    /// Build for this target only [default: x86-64, aarch64 and armv7 Linux]
    #[arg(long = "target", value_name = "TRIPLE")]
    targets: Vec<String>,
    /// Include a C and C++ library, for devices whose own is too old or of another kind
    #[arg(long)]
    bundle_libc: bool,
    /// Type-check the agent for Android instead, or build it if ANDROID_NDK_HOME and cargo-ndk
    /// are available
    #[arg(long)]
    check_android: bool,
}

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
        let target = TARGETS.iter().find(|target| target.triple == name);
        target.with_context(|| {
            let known: Vec<_> = TARGETS.iter().map(|target| target.triple).collect();
            format!(
                "unknown target {name}; known targets are {}",
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
    // ONNX Runtime from Debian needs Debian's libraries.
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
    place(&program.with_file_name(UNPACK), &folder.join(UNPACK))?;
    let libc = folder.join("libc");
    setup::remove(&libc)?;
    if bundle {
        files.extend(libraries::bundle(&files, &libraries, &libc)?);
    }
    let agent = Agent::of(target.triple, toolchain.version(), &agents, &files)?;
    for file in &agent.files {
        say!("{:>10} {}", file.bytes, file.path);
    }
    manifest::add(checkout, &agents, agent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_targets_are_the_default_and_unknown_ones_are_refused() {
        assert_eq!(chosen(&[]).unwrap().len(), TARGETS.len());
        let one = chosen(&["aarch64-unknown-linux-gnu".to_owned()]).unwrap();
        assert_eq!(one.first().unwrap().debian, "arm64");
        let error = chosen(&["sparc".to_owned()]).err().unwrap().to_string();
        assert!(error.contains("armv7-unknown-linux-gnueabihf"), "{error}");
    }
}
