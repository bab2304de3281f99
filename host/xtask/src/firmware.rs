//! `cargo xtask firmware`: the firmware of bare-metal boards, one for each core family, in
//! `.deps/firmware`, where the agents of this checkout find it.
//!
//! The active compiler builds it if it has the family's target (`rustup target add
//! thumbv7em-none-eabi`). Otherwise Debian's compiler of [`crate::agents`] does, with `core` from
//! its sources, and the linker is the one that comes with the active compiler.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::agents::toolchain;
use crate::output::say;
use crate::setup;
use crate::shell::{self, Checkout};

/// The firmware's name, target and features for each core family.
const FAMILIES: [(&str, &str, &str); 6] = [
    ("thumbv6m", "thumbv6m-none-eabi", ""),
    ("thumbv7m", "thumbv7m-none-eabi", ""),
    ("thumbv7em", "thumbv7em-none-eabi", ""),
    ("thumbv8m", "thumbv8m.main-none-eabi", ""),
    ("thumbv8m-dsp", "thumbv8m.main-none-eabi", "dsp"),
    ("thumbv8m-helium", "thumbv8m.main-none-eabi", "helium"),
];

/// The firmware's package, with a workspace of its own.
const PLACE: &str = "device-agent/firmware";
const PROGRAM: &str = "board-firmware";

/// How the firmware is built.
#[derive(Args, Default)]
pub struct Options {
    /// Use Debian's compiler even if the active one has the targets
    #[arg(long)]
    debian: bool,
}

/// Builds every family's firmware; an unchanged one takes no time.
pub fn run(checkout: &Checkout, options: &Options) -> Result<()> {
    let folder = checkout.deps().join("firmware");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let output = checkout.metadata()?.target_directory.join("firmware");
    for (family, triple, features) in FAMILIES {
        let mut cargo = checkout.cargo();
        cargo
            .current_dir(checkout.root().join(PLACE))
            .args(["build", "--release", "--locked", "--target", triple])
            .args(["--features", features])
            .args(size_of(family))
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("CARGO_PROFILE_RELEASE_DEBUG");
        let own = options.debian || !toolchain::has_target(checkout, triple);
        // Two compilers do not share a folder: each would build all of it again.
        let target = output.join(if own { "debian" } else { "active" });
        cargo.arg("--target-dir").arg(&target);
        if own {
            use_debians(checkout, &mut cargo, triple)?;
        }
        shell::run(&mut cargo)?;
        let built = target.join(triple).join("release").join(PROGRAM);
        let place = folder.join(format!("{family}.elf"));
        let bytes = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
        if fs::read(&place).is_ok_and(|known| known == bytes) {
            continue;
        }
        let aside = place.with_extension("tmp");
        fs::write(&aside, bytes)
            .and_then(|()| fs::rename(&aside, &place))
            .with_context(|| format!("cannot write {}", place.display()))?;
    }
    say!(".deps/firmware is complete");
    Ok(())
}

/// The arguments for a smaller firmware where the fastest one exceeds the 32 kB of flash that are
/// kept for it: Armv6-M lacks the instructions for short code.
fn size_of(family: &str) -> &'static [&'static str] {
    match family {
        "thumbv6m" => &[
            "--config",
            "profile.release.package.int8-engine.opt-level=2",
        ],
        _ => &[],
    }
}

/// Lets cargo use Debian's compiler, which has no target without an operating system.
fn use_debians(checkout: &Checkout, cargo: &mut Command, triple: &str) -> Result<()> {
    let cross = checkout.deps().join("cross");
    fs::create_dir_all(&cross).with_context(|| format!("cannot create {}", cross.display()))?;
    let lock = setup::lock(checkout)?;
    let compiler = toolchain::debians_compiler(checkout, &cross)?;
    toolchain::debians_sources(checkout, &cross)?;
    drop(lock);
    let linker = format!(
        "CARGO_TARGET_{}_LINKER",
        triple.replace(['-', '.'], "_").to_uppercase()
    );
    cargo
        .arg("-Zbuild-std=core")
        .env("RUSTC", compiler)
        .env("RUSTC_BOOTSTRAP", "1")
        .env(linker, linker_of_active(checkout)?);
    Ok(())
}

/// Returns the linker that the active compiler comes with.
fn linker_of_active(checkout: &Checkout) -> Result<PathBuf> {
    let mut rustc = Command::new("rustc");
    rustc
        .current_dir(checkout.root())
        .args(["--print", "target-libdir"]);
    let libraries = shell::output(&mut rustc)?;
    let linker = Path::new(libraries.trim())
        .with_file_name("bin")
        .join("rust-lld");
    if !linker.is_file() {
        bail!(
            "{} is missing: install Rust with rustup, or a target for the firmware with `rustup target add thumbv7em-none-eabi`",
            linker.display()
        );
    }
    Ok(linker)
}
