//! From what a user calls a device to its profile and the way to its agent.

use std::path::Path;

use crate::{LatencyError, Launcher, Local, Profile, TransportKind};

/// A device that can be measured on.
pub struct Resolved {
    /// What the user calls it.
    pub name: String,
    /// Its settings.
    pub profile: Profile,
    /// The way to its agent.
    pub launcher: Box<dyn Launcher>,
}

/// Finds a device: `local`, or the path of a profile that names one device.
///
/// # Errors
/// [`LatencyError::Profile`] when the profile cannot be used, or does not say where the device is.
pub fn resolve(name: &str) -> Result<Resolved, LatencyError> {
    let profile = if name == "local" {
        Profile::local()?
    } else {
        Profile::load(Path::new(name))?
    };
    let launcher = match profile.transport {
        TransportKind::Local => Box::new(Local::default()),
        TransportKind::Ssh | TransportKind::Adb | TransportKind::Tcp => {
            return Err(LatencyError::Profile {
                origin: name.to_owned(),
                problems: vec!["address: the profile is of a kind of device, not of one".into()],
            });
        }
    };
    Ok(Resolved {
        name: name.to_owned(),
        profile,
        launcher,
    })
}

/// Finds several devices: names with commas between them.
///
/// # Errors
/// As [`resolve`], and when a name is empty or given twice.
pub fn resolve_all(names: &str) -> Result<Vec<Resolved>, LatencyError> {
    let wrong = |problem: String| LatencyError::Profile {
        origin: names.to_owned(),
        problems: vec![problem],
    };
    let mut all: Vec<&str> = Vec::new();
    for name in names.split(',').map(str::trim) {
        if name.is_empty() {
            return Err(wrong("a device's name is empty".into()));
        }
        if all.contains(&name) {
            return Err(wrong(format!("`{name}` is named twice")));
        }
        all.push(name);
    }
    all.into_iter().map(resolve).collect()
}
