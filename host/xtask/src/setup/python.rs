//! A Python environment with pinned packages, downloaded one by one and verified file by file.
//!
//! Each wheel is downloaded separately and moved into place when it is complete, so an
//! interrupted setup continues with the next missing wheel. pip resumes a connection that breaks
//! within a wheel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::output::say;
use crate::shell::{self, Tail, Watch};

const INTACT: &str = include_str!("intact.py");

/// The first version of pip that resumes interrupted downloads.
const PIP: &str = "26.3";
const PIP_RESUMES: (u32, u32) = (25, 1);

/// Delays before retries of a download.
const PAUSES: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(10)];

/// A virtual environment, possibly incomplete.
pub struct Environment {
    folder: PathBuf,
    wheels: PathBuf,
}

impl Environment {
    /// The environment in `folder`, which may be missing, with downloaded wheels in `wheels`.
    pub fn new(folder: PathBuf, wheels: PathBuf) -> Self {
        Self { folder, wheels }
    }

    /// A command that runs Python in the environment.
    pub fn python(&self) -> Command {
        let mut command = Command::new(self.folder.join("bin/python"));
        // Packages from outside of the environment must not be used.
        command
            .env_remove("PYTHONPATH")
            .env_remove("PYTHONHOME")
            .env("PYTHONNOUSERSITE", "1");
        command
    }

    /// Creates the environment, and recreates it if Python does not start or pip is incomplete.
    pub fn create(&self) -> Result<()> {
        if self.folder.symlink_metadata().is_ok() {
            if self.pip_is_complete() && !self.folder.is_symlink() {
                return Ok(());
            }
            say!("recreating {}, which is incomplete", self.folder.display());
            remove(&self.folder)?;
        }
        shell::run(
            Command::new("python3")
                .args(["-m", "venv"])
                .arg(&self.folder),
        )
    }

    /// The venv module installs pip last.
    fn pip_is_complete(&self) -> bool {
        let script = "from importlib.metadata import version; print('pip==' + version('pip'))";
        let complete = |pin: &str| {
            self.broken(&[pin.trim().to_owned()])
                .is_ok_and(|broken| broken.is_empty())
        };
        shell::output(self.python().args(["-c", script])).is_ok_and(|pin| complete(&pin))
    }

    /// The folder of the installed packages.
    pub fn site_packages(&self) -> Result<PathBuf> {
        let script = "import sysconfig; print(sysconfig.get_path('purelib'))";
        let path = PathBuf::from(shell::output(self.python().args(["-c", script]))?.trim());
        path.canonicalize()
            .with_context(|| format!("{} is missing", path.display()))
    }

    /// The `pins` that are not completely installed.
    pub fn broken(&self, pins: &[String]) -> Result<Vec<String>> {
        let listed = shell::output(self.python().args(["-c", INTACT]).args(pins))?;
        Ok(listed.lines().map(str::to_owned).collect())
    }

    /// Resolves `roots` with the package index; returns a pin for each needed package.
    pub fn resolve(&self, roots: &[&str]) -> Result<Vec<String>> {
        self.update_pip();
        let report = self.wheels.join("resolved.json");
        fs::create_dir_all(&self.wheels)?;
        let arguments = [
            "install",
            "--dry-run",
            "--ignore-installed",
            "--only-binary=:all:",
            "--quiet",
            "--report",
        ];
        self.pip_with_retries(&format!("what {} needs", roots.join(" ")), |pip| {
            pip.args(arguments).arg(&report).args(roots);
        })?;
        let text = fs::read_to_string(&report)
            .with_context(|| format!("cannot read {}", report.display()))?;
        fs::remove_file(&report)?;
        pins_of_report(&text)
    }

