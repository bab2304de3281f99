//! A Rust compiler with the target's standard library, and a linker.
//!
//! The active compiler is used if it has the target (`rustup target add`). Otherwise the compiler
//! of Debian's testing suite, which packages the targets, is unpacked into `.deps/cross/rust`.
//! The linker is zig, because it links against an old glibc, so that the agent starts on old
//! systems.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::target::{self, GLIBC, PACKAGE, PROFILE, Target};
use crate::debian::{self, Debian};
use crate::output::say;
use crate::setup::python::Environment;
use crate::setup::{self};
use crate::shell::{self, Checkout};

/// The linker and its cargo integration.
const LINKER: [&str; 2] = ["ziglang==0.17.1", "cargo-zigbuild==0.24.0"];

/// The packages of Debian's compiler by the start of their names, which change with every
/// version.
const COMPILER: [&str; 19] = [
    "libbsd0",
    "libc6",
    "libedit2",
    "libffi",
    "libgcc-s1",
    "libllvm",
    "liblzma5",
    "libmd0",
    "libstd-rust-",
    "libstdc++6",
    "libtinfo6",
    "libxml2",
    "libz3-",
    "libzstd1",
    "rustc",
    "zlib1g",
    "libicu",
    "libxxhash",
    "libncurses",
];

/// A compiler and a linker for one target.
pub struct Toolchain {
    /// Path of the compiler; `None` for the active one.
    compiler: Option<PathBuf>,
    environment: Environment,
    caches: PathBuf,
    version: String,
}

impl Toolchain {
    /// Finds or downloads the compiler and the linker for a target.
    pub fn find(checkout: &Checkout, cross: &Path, target: &Target) -> Result<Self> {
        let environment = environment(cross)?;
        let compiler = if has_target(checkout, target.triple) {
            None
        } else {
            Some(debians_compiler(checkout, cross)?)
        };
        let mut rustc = Command::new(compiler.as_deref().unwrap_or(Path::new("rustc")));
        rustc.current_dir(checkout.root()).arg("--version");
        let version = shell::output(&mut rustc)?.trim().to_owned();
        say!("compiler: {version}");
        Ok(Self {
            compiler,
            environment,
            caches: cross.join("cache"),
            version,
        })
    }

    /// The version of the compiler.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Builds the agent and returns its path.
    pub fn build(&self, checkout: &Checkout, output: &Path, target: &Target) -> Result<PathBuf> {
        let tools = self.environment.python().get_program().to_owned();
        let tools = Path::new(&tools)
            .parent()
            .context("a Python without a folder")?;
        // The absolute path, because the environment contains other programs with common names.
        let mut cargo = Command::new(tools.join("cargo-zigbuild"));
        cargo.current_dir(checkout.root());
        for (name, value) in checkout.cargo().get_envs() {
            match value {
                Some(value) => cargo.env(name, value),
                None => cargo.env_remove(name),
            };
        }
        let mut path = vec![tools.to_owned()];
        path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        cargo
            .args(["zigbuild", "--profile", PROFILE, "--package", PACKAGE])
            // Debug probes are plugged into hosts.
            .arg("--no-default-features")
            .args(["--target", &format!("{}.{GLIBC}", target.triple)])
            .arg("--target-dir")
            .arg(output)
            .env("PATH", env::join_paths(path)?)
            .env("CARGO_ENCODED_RUSTFLAGS", flags(checkout))
            .env("CARGO_INCREMENTAL", "0")
            .env("CARGO_ZIGBUILD_CACHE_DIR", self.caches.join("zigbuild"))
            .env("ZIG_GLOBAL_CACHE_DIR", self.caches.join("zig"));
        if let Some(compiler) = &self.compiler {
            cargo.env("RUSTC", compiler);
        }
        shell::run(&mut cargo)?;
        Ok(output.join(target.triple).join(PROFILE).join(PACKAGE))
    }
}

/// Flags that replace those of `.cargo/config.toml`, whose run path to libtorch has no meaning on
/// a device. They also remove the paths of this machine from panic messages.
fn flags(checkout: &Checkout) -> String {
    let mut flags = vec![format!(
        "--remap-path-prefix={}=graphprune",
        checkout.root().display()
    )];
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cargo")));
    flags.extend(home.map(|home| format!("--remap-path-prefix={}=cargo", home.display())));
    flags.join("\u{1f}")
}

/// The Python environment that contains the linker.
pub fn environment(cross: &Path) -> Result<Environment> {
    let environment = Environment::new(cross.join("venv"), cross.join("wheels"));
    environment.create()?;
    environment.install(&LINKER.map(str::to_owned))?;
    setup::remove(&cross.join("wheels"))?;
    Ok(environment)
}

