//! Debian packages, unpacked into `.deps` without changing the system's packages.
//!
//! apt runs with its own state, cache and sources in `.deps/debian`. The mirror and the proxies
//! are those of the system's apt, read at run time.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::output::say;
use crate::setup::remove;
use crate::shell::{self, Checkout};

/// The stable suite, for packages that should not change.
pub const STABLE: &str = "bookworm";
/// The suite with packages that the stable one lacks: a Rust compiler with other targets, adbd,
/// and a recent QEMU.
pub const TESTING: &str = "forky";

/// Sets the mirror on systems whose apt has none for Debian.
const MIRROR_VARIABLE: &str = "GRAPHPRUNE_DEBIAN_MIRROR";
const SETTINGS: &str = "apt.conf";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Delays before retries. While a mirror synchronises, it contradicts its own index for minutes.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_secs(60),
    Duration::from_secs(120),
];

/// Maximal age of an index; older ones list packages that left the testing suite.
const INDEX_AGE: Duration = Duration::from_secs(24 * 3600);

/// A private apt.
pub struct Debian {
    folder: PathBuf,
    native: &'static str,
}

impl Debian {
    /// Creates the private apt and updates its indices.
    pub fn open(checkout: &Checkout) -> Result<Self> {
        for tool in ["apt-get", "dpkg-deb"] {
            if Command::new(tool).arg("--version").output().is_err() {
                bail!(
                    "{tool} is missing: this command installs Debian packages and needs a system with apt"
                );
            }
        }
        let this = Self {
            folder: checkout.deps().join("debian"),
            native: architecture()?,
        };
        for folder in ["state/lists/partial", "cache/archives/partial", "empty"] {
            fs::create_dir_all(this.folder.join(folder))
                .with_context(|| format!("cannot create {}", this.folder.display()))?;
        }
        let write = |name: &str, text: &str| {
            let path = this.folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write("state/status", "")?;
        write(SETTINGS, &settings(&this.folder, this.native))?;
        let sources = sources(&mirror()?, Path::new(KEYRING).is_file().then_some(KEYRING));
        let path = this.folder.join("sources.list");
        let same = fs::read_to_string(&path).is_ok_and(|text| text == sources);
        write("sources.list", &sources)?;
        if !same || !this.index_is_fresh() {
            this.with_retries("the package indices", || this.update())?;
        }
        Ok(this)
    }

    /// The packages in the testing suite that `roots` depend on, including `roots`.
    pub fn closure(&self, roots: &[&str]) -> Result<Vec<String>> {
        let mut apt = self.apt("apt-get");
        apt.args(["install", "--simulate", "--no-install-recommends", "-t"])
            .arg(TESTING)
            .args(roots);
        let names = installed(&shell::output(&mut apt)?);
        if names.is_empty() {
            bail!("apt would install nothing for {}", roots.join(" "));
        }
        Ok(names)
    }

    /// Downloads packages, given as `name` or `name:architecture`, and unpacks them into
    /// `folder`. The folder is replaced once all packages are unpacked. `keep` selects paths
    /// within the packages; if it is empty, all are kept.
    pub fn unpack(
        &self,
        packages: &[String],
        suite: &str,
        folder: &Path,
        keep: &[&str],
    ) -> Result<()> {
        let name = folder.file_name().context("a folder without a name")?;
        let archives = self.folder.join("downloads").join(name);
        fs::create_dir_all(&archives)
            .with_context(|| format!("cannot create {}", archives.display()))?;
        let what = format!("{} packages for {}", packages.len(), folder.display());
        self.with_retries(&what, || {
            // apt verifies existing files against the index and downloads only the others.
            let mut apt = self.apt("apt-get");
            apt.current_dir(&archives).args(["download", "--quiet=2"]);
            apt.args(packages.iter().map(|package| format!("{package}/{suite}")));
            shell::run(&mut apt).or_else(|error| {
                self.update()?;
                Err(error)
            })
        })?;
        let aside = folder.with_extension("tmp");
        remove(&aside)?;
        fs::create_dir_all(&aside).with_context(|| format!("cannot create {}", aside.display()))?;
        for entry in fs::read_dir(&archives)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                extract(&path, &aside, keep)?;
            }
        }
        remove(folder)?;
        fs::rename(&aside, folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        remove(&archives)
    }

    fn update(&self) -> Result<()> {
        let mut apt = self.apt("apt-get");
        apt.args(["update", "--quiet=2", "--error-on=any"]);
        shell::run(&mut apt)?;
        let stamp = self.folder.join("state/updated");
        File::create(&stamp)
            .map(drop)
            .with_context(|| format!("cannot write {}", stamp.display()))
    }