    /// Downloads and installs missing or incomplete packages of `pins`.
    pub fn install(&self, pins: &[String]) -> Result<()> {
        let broken = self.broken(pins)?;
        if broken.is_empty() {
            return Ok(());
        }
        if broken.iter().any(|pin| self.wheel(pin).is_none()) {
            self.update_pip();
        }
        for (index, pin) in broken.iter().enumerate() {
            match self.wheel(pin) {
                Some(wheel) => say!(
                    "[{}/{}] {pin}: already downloaded as {}",
                    index + 1,
                    broken.len(),
                    file_name(&wheel)
                ),
                None => {
                    say!("[{}/{}] {pin}", index + 1, broken.len());
                    self.download(pin)?;
                }
            }
        }
        for pin in &broken {
            self.discard(pin)?;
        }
        let mut pip = self.pip(&["install", "--no-index", "--no-deps", "--quiet"]);
        pip.arg("--find-links").arg(&self.wheels).args(&broken);
        shell::run(&mut pip).with_context(|| {
            format!(
                "cannot install the downloaded wheels; if one of them is damaged, delete {}",
                self.wheels.display()
            )
        })?;
        let left = self.broken(pins)?;
        if !left.is_empty() {
            bail!(
                "incomplete after the installation: {}; run the command again",
                left.join(", ")
            );
        }
        Ok(())
    }

    /// Removes another version, or the remains of an interrupted installation. pip refuses to
    /// uninstall a package without RECORD; remaining files are overwritten.
    fn discard(&self, pin: &str) -> Result<()> {
        let name = pin.split("==").next().unwrap_or(pin);
        for entry in fs::read_dir(self.site_packages()?)? {
            let path = entry?.path();
            if !is_record_of(&file_name(&path), name) {
                continue;
            }
            if path.join("RECORD").exists() {
                shell::output(&mut self.pip(&["uninstall", "--yes", "--quiet", name]))?;
            }
            remove(&path)?;
        }
        Ok(())
    }

    /// Downloads a wheel to a temporary folder and moves it into place.
    fn download(&self, pin: &str) -> Result<()> {
        let partial = self.wheels.join(format!("partial-{pin}"));
        remove(&partial)?;
        fs::create_dir_all(&partial)
            .with_context(|| format!("cannot create {}", partial.display()))?;
        let resumes = self
            .pip_version()
            .is_some_and(|version| version >= PIP_RESUMES);
        self.pip_with_retries(pin, |pip| {
            pip.args([
                "download",
                "--no-deps",
                "--only-binary=:all:",
                "--quiet",
                "--progress-bar=on",
            ]);
            if resumes {
                pip.args(["--resume-retries", "20"]);
            }
            pip.arg("--dest").arg(&partial).arg(pin);
        })?;
        for entry in fs::read_dir(&partial)? {
            let entry = entry?;
            say!(
                "  {}: {:.1} MB",
                entry.file_name().display(),
                entry.metadata()?.len() as f64 / 1e6
            );
            fs::rename(entry.path(), self.wheels.join(entry.file_name()))?;
        }
        remove(&partial)
    }

    /// Downloads a wheel for another architecture and returns its path.
    pub fn fetch(&self, pin: &str, platforms: &[&str], architecture: &str) -> Result<PathBuf> {
        let folder = self.wheels.join(architecture);
        let of_architecture = Self::new(self.folder.clone(), folder.clone());
        if let Some(wheel) = of_architecture.wheel(pin) {
            return Ok(wheel);
        }
        let partial = self.wheels.join(format!("partial-{architecture}-{pin}"));
        remove(&partial)?;
        for folder in [&folder, &partial] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        self.pip_with_retries(pin, |pip| {
            pip.args(["download", "--no-deps", "--only-binary=:all:", "--quiet"]);
            for platform in platforms {
                pip.arg("--platform")
                    .arg(format!("{platform}_{architecture}"));
            }
            pip.arg("--dest").arg(&partial).arg(pin);
        })?;
        for entry in fs::read_dir(&partial)? {
            let entry = entry?;
            fs::rename(entry.path(), folder.join(entry.file_name()))?;
        }
        remove(&partial)?;
        of_architecture
            .wheel(pin)
            .with_context(|| format!("pip downloaded no wheel of {pin} for {architecture}"))
    }

