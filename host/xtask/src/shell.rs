//! Running other programs: each is echoed, its failure names it, and cargo starts with a clean environment.

use std::collections::VecDeque;
use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The checkout this xtask was built from.
pub struct Checkout {
    root: PathBuf,
}

/// What `cargo metadata` says of the workspace, as far as the commands here need it.
#[derive(Deserialize)]
pub struct Metadata {
    /// The workspace's own packages.
    pub packages: Vec<Package>,
    /// Where cargo builds.
    pub target_directory: PathBuf,
}

/// One package of the workspace.
#[derive(Deserialize)]
pub struct Package {
    pub name: String,
    /// One line on what it is for; the check demands one.
    #[serde(default)]
    pub description: String,
    pub manifest_path: PathBuf,
    pub dependencies: Vec<Dependency>,
    pub targets: Vec<Target>,
}

/// What a package builds: a library, a program, a test, a benchmark.
#[derive(Deserialize)]
pub struct Target {
    pub kind: Vec<String>,
    /// The root file.
    pub src_path: PathBuf,
}

impl Target {
    /// Whether it is the package's library or one of its programs.
    pub fn is_lib_or_bin(&self) -> bool {
        self.kind.iter().any(|kind| kind == "lib" || kind == "bin")
    }
}

/// One dependency as the manifest declares it.
#[derive(Deserialize)]
pub struct Dependency {
    pub name: String,
    /// The name that the package gives it, where it gives one.
    pub rename: Option<String>,
    /// `None` for an ordinary dependency, else `dev` or `build`.
    pub kind: Option<String>,
    /// Set for a dependency inside the workspace.
    pub path: Option<PathBuf>,
}

impl Checkout {
    /// The root is found from the manifest's folder: at run time where cargo says so, else where it was built.
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

    /// The top folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where everything installed lies.
    pub fn deps(&self) -> PathBuf {
        self.root.join(".deps")
    }

    /// Cargo in the checkout, as if typed there. What `cargo run` put into this process's environment is taken out
    /// again, since build scripts that look at it would run anew each time xtask and the shell take turns.
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
            // `.cargo/config.toml` sets these two for every program that cargo starts.
            let of_config = ["LIBTORCH", "ORT_DYLIB_PATH"].contains(&text.as_ref())
                && Path::new(&value).starts_with(self.deps());
            if of_package || of_config {
                command.env_remove(name);
            }
        }
        command
    }

    /// Cargo for running programs that link libtorch: where the user builds outside of the checkout, the run path
    /// that `.cargo/config.toml` links in leads nowhere, so the loader is told.
    pub fn cargo_with_torch(&self) -> Result<Command> {
        let mut command = self.cargo();
        if let Some(paths) = self.library_path()? {
            command.env("LD_LIBRARY_PATH", paths);
        }
        Ok(command)
    }

    /// `LD_LIBRARY_PATH` for a built program, or `None` where the run path in the program is enough.
    pub fn library_path(&self) -> Result<Option<std::ffi::OsString>> {
        if self.metadata()?.target_directory == self.root.join("target") {
            return Ok(None);
        }
        let before = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let mut paths = vec![self.deps().join("libtorch/lib")];
        paths.extend(env::split_paths(&before).filter(|path| !path.as_os_str().is_empty()));
        Ok(Some(env::join_paths(paths)?))
    }

    /// `cargo metadata` of the workspace, without its dependencies.
    pub fn metadata(&self) -> Result<Metadata> {
        let mut command = self.cargo();
        command.args(["metadata", "--format-version=1", "--no-deps"]);
        serde_json::from_str(&output(&mut command)?)
            .context("cargo metadata gave JSON of an unknown form")
    }
}

/// The command line as one would type it.
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

/// A duration for people.
pub fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        s => format!("{} min {:02} s", s / 60, s % 60),
    }
}

/// Echoes the command and runs it with this process's own input and output.
pub fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", words(command));
    let status = command.status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("`{}` ended with {status}", words(command));
    }
    Ok(())
}

/// Runs the command quietly and returns its standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let result = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| cannot_start(command))?;
    if !result.status.success() {
        let complaint = String::from_utf8_lossy(&result.stderr);
        bail!(
            "`{}` ended with {}: {}",
            words(command),
            result.status,
            complaint.trim()
        );
    }
    Ok(String::from_utf8_lossy(&result.stdout).into_owned())
}

/// Which output of a program [`watched`] looks at; the other one is passed through untouched.
#[derive(Clone, Copy)]
pub enum Watch {
    Stdout,
    Stderr,
}

/// Echoes the command and runs it; the watched output is shown as it comes, and its last lines are also returned with
/// whether the command succeeded.
pub fn watched(command: &mut Command, watch: Watch, mut each: impl FnMut(&str)) -> Result<bool> {
    println!("$ {}", words(command));
    match watch {
        Watch::Stdout => command.stdout(Stdio::piped()),
        Watch::Stderr => command.stderr(Stdio::piped()),
    };
    let mut child = command.spawn().with_context(|| cannot_start(command))?;
    let pipe: Box<dyn Read> = match watch {
        Watch::Stdout => Box::new(child.stdout.take().context("no standard output to read")?),
        Watch::Stderr => Box::new(child.stderr.take().context("no standard error to read")?),
    };
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        match watch {
            Watch::Stdout => std::io::stdout().write_all(&line)?,
            Watch::Stderr => std::io::stderr().write_all(&line)?,
        }
        each(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    Ok(child.wait()?.success())
}

/// Keeps the last lines of an output.
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

/// Runs `work` under a header and says how long it took.
pub fn timed<T>(title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("\n== {title}");
    let start = Instant::now();
    let result = work()?;
    println!("== {title}: {}", seconds(start.elapsed()));
    Ok(result)
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start {}", command.get_program().to_string_lossy())
}
