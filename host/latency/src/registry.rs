//! The registered devices of a user: `devices.toml`, one table per device.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Address, LatencyError, Profile, TransportKind, home};

/// A registered device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registered {
    /// The name of a built-in profile, or the path of a profile's file.
    pub profile: String,
    /// The address: `ssh:pi@board`.
    pub address: String,
    /// The agent's folder on the device; empty for the profile's, then the default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub folder: String,
    /// Further arguments for ssh, such as `-F FILE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_arguments: Vec<String>,
}

impl Registered {
    /// This machine with its built-in profile.
    pub fn local() -> Self {
        Self {
            profile: Registry::LOCAL.to_owned(),
            address: Address::local().to_string(),
            folder: String::new(),
            ssh_arguments: Vec::new(),
        }
    }

    /// Returns the device's profile.
    ///
    /// # Errors
    /// Fails as [`Profile::find`] does.
    pub fn profile(&self) -> Result<Profile, LatencyError> {
        Profile::find(&self.profile)
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    #[serde(default)]
    devices: BTreeMap<String, Registered>,
}

/// The file of registered devices.
#[derive(Clone, Debug)]
pub struct Registry {
    path: PathBuf,
}

impl Registry {
    /// The name of this machine. It needs no entry; an entry gives it another profile.
    pub const LOCAL: &str = "local";

    /// Returns the user's registry.
    ///
    /// # Errors
    /// Fails if the system names no folder for it.
    pub fn of_user() -> Result<Self, LatencyError> {
        Ok(Self::at(home::folder()?.join("devices.toml")))
    }

    /// Returns the registry in this file, which does not have to exist.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the registered devices by name. This machine is among them only if its profile was
    /// changed.
    ///
    /// # Errors
    /// Fails if the file is unreadable or malformed.
    pub fn devices(&self) -> Result<BTreeMap<String, Registered>, LatencyError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(BTreeMap::new());
            }
            Err(source) => {
                return Err(LatencyError::Io {
                    doing: format!("reading the devices in {}", self.path.display()),
                    source,
                });
            }
        };
        let contents: Contents =
            toml::from_str(&text).map_err(|error| self.error(error.to_string()))?;
        Ok(contents.devices)
    }

    /// Returns all devices by name, this machine first.
    ///
    /// # Errors
    /// Fails as [`Self::devices`] does.
    pub fn with_local(&self) -> Result<Vec<(String, Registered)>, LatencyError> {
        let mut devices = self.devices()?;
        let local = devices
            .remove_entry(Self::LOCAL)
            .unwrap_or_else(|| (Self::LOCAL.to_owned(), Registered::local()));
        Ok(std::iter::once(local).chain(devices).collect())
    }

    /// Adds a device.
    ///
    /// # Errors
    /// Fails if the name is invalid or (unless `replace`) taken, or the profile or the address is
    /// invalid.
    pub fn add(&self, name: &str, device: Registered, replace: bool) -> Result<(), LatencyError> {
        self.check(name, &device)?;
        self.change(|devices| {
            if !replace && devices.contains_key(name) {
                return Err(self.error(format!(
                    "`{name}` is there already; remove it first, or replace it"
                )));
            }
            devices.insert(name.to_owned(), device);
            Ok(())
        })
    }

    /// Removes a device and returns it. This machine gets its built-in profile back.
    ///
    /// # Errors
    /// Fails if no device has that name, or this machine has its built-in profile already.
    pub fn remove(&self, name: &str) -> Result<Registered, LatencyError> {
        self.change(|devices| {
            devices.remove(name).ok_or_else(|| {
                if name == Self::LOCAL {
                    return self.error("`local` has its built-in profile already".into());
                }
                let known: Vec<&str> = devices.keys().map(String::as_str).collect();
                self.error(format!("there is no `{name}`; {}", listed(&known)))
            })
        })
    }

    fn check(&self, name: &str, device: &Registered) -> Result<(), LatencyError> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        if name.is_empty()
            || name.len() > 64
            || !name.chars().all(is_plain)
            || name.starts_with(['-', '.'])
        {
            return Err(self.error(format!(
                "`{name}` must be 1 to 64 lower-case letters, digits, hyphens, dots or underscores"
            )));
        }
        if name != Self::LOCAL && Profile::built_in(name).is_some() {
            return Err(self.error(format!(
                "`{name}` is a profile's name; choose another name for the device"
            )));
        }
        let profile = device.profile()?;
        let address = Address::parse(&device.address, Some(profile.transport))
            .map_err(|problem| self.error(format!("`{name}`: address: {problem}")))?;
        if name == Self::LOCAL && address.kind != TransportKind::Local {
            return Err(self.error(format!(
                "`local` is this machine, and {address} is not: choose another name for the device, or a profile with `transport = \"local\"`"
            )));
        }
        Ok(())
    }

    /// Reads, changes and writes the file under a lock.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, Registered>) -> Result<T, LatencyError>,
    ) -> Result<T, LatencyError> {
        let _lock = home::lock(&self.path)?;
        let mut devices = self.devices()?;
        let outcome = change(&mut devices)?;
        let text = toml::to_string_pretty(&Contents { devices })
            .map_err(|error| self.error(error.to_string()))?;
        home::write(&self.path, text.as_bytes(), false)?;
        Ok(outcome)
    }

    fn error(&self, problem: String) -> LatencyError {
        LatencyError::Registry {
            path: self.path.clone(),
            problem,
        }
    }
}

