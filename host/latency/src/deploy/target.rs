//! The properties of a device that determine which agent runs there.

use std::time::Duration;

use crate::LatencyError;
use crate::shell::Shell;
use crate::transport::remote::quote_path;

/// Time limit of probing a device.
const LIMIT: Duration = Duration::from_secs(60);
/// The target triples for 64-bit and 32-bit Arm processors.
pub(super) const AARCH64: &str = "aarch64-unknown-linux-gnu";
pub(super) const ARMV7: &str = "armv7-unknown-linux-gnueabihf";
/// The prefix of the line before each answer.
const MARK: &str = "@graphprune ";

/// The properties of a device as seen by its shell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// `uname -m`.
    pub machine: String,
    /// Android's ABI name; empty elsewhere.
    pub abi: String,
    /// The version of the GNU C library.
    pub glibc: Option<(u32, u32)>,
    /// The paths of the dynamic loaders.
    pub loaders: Vec<String>,
    /// The POSIX shell's path.
    pub sh: String,
    /// The absolute path of the agent's folder.
    pub folder: String,
    /// Free space there, bytes.
    pub free_bytes: Option<u64>,
    /// The active version: `agents/HASH`.
    pub current: Option<String>,
}

impl Target {
    /// Probes a device, and creates the agent's folder there.
    pub fn probe(shell: &dyn Shell, folder: &str) -> Result<Self, LatencyError> {
        let folder = quote_path(folder);
        let query = |name: &str, command: &str| format!("echo '{MARK}{name}'\n{command}\n");
        let script = [
            query(
                "folder",
                &format!("umask 077; mkdir -p {folder}/agents {folder}/work && cd {folder} && pwd -P || exit"),
            ),
            query("machine", "uname -m"),
            query("abi", "getprop ro.product.cpu.abi 2>/dev/null"),
            query(
                "glibc",
                "getconf GNU_LIBC_VERSION 2>/dev/null || ldd --version 2>/dev/null",
            ),
            query(
                "loaders",
                "ls -d /lib/ld-*.so.* /lib64/ld-*.so.* /lib/*/ld-*.so.* 2>/dev/null",
            ),
            query("sh", "command -v sh"),
            query("free", "df -Pk . 2>/dev/null || df -k . 2>/dev/null"),
            query("current", "readlink current 2>/dev/null"),
            "exit 0".to_owned(),
        ]
        .concat();
        Ok(Self::read(&shell.output(&script, LIMIT)?))
    }

    fn read(text: &str) -> Self {
        let answer = |name: &str| {
            let begin = format!("{MARK}{name}");
            let lines = text.lines().skip_while(|line| *line != begin).skip(1);
            lines
                .take_while(|line| !line.starts_with(MARK))
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .collect::<Vec<_>>()
        };
        let first = |name: &str| answer(name).first().copied().unwrap_or_default().to_owned();
        Self {
            machine: first("machine"),
            abi: first("abi"),
            glibc: version(&first("glibc")),
            loaders: answer("loaders").into_iter().map(str::to_owned).collect(),
            sh: first("sh"),
            folder: first("folder"),
            free_bytes: free_bytes(&answer("free")),
            current: Some(first("current")).filter(|link| !link.is_empty()),
        }
    }

    /// Returns the target triple of the agent for this device.
    ///
    /// # Errors
    /// A description of an unsupported device.
    pub fn triple(&self) -> Result<&'static str, String> {
        let is_32_bit = |machine: &str| {
            let has = |name: &str| self.loaders.iter().any(|path| path.ends_with(name));
            // A 64-bit kernel may carry a 32-bit system.
            self.abi.starts_with("armeabi")
                || (machine != "aarch64" && machine != "arm64")
                || (has("ld-linux-armhf.so.3") && !has("ld-linux-aarch64.so.1"))
        };
        match self.machine.as_str() {
            "x86_64" | "amd64" => Ok("x86_64-unknown-linux-gnu"),
            machine @ ("aarch64" | "arm64" | "armv8l" | "armv7l") => {
                Ok(if is_32_bit(machine) { ARMV7 } else { AARCH64 })
            }
            "" => Err("it does not report its processor".to_owned()),
            other => Err(format!(
                "its processor is `{other}`; there are agents for x86_64, aarch64 and armv7"
            )),
        }
    }

    /// Returns the reason for bundling a C library, if there is one. `oldest` is the agent's
    /// minimum version.
    pub fn needs_libc(&self, triple: &str, oldest: Option<(u32, u32)>) -> Option<String> {
        let loader = match triple.split('-').next() {
            Some("x86_64") => "ld-linux-x86-64.so.2",
            Some("aarch64") => "ld-linux-aarch64.so.1",
            _ => "ld-linux-armhf.so.3",
        };
        if !self.loaders.iter().any(|path| path.ends_with(loader)) {
            return Some(format!("there is no {loader} on it"));
        }
        match (self.glibc, oldest) {
            (Some(own), Some(oldest)) if own < oldest => Some(format!(
                "its GNU C library is {}.{}, the agent needs {}.{}",
                own.0, own.1, oldest.0, oldest.1
            )),
            _ => None,
        }
    }
}

