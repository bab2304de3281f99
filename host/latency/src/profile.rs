//! Device profiles: data only, one TOML file a device.

use std::fmt;
use std::path::Path;

use agent_protocol::{Conditions, Limits, RuntimeOptions, Sampling};
use serde::{Deserialize, Serialize};

use crate::LatencyError;
use crate::share::{ShareKey, ShareOf, read_toml};

/// How the agent is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportKind {
    /// A process of this machine.
    Local,
    /// The system's `ssh`.
    Ssh,
    /// The `adb` client.
    Adb,
    /// TCP with mutual TLS to an agent that runs by itself.
    Tcp,
}

impl fmt::Display for TransportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Ssh => "ssh",
            Self::Adb => "adb",
            Self::Tcp => "tcp",
        })
    }
}

/// Where the agent lies on a device, and which one it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentPlace {
    /// The agent's target triple, such as `aarch64-unknown-linux-gnu`; empty: found out on the device.
    pub triple: String,
    /// The folder of the agent on the device; empty: `.graphprune` in the user's home, `/data/local/tmp/graphprune` by adb.
    pub folder: String,
    /// Whether models run although a layer of confinement that the kernel offers cannot be put in place. An agent that
    /// runs by itself has a flag of its own, `--allow-unconfined`.
    pub allow_unconfined: bool,
}

/// What is known of the device behind a profile, and what nobody who wrote it has run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knowledge {
    /// Facts, with where they come from.
    pub known: Vec<String>,
    /// What was not tried on the device itself.
    pub not_run: Vec<String>,
}

/// A device's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The name: lower-case letters, digits and hyphens.
    pub name: String,
    /// A line for people.
    #[serde(default)]
    pub description: String,
    /// How the agent is reached.
    pub transport: TransportKind,
    /// The device itself, where the profile is of one device only: `pi@board` for ssh, a serial number for adb, `host:port` for
    /// TCP. Otherwise the address comes with the registered device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Where the agent lies on the device.
    #[serde(default)]
    pub agent: AgentPlace,
    /// How the runtime runs models.
    #[serde(default)]
    pub runtime: RuntimeOptions,
    /// How to sample.
    #[serde(default)]
    pub sampling: Sampling,
    /// What a worker may use.
    #[serde(default)]
    pub limits: Limits,
    /// What must hold on the device before anything is measured.
    #[serde(default)]
    pub conditions: Conditions,
    /// What is known and what is not.
    #[serde(default)]
    pub knowledge: Knowledge,
}

/// The settings that are shares: half-widths of intervals and the drift that is put up with.
const SHARES: &[ShareKey] = &[
    ShareKey {
        key: "sampling.ci_target_rel",
        of: ShareOf::Change,
    },
    ShareKey {
        key: "sampling.ci_accept_rel",
        of: ShareOf::Change,
    },
    ShareKey {
        key: "sampling.drift_accept_rel",
        of: ShareOf::Change,
    },
];

/// A named check of a profile: what must hold, or the message.
type Check = (&'static str, fn(&Profile) -> Result<(), String>);

const CHECKS: &[Check] = &[
    ("name", |profile| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !profile.name.is_empty() && profile.name.len() <= 64 && profile.name.chars().all(plain) {
            return Ok(());
        }
        Err(format!(
            "`{}` must be 1 to 64 lower-case letters, digits or hyphens",
            profile.name
        ))
    }),
    ("sampling", |profile| {
        profile.sampling.check().map_err(|error| error.to_string())
    }),
    ("limits", |profile| {
        profile.limits.check().map_err(|error| error.to_string())
    }),
    ("runtime", |profile| {
        profile.runtime.check().map_err(|error| error.to_string())
    }),
    ("conditions", |profile| {
        profile
            .conditions
            .check()
            .map_err(|error| error.to_string())
    }),
    ("time", |profile| {
        let (limit, need) = (
            profile.limits.time_ns,
            profile
                .sampling
                .warmup_ns
                .saturating_add(profile.sampling.sustained_ns)
                .saturating_add(profile.sampling.max_duration_ns),
        );
        if limit > need {
            return Ok(());
        }
        Err(format!(
            "limits.time_ns ({limit}) must be longer than sampling.warmup_ns, sustained_ns and max_duration_ns together ({need})"
        ))
    }),
    ("cores", |profile| {
        let (cores, threads) = (
            profile.sampling.cores.len(),
            profile.sampling.threads as usize,
        );
        if cores == 0 || threads <= cores {
            return Ok(());
        }
        Err(format!(
            "sampling.threads is {threads}, but the worker is bound to {cores} cores"
        ))
    }),
];

/// The names and texts of profiles, from the names.
macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../profiles/", $name, ".toml")))),*]
    };
}

/// The profiles that come with graphprune.
const BUILT_IN: &[(&str, &str)] = built_in!(
    "local",
    "cuda-local",
    "openvino-local",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "jetson-orin-nano",
    "rock-5b",
    "pixel",
    "snapdragon",
    "imx-8m-plus",
    "armv7",
);

