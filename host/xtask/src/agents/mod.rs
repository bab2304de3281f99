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
mod target;
mod toolchain;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::Args;

use self::manifest::Agent;
use self::target::{LIBRARY, PACKAGE, TARGETS, Target, place};
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