/// Returns the first `N.M` in a text.
pub fn version(text: &str) -> Option<(u32, u32)> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.')
        .find_map(|word| {
            let mut parts = word.split('.').map(|part| part.parse().ok());
            Some((parts.next()??, parts.next()??))
        })
}

/// Parses the available space from `df`: the word before the one that ends in `%`. Device names
/// can contain spaces, and long ones take a separate line.
fn free_bytes(lines: &[&str]) -> Option<u64> {
    let words: Vec<&str> = lines
        .get(1..)?
        .iter()
        .flat_map(|line| line.split(' '))
        .collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let percent = words.iter().rposition(|word| {
        word.strip_suffix('%')
            .is_some_and(|number| number.parse::<u32>().is_ok())
    })?;
    let blocks: u64 = words.get(percent.checked_sub(1)?)?.parse().ok()?;
    blocks.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_parsed_from_the_output_of_its_shell() {
        let text = "@graphprune folder\n/data/pi/.graphprune\n@graphprune machine\naarch64\n@graphprune abi\n\
                    @graphprune glibc\nglibc 2.36\n@graphprune loaders\n/lib/ld-linux-aarch64.so.1\n@graphprune sh\n/bin/sh\n\
                    @graphprune free\nFilesystem 1024-blocks Used Available Capacity Mounted on\n/dev/root 100 60 40 60% /\n\
                    @graphprune current\nagents/0011";
        let target = Target::read(text);
        assert_eq!(target.folder, "/data/pi/.graphprune");
        assert_eq!(target.glibc, Some((2, 36)));
        assert_eq!(target.free_bytes, Some(40 * 1024));
        assert_eq!(target.current.as_deref(), Some("agents/0011"));
        assert_eq!(target.triple(), Ok("aarch64-unknown-linux-gnu"));
        assert_eq!(
            target.needs_libc("aarch64-unknown-linux-gnu", Some((2, 28))),
            None
        );
        assert!(
            target
                .needs_libc("aarch64-unknown-linux-gnu", Some((2, 37)))
                .is_some()
        );
        assert_eq!(Target::read("nonsense").free_bytes, None);
    }

    #[test]
    fn the_triple_depends_on_the_system_and_not_the_kernel_alone() {
        let check = |machine: &str, loaders: &[&str], abi: &str, expected: Option<&str>| {
            let target = Target {
                machine: machine.into(),
                abi: abi.into(),
                loaders: loaders.iter().map(|&path| path.into()).collect(),
                ..Target::default()
            };
            assert_eq!(target.triple().ok(), expected, "{machine} {loaders:?}");
        };
        let (armv7, aarch64) = (ARMV7, AARCH64);
        check("aarch64", &["/lib/ld-linux-armhf.so.3"], "", Some(armv7));
        check("aarch64", &[], "arm64-v8a", Some(aarch64));
        check("aarch64", &[], "armeabi-v7a", Some(armv7));
        check("armv7l", &["/lib/ld-linux-armhf.so.3"], "", Some(armv7));
        check("x86_64", &[], "", Some("x86_64-unknown-linux-gnu"));
        check("armv6l", &[], "", None);
        check("riscv64", &[], "", None);
    }

    #[test]
    fn free_space_is_parsed_from_any_df() {
        let check = |text: &str, expected| {
            assert_eq!(
                free_bytes(&text.lines().collect::<Vec<_>>()),
                expected,
                "{text}"
            );
        };
        check(
            "Filesystem 1K-blocks Used Available Use% Mounted on\n/dev/a 9 5 4 56% /",
            Some(4096),
        );
        check(
            "Filesystem 1K-blocks Used Available Use% Mounted on\n/dev/long\n 9 5 4 56% /srv/a b",
            Some(4096),
        );
        check("", None);
        check("df: nonsense", None);
    }
}