    /// The downloaded wheel of a pin.
    fn wheel(&self, pin: &str) -> Option<PathBuf> {
        let entries = fs::read_dir(&self.wheels).ok()?;
        entries
            .flatten()
            .map(|entry| entry.path())
            .find(|path| is_wheel_of(&file_name(path), pin))
    }

    /// Updates a pip that cannot resume downloads. A failure is reported, because downloads work
    /// without resuming.
    fn update_pip(&self) {
        if self
            .pip_version()
            .is_some_and(|version| version >= PIP_RESUMES)
        {
            return;
        }
        let mut pip = self.pip(&["install", "--quiet"]);
        pip.arg(format!("pip=={PIP}"));
        if let Err(error) = shell::run(&mut pip) {
            say!(
                "cannot update pip, so interrupted downloads restart at the beginning of the wheel: {error:#}"
            );
        }
    }

    fn pip_version(&self) -> Option<(u32, u32)> {
        let script = "import pip; print(pip.__version__)";
        let text = shell::output(self.python().args(["-c", script])).ok()?;
        let mut parts = text.trim().split('.').map(|part| part.parse().ok());
        Some((parts.next()??, parts.next()??))
    }

    fn pip(&self, arguments: &[&str]) -> Command {
        let mut command = self.python();
        command
            .args(["-m", "pip", "--disable-pip-version-check"])
            .args(arguments);
        command
    }

    /// Runs pip with retries, except if it has no connection, which pip itself retries.
    fn pip_with_retries(&self, what: &str, fill: impl Fn(&mut Command)) -> Result<()> {
        let mut pauses = PAUSES.iter();
        loop {
            let mut pip = self.pip(&[]);
            fill(&mut pip);
            let mut tail = Tail::new(12);
            if shell::watched(&mut pip, Watch::Stderr, |line| tail.push(line))? {
                return Ok(());
            }
            let output = tail.text();
            match pauses.next() {
                Some(&pause) if !unreachable(&output) => {
                    say!(
                        "pip failed at {what}; retrying in {}",
                        shell::seconds(pause)
                    );
                    thread::sleep(pause);
                }
                _ => bail!("{}", failure(what, &output, &self.wheels)),
            }
        }
    }
}