    fn index_is_fresh(&self) -> bool {
        fs::metadata(self.folder.join("state/updated"))
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|time| time.elapsed().is_ok_and(|age| age < INDEX_AGE))
    }

    fn with_retries(&self, what: &str, mut work: impl FnMut() -> Result<()>) -> Result<()> {
        let mut pauses = PAUSES.iter();
        loop {
            match (work(), pauses.next()) {
                (Ok(()), _) => return Ok(()),
                (Err(error), Some(&pause)) => {
                    say!("{what}: {error:#}; retrying in {}", shell::seconds(pause));
                    thread::sleep(pause);
                }
                (Err(error), None) => {
                    return Err(error.context(format!(
                        "cannot download {what}; run the command again later to continue"
                    )));
                }
            }
        }
    }

    /// A command that runs an apt program with the private state.
    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.folder.join(SETTINGS));
        // The output is parsed, so it must not be translated.
        command.env("LC_ALL", "C.UTF-8");
        command
    }
}

/// The settings that apt reads after those of the system, whose proxies stay in force.
fn settings(folder: &Path, native: &str) -> String {
    let folder = folder.display();
    format!(
        r#"Dir::State "{folder}/state";
Dir::State::status "{folder}/state/status";
Dir::Cache "{folder}/cache";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "{folder}/empty";
Dir::Etc::preferences "{folder}/empty/none";
Dir::Etc::preferencesparts "{folder}/empty";
#clear APT::Architectures;
APT::Architecture "{native}";
APT::Architectures {{ "amd64"; "arm64"; "armhf"; }};
APT::Default-Release "";
APT::Sandbox::User "";
Acquire::Retries "3";
Acquire::Languages "none";
Acquire::GzipIndexes "true";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
"#
    )
}

/// Debian's name for this machine's architecture.
pub fn architecture() -> Result<&'static str> {
    match env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => {
            bail!("Debian packages are available for x86_64 and aarch64 only, not for {other}")
        }
    }
}

/// The Debian mirror of the system's apt.
fn mirror() -> Result<String> {
    if let Ok(mirror) = env::var(MIRROR_VARIABLE) {
        return Ok(mirror);
    }
    let mut apt = Command::new("apt-get");
    apt.args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
    ]);
    let listed = shell::output(&mut apt)?;
    debian_of(&listed).map(str::to_owned).with_context(|| {
        format!("apt has no source for Debian: set {MIRROR_VARIABLE} to the address of a mirror")
    })
}

/// The first address whose path ends in Debian's folder.
fn debian_of(addresses: &str) -> Option<&str> {
    addresses
        .lines()
        .find(|line| line.trim_end_matches('/').ends_with("/debian"))
}

fn sources(mirror: &str, keyring: Option<&str>) -> String {
    let signed = keyring.map_or_else(String::new, |path| format!(" signed-by={path}"));
    [(TESTING, "amd64,arm64,armhf"), (STABLE, "amd64,arm64")]
        .map(|(suite, architectures)| {
            format!("deb [arch={architectures}{signed}] {mirror} {suite} main\n")
        })
        .concat()
}

/// The package names in the output of a simulated installation.
fn installed(simulation: &str) -> Vec<String> {
    let name = |line: &str| Some(line.strip_prefix("Inst ")?.split(' ').next()?.to_owned());
    simulation.lines().filter_map(name).collect()
}

/// Unpacks one package, or the paths in it that match `keep`.
fn extract(package: &Path, into: &Path, keep: &[&str]) -> Result<()> {
    if keep.is_empty() {
        let mut dpkg = Command::new("dpkg-deb");
        dpkg.arg("-x").arg(package).arg(into);
        return shell::output(&mut dpkg).map(drop);
    }
    let mut dpkg = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let pipe = dpkg.stdout.take().context("dpkg-deb has no output")?;
    let status = Command::new("tar")
        .arg("-x")
        .arg("-C")
        .arg(into)
        .args(["--wildcards", "--wildcards-match-slash"])
        .args(keep.iter().map(|path| format!("./{path}")))
        .stdin(pipe)
        .status()
        .context("cannot start tar")?;
    let whole = dpkg.wait()?.success();
    if !status.success() || !whole {
        bail!("cannot unpack {}", package.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_first_address_that_ends_in_debian() {
        let listed = "http://m/debian-security/\nhttp://m/x/debian/\nhttp://n/debian/\n";
        assert_eq!(debian_of(listed), Some("http://m/x/debian/"));
        assert_eq!(debian_of("http://m/ubuntu/\n"), None);
    }

    #[test]
    fn the_names_of_packages_are_read_from_a_simulation() {
        let simulation = "NOTE: only a simulation\nInst libc6 (2.43-7 Debian:testing [amd64])\n\
                       Inst adbd (34 Debian:testing [amd64])\nConf libc6 (2.43-7)\n";
        assert_eq!(installed(simulation), ["libc6", "adbd"]);
    }

    #[test]
    fn sources_are_signed_by_debians_own_keyring_where_there_is_one() {
        let text = sources("http://m/debian/", Some("/k.gpg"));
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("signed-by=/k.gpg] http://m/debian/ forky main"));
        assert!(!sources("http://m/debian/", None).contains("signed"));
    }
}
