//! The program that computes with libtorch: where it lies, and what it needs to start.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context as _;

/// Its name.
const PROGRAM: &str = "graphprune-train";

/// libtorch's main library.
const LIBRARY: &str = "libtorch_cpu.so";

/// Environment variables of the OpenMP libraries that libtorch may use.
const WAITING: [&str; 3] = ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"];

/// What libtorch writes to standard error by itself. Its collective engine tells of each peer that
/// is gone with a stack of C++, and the error says so as well.
const ENGINE_LOG: &str = "TORCH_CPP_LOG_LEVEL";

/// Where the system's linker looks for libraries.
const LIBRARIES: &str = "LD_LIBRARY_PATH";

/// Becomes `graphprune-train`, with the same arguments. Its libtorch is that of LIBTORCH or of the
/// Python environment in which this program is installed; without either, the one that it was
/// built with.
///
/// OpenMP's threads sleep while they wait, unless the user says otherwise. By default they spin:
/// on a machine with other work, all of them spin for the one thread that shares its core, and a
/// training takes ten times as long. The library reads its variables when it is loaded, so they
/// are set here.
pub fn become_it() -> anyhow::Result<ExitCode> {
    let own = std::env::current_exe().context("cannot find this program's folder")?;
    let program = own.with_file_name(PROGRAM);
    anyhow::ensure!(
        program.is_file(),
        "this command computes with libtorch and needs the program '{}', which is not there: install the whole of graphprune",
        program.display()
    );
    let mut arguments = std::env::args_os();
    let mut command = Command::new(&program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments);
    if !WAITING.iter().any(|name| std::env::var_os(name).is_some()) {
        command.env(WAITING[0], "passive");
    }
    if std::env::var_os(ENGINE_LOG).is_none() {
        command.env(ENGINE_LOG, "FATAL");
    }
    if let Some(folder) = libtorch(&own) {
        command.env(LIBRARIES, before(folder, std::env::var_os(LIBRARIES))?);
    }
    let failed = command.exec();
    Err(failed).with_context(|| format!("cannot start '{}'", program.display()))
}

/// The folder of libtorch's libraries, where it is known.
fn libtorch(own: &Path) -> Option<PathBuf> {
    let named = std::env::var_os("LIBTORCH").map(|root| PathBuf::from(root).join("lib"));
    let mut places = named.into_iter().chain(in_environment(own));
    places.find(|folder| folder.join(LIBRARY).is_file())
}

/// The places of libtorch in the Python environment whose `bin` holds `own`.
fn in_environment(own: &Path) -> Vec<PathBuf> {
    let root = own
        .parent()
        .and_then(Path::parent)
        .map(|root| root.join("lib"));
    let pythons = root.and_then(|lib| std::fs::read_dir(lib).ok());
    let pythons = pythons.into_iter().flatten().flatten();
    let place = |python: std::fs::DirEntry| python.path().join("site-packages/torch/lib");
    pythons.map(place).collect()
}

/// A list of folders with one before all others.
fn before(first: PathBuf, others: Option<OsString>) -> anyhow::Result<OsString> {
    let others = others.unwrap_or_default();
    let others = std::env::split_paths(&others).filter(|path| !path.as_os_str().is_empty());
    Ok(std::env::join_paths(std::iter::once(first).chain(others))?)
}
