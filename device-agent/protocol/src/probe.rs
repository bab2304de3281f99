//! Debug probes as an agent lists them, and the folder of the boards' firmware.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A debug probe that is plugged in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluggedProbe {
    /// The probe for a device's address: `VID:PID` or `VID:PID:SERIAL`.
    pub selector: String,
    /// What it calls itself.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// Whether the user of the agent may open it.
    pub accessible: bool,
}

impl PluggedProbe {
    /// Says how a user gets the permission to open a probe of this vendor, `0483`. Its driver opens
    /// the device on USB, or that of its HID interface.
    pub fn permission(vendor: &str) -> String {
        format!(
            "write the line SUBSYSTEM==\"usb|hidraw\", ATTRS{{idVendor}}==\"{}\", MODE=\"0660\", TAG+=\"uaccess\" to \
             /etc/udev/rules.d/69-graphprune.rules, run `sudo udevadm control --reload`, and plug the probe in again",
            vendor.to_ascii_lowercase()
        )
    }

    /// Says what to do about this probe if it cannot be opened.
    pub fn advice(&self) -> Option<String> {
        let vendor = self.selector.split(':').next().unwrap_or_default();
        (!self.accessible).then(|| Self::permission(vendor))
    }
}

/// The folder's name next to the agent and in `.deps` of a checkout.
const FIRMWARE: &str = "firmware";

/// Finds the folder of the boards' firmware: the one named, otherwise the one in
/// GRAPHPRUNE_FIRMWARE, otherwise the one next to this program, otherwise that of the checkout
/// this program was built in. A folder that is missing is reported with the file that is read
/// from it.
pub fn firmware_folder(named: Option<&Path>, program: &Path) -> PathBuf {
    let variable = std::env::var_os("GRAPHPRUNE_FIRMWARE").filter(|path| !path.is_empty());
    if let Some(named) = named.map(Path::to_owned).or(variable.map(PathBuf::from)) {
        return named;
    }
    let beside = program.with_file_name(FIRMWARE);
    let in_checkout = program
        .ancestors()
        .map(|folder| folder.join(".deps").join(FIRMWARE));
    std::iter::once(beside.clone())
        .chain(in_checkout)
        .find(|folder| folder.is_dir())
        .unwrap_or(beside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_that_may_not_be_opened_is_listed_with_the_rule_that_allows_it() {
        let probe = |accessible| PluggedProbe {
            selector: "0483:374B:066A".into(),
            name: "ST-Link V2-1".into(),
            driver: "ST-LINK".into(),
            accessible,
        };
        assert_eq!(probe(true).advice(), None);
        let advice = probe(false).advice().unwrap();
        for needle in ["ATTRS{idVendor}==\"0483\"", "uaccess", "udevadm"] {
            assert!(advice.contains(needle), "{advice}");
        }
    }

    #[test]
    fn firmware_lies_beside_the_program_or_in_its_checkout() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("target/debug/agent");
        let named = Path::new("elsewhere");
        assert_eq!(firmware_folder(Some(named), &program), named);
        // The variable is that of the test's own environment.
        if std::env::var_os("GRAPHPRUNE_FIRMWARE").is_none() {
            let in_checkout = folder.path().join(".deps/firmware");
            std::fs::create_dir_all(&in_checkout).unwrap();
            assert_eq!(firmware_folder(None, &program), in_checkout);
        }
    }
}
