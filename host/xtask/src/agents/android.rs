//! The agent for Android.
//!
//! With the NDK (ANDROID_NDK_HOME) and cargo-ndk, the agent is built. The NDK is not available
//! from a package registry; without it, the agent is type-checked, with a standard library built
//! from source if the target's is not installed.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::target::{PACKAGE, PROFILE, UNPACK, place};
use super::toolchain;
use crate::output::say;
use crate::setup;
use crate::setup::python::Environment;
use crate::shell::{self, Checkout};

const TRIPLE: &str = "aarch64-linux-android";
/// The API level of Android 9, which most phones in use support.
const API_LEVEL: &str = "28";

pub fn run(checkout: &Checkout) -> Result<()> {
    let output = checkout.metadata()?.target_directory;
    let has_ndk = env::var_os("ANDROID_NDK_HOME").is_some();
    let has_cargo_ndk = shell::output(checkout.cargo().args(["ndk", "--version"])).is_ok();
    if has_ndk && has_cargo_ndk {
        return shell::timed(TRIPLE, || {
            let mut cargo = checkout.cargo();
            cargo
                .args(["ndk", "--target", TRIPLE, "--platform", API_LEVEL, "build"])
                .args(["--profile", PROFILE, "--package", PACKAGE])
                .args(["--no-default-features", "--target-dir"])
                .arg(output.join("cross"))
                .env("CARGO_ENCODED_RUSTFLAGS", "");
            shell::run(&mut cargo)?;
            let folder = output.join("agents").join(TRIPLE);
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
            let built = output.join("cross").join(TRIPLE).join(PROFILE);
            for program in [PACKAGE, UNPACK] {
                place(&built.join(program), &folder.join(program))?;
            }
            Ok(())
        });
    }
    say!("ANDROID_NDK_HOME or cargo-ndk is missing: the agent is type-checked, not built");
    shell::timed(TRIPLE, || {
        let cross = checkout.deps().join("cross");
        fs::create_dir_all(&cross).with_context(|| format!("cannot create {}", cross.display()))?;
        let lock = setup::lock(checkout)?;
        let tools = toolchain::environment(&cross)?;
        let mut cargo = checkout.cargo();
        cargo
            .args([
                "check",
                "--package",
                PACKAGE,
                "--no-default-features",
                "--target",
                TRIPLE,
                "--target-dir",
            ])
            .arg(output.join("cross"))
            .env("CARGO_ENCODED_RUSTFLAGS", "")
            .env("CC_aarch64_linux_android", script(&cross, &tools, CC)?)
            .env("AR_aarch64_linux_android", script(&cross, &tools, AR)?);
        if !toolchain::has_target(checkout, TRIPLE) {
            let compiler = toolchain::debians_compiler(checkout, &cross)?;
            toolchain::debians_sources(checkout, &cross)?;
            cargo
                .arg("-Zbuild-std=std,panic_abort")
                .env("RUSTC", compiler)
                .env("RUSTC_BOOTSTRAP", "1");
        }
        drop(lock);
        shell::run(&mut cargo)
    })
}

/// Replacements for the NDK's programs in the check, because build scripts compile C code even if
/// nothing is linked. Zig has no headers for Android, so the target is replaced by musl's.
const CC: (&str, &str) = (
    "android-cc",
    "for argument do\n    shift\n    case $argument in --target=*) ;; *) set -- \"$@\" \"$argument\" ;; esac\ndone\n\
     set -- cc -target aarch64-linux-musl \"$@\"\n",
);
const AR: (&str, &str) = ("android-ar", "set -- ar \"$@\"\n");

/// A script that passes its arguments, modified by `text`, to zig.
fn script(cross: &Path, tools: &Environment, (name, text): (&str, &str)) -> Result<PathBuf> {
    let path = cross.join(name);
    let python = tools.python();
    let python = Path::new(python.get_program());
    let python = python.strip_prefix(cross).unwrap_or(python);
    let text = format!(
        "#!/bin/sh\n{text}exec \"$(dirname \"$0\")/{}\" -m ziglang \"$@\"\n",
        python.display()
    );
    let aside = path.with_extension("tmp");
    fs::write(&aside, text)
        .and_then(|()| fs::set_permissions(&aside, fs::Permissions::from_mode(0o755)))
        .and_then(|()| fs::rename(&aside, &path))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
