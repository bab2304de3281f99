//! Runs other programs. Commands are echoed, errors name the command, and cargo starts with a
//! clean environment.

use std::collections::VecDeque;
use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::output::{self, say};

/// The checkout that contains this package.
pub struct Checkout {
    root: PathBuf,
}

/// The used part of the output of `cargo metadata`.
#[derive(Deserialize)]
pub struct Metadata {
    /// The packages of the workspace.
    pub packages: Vec<Package>,
    /// The target folder.
    pub target_directory: PathBuf,
}

/// One package of the workspace.
#[derive(Deserialize)]
pub struct Package {
    pub name: String,
    /// Its purpose in one line; the check requires one.
    #[serde(default)]
    pub description: String,
    pub manifest_path: PathBuf,
    pub dependencies: Vec<Dependency>,
    pub targets: Vec<Target>,
}

impl Package {
    /// The folder of its manifest.
    pub fn folder<'a>(&'a self, root: &'a Path) -> &'a Path {
        self.manifest_path.parent().unwrap_or(root)
    }

    /// Whether a file belongs to this package, and not to one in a folder of it.
    pub fn contains(&self, file: &Path, root: &Path, packages: &[Self]) -> bool {
        let folder = self.folder(root);
        let nested = packages.iter().map(|other| other.folder(root));
        let mut nested = nested.filter(|other| *other != folder && other.starts_with(folder));
        file.starts_with(folder) && !nested.any(|other| file.starts_with(other))
    }
}

/// A target of a package: a library, a program, a test, or a benchmark.
#[derive(Deserialize)]
pub struct Target {
    pub kind: Vec<String>,
    /// Path of the root file.
    pub src_path: PathBuf,
}

impl Target {
    /// Whether it is a library or a program.
    pub fn is_lib_or_bin(&self) -> bool {
        self.kind.iter().any(|kind| kind == "lib" || kind == "bin")
    }
}

/// A dependency as declared in the manifest.
#[derive(Deserialize)]
pub struct Dependency {
    pub name: String,
    /// Its name in the package, if renamed.
    pub rename: Option<String>,
    /// `None` for an ordinary dependency, else `dev` or `build`.
    pub kind: Option<String>,
    /// Its path, for a dependency in the workspace.
    pub path: Option<PathBuf>,
}

impl Checkout {
    /// Finds the root from the manifest's folder: that of the running cargo command, or else that
    /// of the build.
    pub fn find() -> Result<Self> {
        let manifest_folder =
            env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&manifest_folder)
            .ancestors()
            .nth(2)
            .filter(|root| root.join("host/xtask/Cargo.toml").is_file())
            .with_context(|| {
                format!(
                    "{} is not host/xtask of a checkout",
                    manifest_folder.display()
                )
            })?;
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// The root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of installed files.
    pub fn deps(&self) -> PathBuf {
        self.root.join(".deps")
    }

