//! The members of a fleet from resolved devices.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::member::Member;
use crate::{AgentDevice, LatencyError, Launcher, Link, Patience, Profile, Resolved};

/// A launcher that can be cloned for further attempts.
#[derive(Clone)]
struct SharedLauncher(Arc<Mutex<Box<dyn Launcher>>>);

impl Launcher for SharedLauncher {
    fn place(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .place()
    }

    fn launch(&self, patience: Duration) -> Result<Link, LatencyError> {
        let launcher = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        launcher.launch(patience)
    }
}

/// Creates the members of a fleet. The devices must have equal profiles, since ratios are
/// compared across the fleet. `wrap` is applied to each connected device, for example to put a
/// store in front ([`crate::Remembering`]).
///
/// # Errors
/// [`LatencyError::Profile`] if there are no devices, two have the same name, or their profiles
/// differ in a setting that affects latency.
pub fn members<S>(
    devices: Vec<Resolved>,
    wrap: impl Fn(AgentDevice) -> Result<S, LatencyError> + Clone + Send + 'static,
) -> Result<(Profile, Vec<Member<S>>), LatencyError> {
    let invalid = |origin: &str, problem: String| LatencyError::Profile {
        origin: origin.to_owned(),
        problems: vec![problem],
    };
    let Some(profile) = devices.first().map(|device| device.profile.clone()) else {
        return Err(invalid("fleet", "it has no device".into()));
    };
    // If another device can take over, less time is spent on restarting a lost one.
    let patience = match devices.len() {
        1 => Patience::default(),
        _ => Patience {
            restarts: 1,
            ..Patience::default()
        },
    };
    let mut members: Vec<Member<S>> = Vec::new();
    for device in devices {
        let name = device.short_name();
        if members.iter().any(|member| member.name == name) {
            return Err(invalid(
                &device.name,
                format!("two devices are called `{name}`"),
            ));
        }
        if let Some(what) = differs(&profile, &device.profile) {
            return Err(invalid(
                &device.name,
                format!(
                    "{what} is not that of `{}`: the devices of a fleet are of one profile",
                    profile.name
                ),
            ));
        }
        let launcher = SharedLauncher(Arc::new(Mutex::new(device.launcher)));
        let (wrap, patience, of) = (wrap.clone(), patience.clone(), device.profile.name);
        members.push(Member::new(name.clone(), move || {
            let device = AgentDevice::start(launcher.clone(), &of, patience.clone())?;
            wrap(device.named(&name))
        }));
    }
    Ok((profile, members))
}

/// The first setting that differs between two profiles.
fn differs(one: &Profile, other: &Profile) -> Option<&'static str> {
    [
        ("name", one.name == other.name),
        ("runtime", one.runtime == other.runtime),
        ("sampling", one.sampling == other.sampling),
        ("limits", one.limits == other.limits),
        ("conditions", one.conditions == other.conditions),
    ]
    .into_iter()
    .find_map(|(what, same)| (!same).then_some(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Local;

    fn device(name: &str, profile: &str) -> Resolved {
        Resolved {
            name: name.into(),
            profile: Profile::parse(profile, name).unwrap(),
            transport: crate::Transport::Local(Local::default()),
            launcher: Box::new(Local::default()),
        }
    }

    #[test]
    fn a_fleet_has_one_profile_and_unique_names() {
        let pi = "name = \"pi\"\ntransport = \"local\"";
        let check = |devices: Vec<Resolved>| {
            members(devices, Ok)
                .map(|(_, members)| members.iter().map(|m| m.name.clone()).collect::<Vec<_>>())
        };
        let names = check(vec![
            device("boards/left.toml", pi),
            device("right.toml", pi),
            device("pi@host", pi),
        ]);
        assert_eq!(names.unwrap(), ["left", "right", "pi@host"]);
        let refused = |devices, needle: &str| {
            let error = check(devices).unwrap_err().to_string();
            assert!(error.contains(needle), "{error}");
        };
        refused(Vec::new(), "no device");
        refused(
            vec![device("a/x.toml", pi), device("b/x.toml", pi)],
            "called `x`",
        );
        let threads = format!("{pi}\n[sampling]\nthreads = 2");
        refused(vec![device("a", pi), device("b", &threads)], "sampling");
        refused(
            vec![
                device("a", pi),
                device("b", "name = \"other\"\ntransport = \"local\""),
            ],
            "name",
        );
    }
}
