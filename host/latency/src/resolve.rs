//! Resolution of device names to profiles and transports.

use std::collections::BTreeSet;
use std::path::Path;

use crate::registry::listed;
use crate::{
    Address, AgentDevice, LatencyError, Launcher, Patience, Profile, Registered, Registry,
    Transport, TransportKind,
};

/// A device to measure on.
pub struct Resolved {
    /// The user's name for it.
    pub name: String,
    /// Its settings.
    pub profile: Profile,
    /// Its transport.
    pub transport: Transport,
    /// The launcher of its agent.
    pub launcher: Box<dyn Launcher>,
}

impl Resolved {
    fn new(
        name: &str,
        profile: Profile,
        address: &Address,
        folder: &str,
        ssh_arguments: &[String],
    ) -> Result<Self, LatencyError> {
        let folder = if folder.is_empty() {
            &profile.agent.folder
        } else {
            folder
        };
        let mut transport = Transport::new(name, address, folder, ssh_arguments)?;
        if profile.agent.allow_unconfined {
            transport.allow_unconfined();
        }
        if !transport.set_board(profile.board.as_ref()) {
            return Err(LatencyError::UnknownDevice {
                name: name.to_owned(),
                advice: match &profile.board {
                    Some(_) => format!(
                        "its profile {} is of a bare-metal board, and {address} leads to none: write probe:VID:PID:SERIAL",
                        profile.name
                    ),
                    None => format!(
                        "{address} is a debug probe, and its profile {} is of no bare-metal board",
                        profile.name
                    ),
                },
            });
        }
        Ok(Self {
            name: name.to_owned(),
            launcher: transport.launcher(),
            transport,
            profile,
        })
    }

    /// Returns the user's name for it; for the path of a profile, the file name without folder
    /// and extension.
    pub fn short_name(&self) -> String {
        let file = self.name.strip_suffix(".toml").unwrap_or_default();
        match Path::new(file).file_name() {
            Some(stem) => stem.to_string_lossy().into_owned(),
            None => self.name.clone(),
        }
    }

    /// Starts its agent. Returns the device and its profile.
    ///
    /// # Errors
    /// Fails as [`AgentDevice::start`] does.
    pub fn start(self, patience: Patience) -> Result<(AgentDevice, Profile), LatencyError> {
        let name = self.short_name();
        let device = AgentDevice::start(self.launcher, &self.profile.name, patience)?;
        Ok((device.named(&name), self.profile))
    }
}

/// Resolves a device: `local`, a registered name, or the path of a profile of a single device.
///
/// # Errors
/// [`LatencyError::UnknownDevice`] if no device has that name; [`LatencyError::Profile`] if its
/// profile is invalid or has no address.
pub fn resolve(name: &str) -> Result<Resolved, LatencyError> {
    Devices::of_user()?.resolve(name)
}

/// Resolves a list of devices, separated by commas. A profile's name selects all registered
/// devices with that profile. Each device is returned once.
///
/// # Errors
/// Fails as [`resolve`] does.
pub fn resolve_all(names: &str) -> Result<Vec<Resolved>, LatencyError> {
    Devices::of_user()?.resolve_all(names)
}

/// Resolves an address (`ssh:pi@board`) that does not have to be registered, with a profile by
/// name or path.
///
/// # Errors
/// Fails as [`resolve`] does.
pub fn resolve_address(address: &str, profile: &str) -> Result<Resolved, LatencyError> {
    let profile = Profile::find(profile)?;
    let parsed = Address::parse(address, Some(profile.transport)).map_err(|problem| {
        LatencyError::UnknownDevice {
            name: address.to_owned(),
            advice: problem,
        }
    })?;
    Resolved::new(address, profile, &parsed, "", &[])
}

/// The devices that names are resolved to.
struct Devices {
    registry: Registry,
}

impl Devices {
    fn of_user() -> Result<Self, LatencyError> {
        Ok(Self {
            registry: Registry::of_user()?,
        })
    }

    fn resolve(&self, name: &str) -> Result<Resolved, LatencyError> {
        let devices = self.registry.with_local()?;
        if let Some((_, device)) = devices.iter().find(|(known, _)| known == name) {
            return registered(name, device);
        }
        let unknown = |advice: String| LatencyError::UnknownDevice {
            name: name.to_owned(),
            advice,
        };
        if name.contains('/') || name.ends_with(".toml") {
            return of_file(name);
        }
        if Profile::built_in(name).is_some() {
            return Err(unknown(format!(
                "it is a profile, a kind of device; name a device of it with `graphprune device add NAME --profile {name} --address ADDRESS`"
            )));
        }
        if Address::parse(name, None).is_ok() {
            return Err(unknown(format!(
                "an address needs a profile: give it a name with `graphprune device add NAME --profile PROFILE --address {name}`"
            )));
        }
        let known: Vec<&str> = devices.iter().map(|(name, _)| name.as_str()).collect();
        Err(unknown(format!(
            "{}; add one with `graphprune device add {name} --profile PROFILE --address ADDRESS`, where the profile is a file or one of {}",
            listed(&known),
            Profile::NAMES.join(", ")
        )))
    }