    /// A cargo command as if started from a shell in the checkout. Variables that `cargo run` set
    /// for this process are removed: build scripts that read them would otherwise rerun whenever
    /// xtask and the shell alternate.
    pub fn cargo(&self) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root);
        for (name, value) in env::vars_os() {
            let text = name.to_string_lossy();
            let of_package = text.starts_with("CARGO_PKG_")
                || [
                    "CARGO",
                    "CARGO_MANIFEST_DIR",
                    "CARGO_MANIFEST_PATH",
                    "CARGO_BIN_NAME",
                    "CARGO_CRATE_NAME",
                ]
                .contains(&text.as_ref());
            // `.cargo/config.toml` sets these for all programs that cargo starts.
            let of_config = ["GRAPHPRUNE_FIRMWARE", "LIBTORCH", "ORT_DYLIB_PATH"]
                .contains(&text.as_ref())
                && Path::new(&value).starts_with(self.deps());
            if of_package || of_config {
                command.env_remove(name);
            }
        }
        command
    }

    /// A cargo command that runs programs linked to libtorch. With a target folder outside of the
    /// checkout, the run path from `.cargo/config.toml` is wrong, so `LD_LIBRARY_PATH` is set.
    pub fn cargo_with_torch(&self) -> Result<Command> {
        let mut command = self.cargo();
        if let Some(paths) = self.library_path()? {
            command.env("LD_LIBRARY_PATH", paths);
        }
        Ok(command)
    }

    /// `LD_LIBRARY_PATH` for a built program, or `None` if the program's run path is sufficient.
    pub fn library_path(&self) -> Result<Option<std::ffi::OsString>> {
        if self.metadata()?.target_directory == self.root.join("target") {
            return Ok(None);
        }
        let before = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let mut paths = vec![self.deps().join("libtorch/lib")];
        paths.extend(env::split_paths(&before).filter(|path| !path.as_os_str().is_empty()));
        Ok(Some(env::join_paths(paths)?))
    }

    /// The metadata of the workspace without its dependencies.
    pub fn metadata(&self) -> Result<Metadata> {
        let mut command = self.cargo();
        command.args(["metadata", "--format-version=1", "--no-deps"]);
        serde_json::from_str(&output(&mut command)?)
            .context("cannot parse the output of cargo metadata")
    }
}

/// The command line without the program's folder.
pub fn words(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    let mut line = program.to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

/// A duration as text.
pub fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        s => format!("{} min {:02} s", s / 60, s % 60),
    }
}

/// Echoes the command and runs it with this process's input and output.
pub fn run(command: &mut Command) -> Result<()> {
    say!("$ {}", words(command));
    let status = command.status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("`{}` ended with {status}", words(command));
    }
    Ok(())
}

/// Runs the command without input and returns its standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let result = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| cannot_start(command))?;
    if !result.status.success() {
        let error = String::from_utf8_lossy(&result.stderr);
        bail!(
            "`{}` ended with {}: {}",
            words(command),
            result.status,
            error.trim()
        );
    }
    Ok(String::from_utf8_lossy(&result.stdout).into_owned())
}

/// The output stream that [`watched`] reads; the other one is passed through.
#[derive(Clone, Copy)]
pub enum Watch {
    Stdout,
    Stderr,
}

/// Echoes the command and runs it. Each line of the watched stream is printed and passed to
/// `each`. Returns whether the command succeeded.
pub fn watched(command: &mut Command, watch: Watch, mut each: impl FnMut(&str)) -> Result<bool> {
    say!("$ {}", words(command));
    match watch {
        Watch::Stdout => command.stdout(Stdio::piped()),
        Watch::Stderr => command.stderr(Stdio::piped()),
    };
    let mut child = command.spawn().with_context(|| cannot_start(command))?;
    let pipe: Box<dyn Read> = match watch {
        Watch::Stdout => Box::new(child.stdout.take().context("no standard output")?),
        Watch::Stderr => Box::new(child.stderr.take().context("no standard error")?),
    };
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        match watch {
            Watch::Stdout => output::bytes(&line),
            Watch::Stderr => output::error_bytes(&line),
        }
        each(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    Ok(child.wait()?.success())
}

/// The last lines of an output.
pub struct Tail {
    lines: VecDeque<String>,
    limit: usize,
}

impl Tail {
    pub fn new(limit: usize) -> Self {
        Self {
            lines: VecDeque::new(),
            limit,
        }
    }

    pub fn push(&mut self, line: &str) {
        if self.lines.len() == self.limit {
            self.lines.pop_front();
        }
        self.lines.push_back(line.to_owned());
    }

    pub fn text(&self) -> String {
        self.lines
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Runs `work` and prints its title and duration.
pub fn timed<T>(title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    say!("\n== {title}");
    let start = Instant::now();
    let result = work()?;
    say!("== {title}: {}", seconds(start.elapsed()));
    Ok(result)
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start {}", command.get_program().to_string_lossy())
}
