//! From resolved names to a fleet's members.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Member;
use crate::{AgentDevice, LatencyError, Launcher, Link, Patience, Profile, Resolved};

/// A launcher that is there for the next try, too.
#[derive(Clone)]
struct Again(Arc<Mutex<Box<dyn Launcher>>>);

impl Launcher for Again {
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

/// Makes members of devices, which must be of one profile with one set of settings: ratios are compared across the fleet. `wrap` is
/// what each device is put into once it is reached, such as a [`crate::Remembering`].
///
/// # Errors
/// [`LatencyError::Profile`] when there is no device, two have one name, or their profiles differ in what decides speed.
pub fn members<S>(
    devices: Vec<Resolved>,
    wrap: impl Fn(AgentDevice) -> Result<S, LatencyError> + Clone + Send + 'static,
) -> Result<(Profile, Vec<Member<S>>), LatencyError> {
    let wrong = |origin: &str, problem: String| LatencyError::Profile {
        origin: origin.to_owned(),
        problems: vec![problem],
    };
    let Some(profile) = devices.first().map(|device| device.profile.clone()) else {
        return Err(wrong("fleet", "it has no device".into()));
    };
    // Where another device can take over, less time goes into bringing a lost one back.
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
            return Err(wrong(
                &device.name,
                format!("two devices are called `{name}`"),
            ));
        }
        if let Some(what) = differs(&profile, &device.profile) {
            return Err(wrong(
                &device.name,
                format!(
                    "{what} is not that of `{}`: the devices of a fleet are of one profile",
                    profile.name
                ),
            ));
        }
        let launcher = Again(Arc::new(Mutex::new(device.launcher)));
        let (wrap, patience, of) = (wrap.clone(), patience.clone(), device.profile.name);
        members.push(Member::new(name.clone(), move || {
            let device = AgentDevice::start(launcher.clone(), &of, patience.clone())?;
            wrap(device.named(&name))
        }));
    }
    Ok((profile, members))
}

/// The first setting in which two profiles differ.
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
            place: crate::Place::Local(Local::default()),
            launcher: Box::new(Local::default()),
        }
    }

    #[test]
    fn a_fleet_is_of_one_profile_and_every_device_has_its_own_name() {
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
