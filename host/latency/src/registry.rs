//! The devices that a user has named: `devices.toml`, one table a device.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Address, LatencyError, Profile, home};

/// A registered device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registered {
    /// The name of a profile that comes with graphprune, or the path of a profile's file.
    pub profile: String,
    /// Where the device is: `ssh:pi@board`.
    pub address: String,
    /// The agent's folder on the device; empty: the profile's, then the usual one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub folder: String,
    /// Further arguments for ssh, such as `-F FILE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_arguments: Vec<String>,
}

impl Registered {
    /// The device's profile.
    ///
    /// # Errors
    /// As [`Profile::find`].
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
    /// The user's own.
    ///
    /// # Errors
    /// When there is no place for it.
    pub fn of_user() -> Result<Self, LatencyError> {
        Ok(Self::at(home::folder()?.join("devices.toml")))
    }

    /// The registry in this file, which need not exist.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every device by its name.
    ///
    /// # Errors
    /// When the file cannot be read or is wrong.
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
            toml::from_str(&text).map_err(|error| self.wrong(error.to_string()))?;
        Ok(contents.devices)
    }

    /// Adds a device.
    ///
    /// # Errors
    /// When the name is taken (unless `replace`) or unfit, or the profile or the address is wrong.
    pub fn add(&self, name: &str, device: Registered, replace: bool) -> Result<(), LatencyError> {
        self.check(name, &device)?;
        self.change(|devices| {
            if !replace && devices.contains_key(name) {
                return Err(self.wrong(format!(
                    "`{name}` is there already; remove it first, or replace it"
                )));
            }
            devices.insert(name.to_owned(), device);
            Ok(())
        })
    }

    /// Removes a device, and returns what it was.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn remove(&self, name: &str) -> Result<Registered, LatencyError> {
        self.change(|devices| {
            devices.remove(name).ok_or_else(|| {
                let known: Vec<&str> = devices.keys().map(String::as_str).collect();
                self.wrong(format!("there is no `{name}`; {}", listed(&known)))
            })
        })
    }

    fn check(&self, name: &str, device: &Registered) -> Result<(), LatencyError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        if name.is_empty()
            || name.len() > 64
            || !name.chars().all(plain)
            || name.starts_with(['-', '.'])
        {
            return Err(self.wrong(format!(
                "`{name}` must be 1 to 64 lower-case letters, digits, hyphens, dots or underscores"
            )));
        }
        if Profile::built_in(name).is_some() {
            return Err(self.wrong(format!(
                "`{name}` is a profile's name; call the device otherwise"
            )));
        }
        let profile = device.profile()?;
        Address::parse(&device.address, Some(profile.transport))
            .map(drop)
            .map_err(|problem| self.wrong(format!("`{name}`: address: {problem}")))
    }

    /// Reads, changes and writes the file, alone.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, Registered>) -> Result<T, LatencyError>,
    ) -> Result<T, LatencyError> {
        let _lock = home::lock(&self.path)?;
        let mut devices = self.devices()?;
        let outcome = change(&mut devices)?;
        let text = toml::to_string_pretty(&Contents { devices })
            .map_err(|error| self.wrong(error.to_string()))?;
        home::write(&self.path, text.as_bytes(), false)?;
        Ok(outcome)
    }

    fn wrong(&self, problem: String) -> LatencyError {
        LatencyError::Registry {
            path: self.path.clone(),
            problem,
        }
    }
}

/// Names in a sentence.
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
    fn what_was_added_is_found_again_until_it_is_removed() {
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
    fn wrong_names_addresses_and_profiles_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::at(folder.path().join("devices.toml"));
        let check = |name: &str, device: Registered, needle: &str| {
            let error = registry.add(name, device, false).unwrap_err().to_string();
            assert!(error.contains(needle), "{error}");
        };
        check("A", device("x@y"), "`A` must be");
        check("a,b", device("x@y"), "must be");
        check("local", device("x@y"), "profile's name");
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
    fn devices_added_at_once_are_all_there() {
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
