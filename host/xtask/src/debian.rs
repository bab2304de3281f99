//! Packages of Debian, unpacked into `.deps` without touching the machine's own packages.
//!
//! apt is run with a state, a cache and sources of its own in `.deps/debian`. Which mirror serves them is what the
//! machine's own apt is set to, asked at run time; so are proxies.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::setup::remove;
use crate::shell::{self, Checkout};

/// The stable suite, for what shall stay as it is.
pub const STABLE: &str = "bookworm";
/// The suite that has what the stable one lacks: a Rust compiler with other targets, adbd, a new qemu.
pub const TESTING: &str = "forky";

/// Names the mirror on machines whose own apt has none of Debian.
const MIRROR_VARIABLE: &str = "GRAPHPRUNE_DEBIAN_MIRROR";
const SETTINGS: &str = "apt.conf";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Pauses before another try. A mirror that is being synchronised disagrees with its own index for some minutes.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_secs(60),
    Duration::from_secs(120),
];

/// Indices older than this name packages that the testing suite no longer has.
const INDEX_AGE: Duration = Duration::from_secs(24 * 3600);

/// A private apt.
pub struct Debian {
    folder: PathBuf,
    native: &'static str,
}

impl Debian {
    /// Sets up the private apt and its indices.
    pub fn open(checkout: &Checkout) -> Result<Self> {
        for tool in ["apt-get", "dpkg-deb"] {
            if Command::new(tool).arg("--version").output().is_err() {
                bail!(
                    "{tool} is missing: this fetches packages of Debian and needs a system with apt"
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
        let same = fs::read_to_string(&path).is_ok_and(|found| found == sources);
        write("sources.list", &sources)?;
        if !same || !this.index_is_fresh() {
            this.with_retries("the indices of Debian's packages", || this.update())?;
        }
        Ok(this)
    }

    /// All that `roots` need to run, themselves included, in the testing suite.
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

    /// Downloads packages, given as `name` or `name:architecture`, and unpacks them all into `folder`, which is made
    /// anew and is there only when it is whole. `keep` chooses paths within the packages; empty keeps all.
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
            // apt checks what it finds from an earlier try against the index, and gets only the rest.
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
            .and_then(|found| found.modified())
            .is_ok_and(|time| time.elapsed().is_ok_and(|age| age < INDEX_AGE))
    }

    fn with_retries(&self, what: &str, mut work: impl FnMut() -> Result<()>) -> Result<()> {
        let mut pauses = PAUSES.iter();
        loop {
            match (work(), pauses.next()) {
                (Ok(()), _) => return Ok(()),
                (Err(error), Some(&pause)) => {
                    println!(
                        "{what}: {error:#}; trying again in {}",
                        shell::seconds(pause)
                    );
                    thread::sleep(pause);
                }
                (Err(error), None) => {
                    return Err(error.context(format!(
                        "cannot get {what}; run the command again later, what is there is kept"
                    )));
                }
            }
        }
    }

    /// An apt program on the private state.
    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.folder.join(SETTINGS));
        // What is parsed must not depend on the language.
        command.env("LC_ALL", "C.UTF-8");
        command
    }
}

/// apt reads this after the machine's own settings, of which proxies and the like stay in force.
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

/// Debian's name of this machine's architecture.
pub fn architecture() -> Result<&'static str> {
    match env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("packages are fetched for x86_64 and aarch64; this is {other}"),
    }
}

/// Where the machine's own apt gets Debian from.
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
        format!("the sources of apt name no mirror of Debian: set {MIRROR_VARIABLE} to the address of one")
    })
}

/// The first address that ends in the folder where mirrors keep Debian.
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

/// The names in apt's account of what it would install.
fn installed(account: &str) -> Vec<String> {
    let name = |line: &str| Some(line.strip_prefix("Inst ")?.split(' ').next()?.to_owned());
    account.lines().filter_map(name).collect()
}

/// Unpacks one package, or those paths within it that begin with one of `keep`.
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
        let account = "NOTE: only a simulation\nInst libc6 (2.43-7 Debian:testing [amd64])\n\
                       Inst adbd (34 Debian:testing [amd64])\nConf libc6 (2.43-7)\n";
        assert_eq!(installed(account), ["libc6", "adbd"]);
    }

    #[test]
    fn sources_are_signed_by_debians_own_keyring_where_there_is_one() {
        let text = sources("http://m/debian/", Some("/k.gpg"));
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("signed-by=/k.gpg] http://m/debian/ forky main"));
        assert!(!sources("http://m/debian/", None).contains("signed"));
    }
}
