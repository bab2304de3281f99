//! The operating system of a device, and its serial number.

use std::path::Path;
use std::process::{Command, Stdio};

use agent_protocol::Sha256;

use super::read::{clean, text};

/// Returns the operating system. It is Android also for an agent that was built for Linux and
/// came with a C library of its own.
pub fn os(root: &Path) -> &'static str {
    if is_android(root) {
        "android"
    } else {
        std::env::consts::OS
    }
}

fn is_android(root: &Path) -> bool {
    cfg!(target_os = "android") || root.join("system/build.prop").exists()
}

/// Returns the board's serial number, otherwise Android's, otherwise a number derived from the
/// machine id of the installed system.
pub fn serial(root: &Path) -> Option<String> {
    let android = || is_android(root).then(property_serial).flatten();
    text(root.join("proc/device-tree/serial-number"))
        .filter(|number| number.chars().any(|c| c != '0'))
        .or_else(android)
        .or_else(|| {
            let id = text(root.join("etc/machine-id"))?;
            // machine-id(5) requires that the id itself is not published. The one in
            // /sys/class/dmi does not serve: only root can read it, and the identity of a device
            // must not depend on the agent's rights.
            let digest = Sha256::of(format!("graphprune device {id}").as_bytes()).to_string();
            Some(digest[..16].to_owned())
        })
}

fn property_serial() -> Option<String> {
    ["ro.serialno", "ro.boot.serialno"]
        .into_iter()
        .find_map(|name| {
            let output = Command::new("getprop")
                .arg(name)
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .output()
                .ok()?;
            clean(&String::from_utf8_lossy(&output.stdout))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_serial_is_the_boards_or_derived_from_the_systems() {
        let check = |files: &[(&str, &str)], want: Option<&str>| {
            let root = tempfile::tempdir().unwrap();
            for (path, content) in files {
                let path = root.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content).unwrap();
            }
            assert_eq!(serial(root.path()).as_deref(), want, "{files:?}");
        };
        let tree = "proc/device-tree/serial-number";
        let id = ("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        check(&[], None);
        check(
            &[(tree, "10000000abcdef01\0"), id],
            Some("10000000abcdef01"),
        );
        let digest = Sha256::of(b"graphprune device 0123456789abcdef0123456789abcdef").to_string();
        check(&[id], Some(&digest[..16]));
        check(&[(tree, "0000000000000000\0"), id], Some(&digest[..16]));
    }

    #[test]
    fn android_is_recognised_by_its_properties() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(os(root.path()), std::env::consts::OS);
        std::fs::create_dir(root.path().join("system")).unwrap();
        std::fs::write(root.path().join("system/build.prop"), "").unwrap();
        assert_eq!(os(root.path()), "android");
    }
}
