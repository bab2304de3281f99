//! Fills `.deps/boards`, from which `graphprune-boards` starts an SSH server, an ARM board and a
//! phone, and with which tests drive shells.
//!
//! The layout is documented in that package's `kit` module. Each set is installed in one step
//! with a stamp that lists its packages, so an interrupted setup continues with the next missing
//! set.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{machine, remove};
use crate::debian::{self, Debian, STABLE, TESTING};
use crate::output::say;
use crate::shell::{self, Checkout};

/// An SSH server, a relay and a shell for this machine's architecture, with all their libraries.
const TOOLS: &str = "openssh-server socat busybox-static libaudit1 libcap-ng0 libcap2 libcom-err2 libcrypt1 libc6 \
    libgcc-s1 libgcrypt20 libgpg-error0 libgssapi-krb5-2 libk5crypto3 libkeyutils1 libkrb5-3 libkrb5support0 liblz4-1 \
    liblzma5 libnsl2 libpam0g libpcre2-8-0 libreadline8 libselinux1 libssl3 libsystemd0 libtinfo6 libtirpc3 libwrap0 \
    libzstd1 zlib1g";

/// adbd and its client; apt resolves their libraries.
const ANDROID: [&str; 2] = ["adbd", "adb"];

/// The file system of the ARM board.
const BOARD: &str = "busybox-static:arm64 libc6:arm64 libgcc-s1:arm64 libstdc++6:arm64";

/// The emulator of microcontroller boards; apt resolves its libraries.
const MCU: [&str; 1] = ["qemu-system-arm"];

/// Shells whose completions are tested, with all their libraries. The static zsh has its modules
/// built in; the other one looks for them in the system's folders. The manuals and the Python that
/// both depend on have no part in it.
const SHELLS: &str = "zsh-static zsh-common fish fish-common libc6 libgcc-s1 libpcre2-32-0 libstdc++6 \
    libtinfo6";

/// The sets, each a folder in `.deps/boards`, with the paths to keep.
const SETS: [(&str, &[&str]); 6] = [
    ("tools", &[]),
    ("android", &[]),
    ("qemu", &["usr/bin/qemu-aarch64", "usr/bin/qemu-arm"]),
    ("aarch64", &[]),
    ("mcu", &[]),
    ("shells", &[]),
];

/// Installs the missing sets.
pub fn run(checkout: &Checkout) -> Result<()> {
    machine::check_for_boards()?;
    let folder = checkout.deps().join("boards");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let missing: Vec<_> = SETS
        .iter()
        .filter(|(name, _)| !stamp_holds(&folder, name))
        .collect();
    if missing.is_empty() {
        say!(".deps/boards is complete");
        return Ok(());
    }
    let debian = Debian::open(checkout)?;
    for (name, keep) in missing {
        say!("installing .deps/boards/{name}");
        let (packages, suite) = packages(&debian, name)?;
        let place = folder.join(name);
        debian.unpack(&packages, suite, &place, keep)?;
        if *name == "aarch64" {
            furnish(&folder, &place)?;
        }
        fs::write(place.join("stamp"), stamp(name))
            .with_context(|| format!("cannot write the stamp of {}", place.display()))?;
    }
    Ok(())
}

fn packages(debian: &Debian, name: &str) -> Result<(Vec<String>, &'static str)> {
    let architecture = debian::architecture()?;
    let native = |name: &str| format!("{name}:{architecture}");
    let with_libraries = |roots: &[&str]| -> Result<_> {
        let needed = debian.closure(roots)?;
        Ok((needed.iter().map(|name| native(name)).collect(), TESTING))
    };
    Ok(match name {
        "tools" => (TOOLS.split_whitespace().map(native).collect(), STABLE),
        "android" => with_libraries(&ANDROID)?,
        "mcu" => with_libraries(&MCU)?,
        "shells" => (SHELLS.split_whitespace().map(native).collect(), STABLE),
        "qemu" => (vec![native("qemu-user")], TESTING),
        _ => (
            BOARD.split_whitespace().map(str::to_owned).collect(),
            STABLE,
        ),
    })
}

/// Creates the links to BusyBox on the ARM board, by listing its applets, and the files that a
/// start of the board replaces.
fn furnish(boards: &Path, root: &Path) -> Result<()> {
    let busybox = root.join("bin/busybox");
    let mut list = if env::consts::ARCH == "aarch64" {
        Command::new(&busybox)
    } else {
        let mut qemu = Command::new(boards.join("qemu/usr/bin/qemu-aarch64"));
        qemu.arg(&busybox);
        qemu
    };
    for name in shell::output(list.arg("--list"))?.lines() {
        let link = root.join("bin").join(name);
        if link.symlink_metadata().is_err() {
            symlink("busybox", &link)
                .with_context(|| format!("cannot create the link {}", link.display()))?;
        }
    }
    fs::create_dir_all(root.join("etc"))?;
    for name in ["passwd", "group", "nsswitch.conf"] {
        let path = root.join("etc").join(name);
        remove(&path)?;
        fs::write(&path, "").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The packages of a set.
fn stamp(name: &str) -> String {
    let words = match name {
        "tools" => TOOLS.to_owned(),
        "android" => ANDROID.join(" "),
        "mcu" => MCU.join(" "),
        "shells" => SHELLS.to_owned(),
        "qemu" => "qemu-user".to_owned(),
        _ => BOARD.to_owned(),
    };
    format!("1 {} {name}: {words}\n", env::consts::ARCH)
}

fn stamp_holds(folder: &Path, name: &str) -> bool {
    fs::read_to_string(folder.join(name).join("stamp")).is_ok_and(|text| text == stamp(name))
}