/// Removes a file, a link or a folder, if it exists.
pub fn remove(path: &Path) -> Result<()> {
    let removed = match path.symlink_metadata() {
        Err(_) => return Ok(()),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.with_context(|| format!("cannot remove {}", path.display()))
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Whether a file is a wheel of `name==version`. File names have `_` for `-` and may add a local
/// version.
fn is_wheel_of(file: &str, pin: &str) -> bool {
    let Some((name, version)) = pin.split_once("==") else {
        return false;
    };
    let mut parts = file.split('-');
    let same_name = parts
        .next()
        .is_some_and(|part| normalised(part) == normalised(name));
    let same_version = parts
        .next()
        .is_some_and(|part| part.split('+').next() == Some(version));
    same_name && same_version && file.ends_with(".whl")
}

/// Whether a folder is the metadata of the package `name`, in any version.
fn is_record_of(folder: &str, name: &str) -> bool {
    let stem = folder
        .strip_suffix(".dist-info")
        .and_then(|stem| stem.split('-').next());
    stem.is_some_and(|stem| normalised(stem) == normalised(name))
}

fn normalised(name: &str) -> String {
    name.to_lowercase().replace(['-', '.'], "_")
}

/// The pins in pip's installation report.
fn pins_of_report(text: &str) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Report {
        install: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        metadata: Named,
    }
    #[derive(Deserialize)]
    struct Named {
        name: String,
        version: String,
    }
    let report: Report = serde_json::from_str(text).context("cannot parse pip's report")?;
    let pin =
        |Item {
             metadata: Named { name, version },
         }| { format!("{name}=={}", version.split('+').next().unwrap_or(&version)) };
    Ok(report.install.into_iter().map(pin).collect())
}

/// Whether pip's output means that it had no connection.
fn unreachable(output: &str) -> bool {
    let signs = [
        "NewConnectionError",
        "Failed to establish",
        "name resolution",
        "ConnectTimeout",
        "Connection refused",
    ];
    signs.iter().any(|sign| output.contains(sign))
}

/// The message for a failure of pip that retries did not resolve.
fn failure(what: &str, output: &str, wheels: &Path) -> String {
    let full = ["No space left", "Disk quota"];
    let advice = if full.iter().any(|sign| output.contains(sign)) {
        "The disk is full: free some space and run the command again.".to_owned()
    } else if unreachable(output) {
        format!(
            "The package index cannot be reached. Check the network, or point pip to a mirror or proxy \
             (PIP_INDEX_URL, PIP_PROXY), and run the command again: the wheels already in {} are kept. Without any \
             network, copy the wheels there, from `pip download --no-deps PACKAGE==VERSION` on a similar machine.",
            wheels.display()
        )
    } else {
        format!(
            "Run the command again: the wheels already in {} are kept.",
            wheels.display()
        )
    };
    let lines: Vec<_> = output
        .lines()
        .filter(|line| !line.contains("Retrying ("))
        .collect();
    format!(
        "pip cannot download {what}:\n  {}\n{advice}",
        lines.join("\n  ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wheel_belongs_to_the_pin_of_its_name_and_version_only() {
        let cases = [
            (
                "torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl",
                "torch==2.11.0",
                true,
            ),
            (
                "torch-2.11.0+cpu-cp311-cp311-linux_x86_64.whl",
                "torch==2.11.0",
                true,
            ),
            (
                "torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl",
                "torch==2.11",
                false,
            ),
            (
                "torchvision-2.11.0-cp311-none-any.whl",
                "torch==2.11.0",
                false,
            ),
            (
                "nvidia_cuda_runtime-13.0.96-py3-none-any.whl",
                "nvidia-cuda-runtime==13.0.96",
                true,
            ),
            (
                "torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl.tmp",
                "torch==2.11.0",
                false,
            ),
        ];
        for (file, pin, expected) in cases {
            assert_eq!(is_wheel_of(file, pin), expected, "{file} for {pin}");
        }
    }

    #[test]
    fn the_metadata_of_a_package_is_found_in_any_version() {
        assert!(is_record_of("setuptools-65.5.0.dist-info", "setuptools"));
        assert!(is_record_of(
            "nvidia_cuda_runtime-13.0.96.dist-info",
            "nvidia-cuda-runtime"
        ));
        assert!(!is_record_of("torchvision-0.26.0.dist-info", "torch"));
        assert!(!is_record_of("torch", "torch"));
    }

    #[test]
    fn the_report_of_pip_gives_pins_without_local_versions() {
        let text = r#"{"version": "1", "install": [
            {"metadata": {"name": "torch", "version": "2.11.0+cu130"}, "requested": true},
            {"metadata": {"name": "filelock", "version": "3.20.0"}}]}"#;
        assert_eq!(
            pins_of_report(text).unwrap(),
            ["torch==2.11.0", "filelock==3.20.0"]
        );
        assert!(pins_of_report("{}").is_err());
    }

    #[test]
    fn a_failed_download_names_the_package_and_the_next_step() {
        let wheels = Path::new(".deps/wheels");
        let offline = failure("torch==2.11.0", "NewConnectionError: refused", wheels);
        assert!(
            offline.contains("torch==2.11.0") && offline.contains("PIP_INDEX_URL"),
            "{offline}"
        );
        let full = failure("torch==2.11.0", "OSError: No space left on device", wheels);
        assert!(full.contains("disk is full"), "{full}");
    }
}