/// Lists names in a sentence.
pub(crate) fn listed(names: &[&str]) -> String {
    if names.is_empty() {
        "there is none yet".to_owned()
    } else {
        format!("there are {}", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(address: &str) -> Registered {
        Registered {
            profile: "raspberry-pi-4".into(),
            address: address.into(),
            folder: String::new(),
            ssh_arguments: Vec::new(),
        }
    }

    #[test]
    fn an_added_device_is_listed_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::at(folder.path().join("new/devices.toml"));
        assert!(registry.devices().unwrap().is_empty());
        registry.add("attic", device("pi@attic"), false).unwrap();
        registry
            .add("cellar", device("tcp:10.0.0.2"), false)
            .unwrap();
        assert_eq!(registry.devices().unwrap()["attic"], device("pi@attic"));
        let error = registry.add("attic", device("x@y"), false).unwrap_err();
        assert!(error.to_string().contains("already"), "{error}");
        registry.add("attic", device("x@y"), true).unwrap();
        assert_eq!(registry.remove("attic").unwrap(), device("x@y"));
        let error = registry.remove("attic").unwrap_err().to_string();
        assert!(error.contains("cellar"), "{error}");
    }

    #[test]
    fn invalid_names_addresses_and_profiles_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::at(folder.path().join("devices.toml"));
        let check = |name: &str, device: Registered, needle: &str| {
            let error = registry.add(name, device, false).unwrap_err().to_string();
            assert!(error.contains(needle), "{error}");
        };
        check("A", device("x@y"), "`A` must be");
        check("a,b", device("x@y"), "must be");
        check("pixel", device("x@y"), "profile's name");
        check("local", device("x@y"), "`local` is this machine");
        check("a", device("ssh:"), "address is empty");
        let profile = "no-such".into();
        check(
            "a",
            Registered {
                profile,
                ..device("x@y")
            },
            "raspberry-pi-4",
        );
    }

    #[test]
    fn this_machine_is_listed_first_with_its_own_profile_or_the_given_one() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::at(folder.path().join("devices.toml"));
        registry.add("attic", device("pi@attic"), false).unwrap();
        let check = |expected: &Registered| {
            let all = registry.with_local().unwrap();
            let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["local", "attic"]);
            assert_eq!(all[0].1, *expected);
        };
        check(&Registered::local());
        let changed = Registered {
            profile: "openvino-local".into(),
            ..Registered::local()
        };
        registry.add("local", changed.clone(), false).unwrap();
        check(&changed);
        registry.remove("local").unwrap();
        check(&Registered::local());
        let error = registry.remove("local").unwrap_err().to_string();
        assert!(error.contains("built-in profile already"), "{error}");
    }

    #[test]
    fn concurrent_additions_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::at(folder.path().join("devices.toml"));
        std::thread::scope(|scope| {
            for n in 0..8 {
                let registry = &registry;
                scope.spawn(move || {
                    registry
                        .add(&format!("d{n}"), device("x@y"), false)
                        .unwrap()
                });
            }
        });
        assert_eq!(registry.devices().unwrap().len(), 8);
    }
}