impl Profile {
    /// The names of the profiles that come with graphprune.
    pub const NAMES: [&str; BUILT_IN.len()] = {
        let mut names = [""; BUILT_IN.len()];
        let mut n = 0;
        while n < names.len() {
            names[n] = BUILT_IN[n].0;
            n += 1;
        }
        names
    };

    /// The text of a profile that comes with graphprune.
    pub fn built_in(name: &str) -> Option<&'static str> {
        BUILT_IN
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, text)| *text)
    }

    /// The profile of this machine, as it comes with graphprune.
    ///
    /// # Errors
    /// Never for the file that was built in; the type is that of every other profile.
    pub fn local() -> Result<Self, LatencyError> {
        Self::find("local")
    }

    /// The profile that comes with graphprune under this name, or otherwise in the file at this path.
    ///
    /// # Errors
    /// When there is neither, or as [`Profile::load`].
    pub fn find(name: &str) -> Result<Self, LatencyError> {
        if let Some(text) = Self::built_in(name) {
            return Self::parse(text, &format!("{name} (built in)"));
        }
        let path = Path::new(name);
        if path.is_file() {
            return Self::load(path);
        }
        Err(LatencyError::Profile {
            origin: name.to_owned(),
            problems: vec![format!(
                "it is no file and none of {}",
                Self::NAMES.join(", ")
            )],
        })
    }

    /// Reads a profile's file.
    ///
    /// # Errors
    /// When it cannot be read, is no TOML, has unknown fields, or a check fails; all failed checks are told at once.
    pub fn load(path: &Path) -> Result<Self, LatencyError> {
        let text = std::fs::read_to_string(path).map_err(|source| LatencyError::Io {
            doing: format!("reading the device profile {}", path.display()),
            source,
        })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads a profile's text; `origin` is what errors call it.
    ///
    /// # Errors
    /// As [`Profile::load`].
    pub fn parse(text: &str, origin: &str) -> Result<Self, LatencyError> {
        let wrong = |problems| LatencyError::Profile {
            origin: origin.to_owned(),
            problems,
        };
        let profile: Self =
            read_toml(text, SHARES).map_err(|error| wrong(vec![error.to_string()]))?;
        let problems: Vec<String> = CHECKS
            .iter()
            .filter_map(|(name, check)| {
                check(&profile)
                    .err()
                    .map(|message| format!("{name}: {message}"))
            })
            .collect();
        if problems.is_empty() {
            Ok(profile)
        } else {
            Err(wrong(problems))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_profile_is_right_and_says_what_the_defaults_say() {
        let local = Profile::local().unwrap();
        assert_eq!(local.name, "local");
        assert_eq!(local.sampling, Sampling::default());
        assert_eq!(local.limits, Limits::default());
    }

    #[test]
    fn every_profile_that_comes_with_graphprune_is_right_and_says_what_is_not_known() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../profiles");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let mut built_in = Profile::NAMES.map(|name| format!("{name}.toml"));
        files.sort();
        built_in.sort();
        assert_eq!(files, built_in);
        for name in Profile::NAMES {
            let profile = Profile::find(name).unwrap();
            assert_eq!(profile.name, name);
            assert!(!profile.description.is_empty(), "{name}");
            assert_eq!(profile.address, None, "{name}");
            if name != "local" {
                assert!(!profile.knowledge.known.is_empty(), "{name}");
                assert!(!profile.knowledge.not_run.is_empty(), "{name}");
                let is_here = profile.transport == TransportKind::Local;
                assert!(is_here || !profile.agent.triple.is_empty(), "{name}");
            }
        }
    }

    #[test]
    fn a_wrong_profile_is_refused_with_every_problem_named() {
        let check = |text: &str, needles: &[&str]| {
            let error = Profile::parse(text, "x.toml").unwrap_err().to_string();
            for needle in needles {
                assert!(error.contains(needle), "{text}: {error}");
            }
        };
        check("name = \"a\"", &["x.toml", "transport"]);
        check(
            "name = \"a\"\ntransport = \"carrier-pigeon\"",
            &["carrier-pigeon"],
        );
        check("name = \"a\"\ntransport = \"local\"\nspeed = 1", &["speed"]);
        check(
            "name = \"a\"\ntransport = \"local\"\n[sampling]\nwarmup_ms = 1",
            &["warmup_ms"],
        );
        check(
            "name = \"A b\"\ntransport = \"local\"\n[sampling]\nthreads = 0\n[limits]\ntime_ns = 5",
            &[
                "name: `A b`",
                "sampling: Sampling.threads is 0",
                "time: limits.time_ns (5)",
            ],
        );
        check(
            "name = \"a\"\ntransport = \"local\"\n[sampling]\nci_target_rel = 2",
            &["sampling.ci_target_rel: `2` is 200 %", "write 2%"],
        );
        check(
            "name = \"a\"\ntransport = \"local\"\n[sampling]\nthreads = 2\ncores = [1]",
            &["cores: sampling.threads is 2"],
        );
    }
}