/// Whether the active compiler has the target's standard library.
pub fn has_target(checkout: &Checkout, triple: &str) -> bool {
    let mut rustc = Command::new("rustc");
    rustc
        .current_dir(checkout.root())
        .args(["--print", "target-libdir", "--target", triple]);
    let holds_core = |folder: &str| {
        fs::read_dir(folder.trim()).is_ok_and(|entries| {
            let mut names = entries.flatten().map(|entry| entry.file_name());
            names.any(|name| name.to_string_lossy().starts_with("libcore-"))
        })
    };
    shell::output(&mut rustc).is_ok_and(|folder| holds_core(&folder))
}

/// Installs Debian's compiler if it is missing, and returns a script that starts it.
pub fn debians_compiler(checkout: &Checkout, cross: &Path) -> Result<PathBuf> {
    let folder = cross.join("rust");
    let script = folder.join("compiler");
    let native = debian::architecture()?;
    // The script is written last, so it marks a complete installation.
    if !script.is_file() {
        unpack_compiler(checkout, &folder, native)?;
    }
    let (triplet, loader) = match native {
        "amd64" => ("x86_64-linux-gnu", "ld-linux-x86-64.so.2"),
        _ => ("aarch64-linux-gnu", "ld-linux-aarch64.so.1"),
    };
    // Paths are relative to the script, so that the checkout can be moved. LD_LIBRARY_PATH would
    // also affect the programs that the compiler starts.
    let text = format!(
        "#!/bin/sh\nusr=$(cd \"$(dirname \"$0\")\" && pwd)/usr\nlibraries=\"$usr/lib/{triplet}\"\nexec \
         \"$libraries/{loader}\" --argv0 \"$usr/bin/rustc\" --library-path \"$libraries\" \"$usr/bin/rustc\" --sysroot \
         \"$usr\" \"$@\"\n"
    );
    if fs::read_to_string(&script).is_ok_and(|known| known == text) {
        return Ok(script);
    }
    let aside = script.with_extension("tmp");
    fs::write(&aside, text)
        .and_then(|()| fs::set_permissions(&aside, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", aside.display()))?;
    shell::output(Command::new(&aside).arg("--version")).context(
        "Debian's compiler does not start; the name of one of its libraries may have changed",
    )?;
    fs::rename(&aside, &script).with_context(|| format!("cannot write {}", script.display()))?;
    Ok(script)
}

fn unpack_compiler(checkout: &Checkout, folder: &Path, native: &str) -> Result<()> {
    let place = folder.parent().unwrap_or(folder);
    setup::check_space(place, 1_500_000_000)?;
    let debian = Debian::open(checkout)?;
    let mut packages: Vec<_> = debian
        .closure(&["rustc"])?
        .into_iter()
        .filter(|name| is_of_compiler(name))
        .map(|name| format!("{name}:{native}"))
        .collect();
    for target in &target::TARGETS {
        packages.push(format!("libstd-rust-dev:{}", target.debian));
    }
    packages.sort();
    packages.dedup();
    debian.unpack(&packages, debian::TESTING, folder, &[])
}

fn is_of_compiler(package: &str) -> bool {
    let is_part = COMPILER.iter().any(|start| package.starts_with(start));
    let headers = package.ends_with("-dev") && !package.starts_with("libstd-rust");
    is_part && !headers
}

/// Installs the sources of the standard library where `-Zbuild-std` expects them.
pub fn debians_sources(checkout: &Checkout, cross: &Path) -> Result<()> {
    let sources = cross.join("rust-src");
    if !sources.join("usr/src").is_dir() {
        let keep = ["usr/src/rustc-*/library/*"];
        let debian = Debian::open(checkout)?;
        debian.unpack(&["rust-src".to_owned()], debian::TESTING, &sources, &keep)?;
    }
    let inside = target::entry(&sources.join("usr/src"), "rustc-")?;
    let link = cross.join("rust/usr/lib/rustlib/src/rust");
    if let Some(folder) = link.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    setup::place_link(&inside, &link)?;
    if !link.join("library/std").is_dir() {
        bail!(
            "{} does not contain the sources of the standard library",
            link.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compilers_packages_exclude_linkers_and_headers() {
        for (package, expected) in [
            ("rustc", true),
            ("libllvm22", true),
            ("libstd-rust-1.97", true),
            ("libstd-rust-dev", true),
            ("libc6", true),
            ("libc6-dev", false),
            ("gcc-16", false),
            ("binutils", false),
        ] {
            assert_eq!(is_of_compiler(package), expected, "{package}");
        }
    }
}
