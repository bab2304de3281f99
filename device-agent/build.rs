//! Embeds the boards' firmware that `cargo xtask firmware` has built, so that an agent that was
//! built with it needs no files beside it. Without it the agent reads the files when it runs.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=GRAPHPRUNE_FIRMWARE");
    let from = |name: &str| env::var_os(name).map(PathBuf::from);
    let package = from("CARGO_MANIFEST_DIR").unwrap_or_default();
    let folder = from("GRAPHPRUNE_FIRMWARE").unwrap_or(package.join("../.deps/firmware"));
    let mut entries = Vec::new();
    // A folder that is not there cannot be watched.
    if env::var_os("CARGO_FEATURE_PROBE").is_some() && folder.is_dir() {
        println!("cargo::rerun-if-changed={}", folder.display());
        for entry in fs::read_dir(&folder)? {
            entries.extend(entry_of(&entry?.path()));
        }
    }
    entries.sort();
    let list = format!("&[{}]", entries.join(", "));
    fs::write(
        from("OUT_DIR").unwrap_or_default().join("firmware.rs"),
        list,
    )
}

/// The family of a file and its bytes, as Rust source.
fn entry_of(path: &Path) -> Option<String> {
    let is_firmware = path.extension().is_some_and(|of| of == "elf");
    let (family, path) = (path.file_stem()?.to_str()?, path.to_str()?);
    is_firmware.then(|| format!("({family:?}, include_bytes!({path:?}).as_slice())"))
}
