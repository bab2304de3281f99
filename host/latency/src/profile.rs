//! Device profiles: data only, one TOML file a device.

use std::path::Path;

use agent_protocol::{Limits, Sampling};
use serde::{Deserialize, Serialize};

use crate::LatencyError;

/// How the agent is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A process of this machine.
    Local,
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
    pub transport: Transport,
    /// How to sample.
    #[serde(default)]
    pub sampling: Sampling,
    /// What a worker may use.
    #[serde(default)]
    pub limits: Limits,
}

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
    ("time", |profile| {
        let (limit, need) = (
            profile.limits.time_ns,
            profile
                .sampling
                .warmup_ns
                .saturating_add(profile.sampling.max_duration_ns),
        );
        if limit > need {
            return Ok(());
        }
        Err(format!(
            "limits.time_ns ({limit}) must be longer than sampling.warmup_ns and max_duration_ns together ({need})"
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

impl Profile {
    /// The profile of this machine, as it comes with graphprune.
    ///
    /// # Errors
    /// Never for the file that was built in; the type is that of every other profile.
    pub fn local() -> Result<Self, LatencyError> {
        Self::parse(
            include_str!("../../../profiles/local.toml"),
            "local (built in)",
        )
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
        let profile: Self = toml::from_str(text).map_err(|error| wrong(vec![error.to_string()]))?;
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
            "name = \"a\"\ntransport = \"local\"\n[sampling]\nthreads = 2\ncores = [1]",
            &["cores: sampling.threads is 2"],
        );
    }
}