    fn resolve_all(&self, names: &str) -> Result<Vec<Resolved>, LatencyError> {
        let devices = self.registry.devices()?;
        let mut seen = BTreeSet::new();
        let mut all = Vec::new();
        for name in names
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            let of_profile: Vec<&String> = devices
                .iter()
                .filter(|(_, device)| device.profile == name)
                .map(|(name, _)| name)
                .collect();
            let is_name = name == Registry::LOCAL || devices.contains_key(name);
            if is_name || of_profile.is_empty() {
                if seen.insert(name.to_owned()) {
                    all.push(self.resolve(name)?);
                }
                continue;
            }
            for name in of_profile {
                if seen.insert(name.clone()) {
                    all.push(self.resolve(name)?);
                }
            }
        }
        if all.is_empty() {
            return Err(LatencyError::UnknownDevice {
                name: names.to_owned(),
                advice: "no device is named".into(),
            });
        }
        Ok(all)
    }
}

fn registered(name: &str, device: &Registered) -> Result<Resolved, LatencyError> {
    let profile = device.profile()?;
    let address = Address::parse(&device.address, Some(profile.transport)).map_err(|problem| {
        LatencyError::UnknownDevice {
            name: name.to_owned(),
            advice: format!("its address: {problem}"),
        }
    })?;
    Resolved::new(
        name,
        profile,
        &address,
        &device.folder,
        &device.ssh_arguments,
    )
}

fn of_file(path: &str) -> Result<Resolved, LatencyError> {
    let profile = Profile::load(Path::new(path))?;
    let invalid = |problem: String| LatencyError::Profile {
        origin: path.to_owned(),
        problems: vec![format!("address: {problem}")],
    };
    let address = match (&profile.address, profile.transport) {
        (Some(address), kind) => Address::parse(address, Some(kind)).map_err(invalid)?,
        (None, TransportKind::Local) => Address::local(),
        (None, _) => {
            return Err(invalid(format!(
                "the profile is of a kind of device, not of one; name a device of it with `graphprune device add NAME --profile {path} --address ADDRESS`"
            )));
        }
    };
    Resolved::new(path, profile, &address, "", &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(folder: &Path) -> Devices {
        let registry = Registry::at(folder.join("devices.toml"));
        for (name, profile, address) in [
            ("attic", "raspberry-pi-4", "pi@attic"),
            ("cellar", "raspberry-pi-4", "tcp:cellar:7070"),
            ("phone", "pixel", "0123456789"),
        ] {
            let device = Registered {
                profile: profile.into(),
                address: address.into(),
                folder: String::new(),
                ssh_arguments: Vec::new(),
            };
            registry.add(name, device, false).unwrap();
        }
        Devices { registry }
    }

    #[test]
    fn a_name_resolves_to_profile_and_transport() {
        let folder = tempfile::tempdir().unwrap();
        let devices = devices(folder.path());
        let check = |name: &str, profile: &str, place: &str| {
            let resolved = devices.resolve(name).unwrap();
            assert_eq!(resolved.profile.name, profile);
            assert_eq!(resolved.launcher.place(), place);
        };
        check("local", "local", "this machine");
        check("attic", "raspberry-pi-4", "ssh pi@attic");
        check("cellar", "raspberry-pi-4", "tcp cellar:7070");
        check("phone", "pixel", "adb 0123456789");
        let file = folder.path().join("mine.toml");
        std::fs::write(
            &file,
            "name = \"mine\"\ntransport = \"ssh\"\naddress = \"me@there\"",
        )
        .unwrap();
        check(file.to_str().unwrap(), "mine", "ssh me@there");
    }

    #[test]
    fn this_machine_has_the_profile_that_it_is_registered_with() {
        let folder = tempfile::tempdir().unwrap();
        let devices = devices(folder.path());
        let changed = Registered {
            profile: "openvino-local".into(),
            ..Registered::local()
        };
        devices.registry.add("local", changed, false).unwrap();
        let resolved = devices.resolve("local").unwrap();
        assert_eq!(resolved.profile.name, "openvino-local");
        assert_eq!(resolved.launcher.place(), "this machine");
    }

    #[test]
    fn the_error_of_an_unknown_name_lists_devices_and_remedies() {
        let folder = tempfile::tempdir().unwrap();
        let devices = devices(folder.path());
        let check = |name: &str, needles: &[&str]| {
            let error = devices.resolve(name).err().unwrap().to_string();
            for needle in needles {
                assert!(error.contains(needle), "{error}");
            }
        };
        check(
            "roof",
            &[
                "local, attic, cellar, phone",
                "device add roof",
                "jetson-orin-nano",
            ],
        );
        check("rock-5b", &["kind of device", "--profile rock-5b"]);
        check("ssh:pi@roof", &["--address ssh:pi@roof"]);
        check("./no-such.toml", &["no-such.toml"]);
    }

    #[test]
    fn a_list_of_names_and_profiles_resolves_to_each_device_once() {
        let folder = tempfile::tempdir().unwrap();
        let devices = devices(folder.path());
        let check = |list: &str, expected: &[&str]| {
            let all = devices.resolve_all(list).unwrap();
            let names: Vec<&str> = all.iter().map(|device| device.name.as_str()).collect();
            assert_eq!(names, expected, "{list}");
        };
        let mine = Registered::local();
        devices.registry.add("workstation", mine, false).unwrap();
        check("local", &["local"]);
        check("raspberry-pi-4", &["attic", "cellar"]);
        check(
            "phone, cellar,raspberry-pi-4,phone",
            &["phone", "cellar", "attic"],
        );
        assert!(devices.resolve_all(" , ").is_err());
        assert!(devices.resolve_all("attic,nowhere").is_err());
    }
}
