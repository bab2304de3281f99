//! Built-in profiles, and profiles from files.

use std::path::Path;

use super::check::problems;
use super::file::ProfileFile;
use super::settings::Profile;
use crate::LatencyError;
use crate::share::{ShareKey, ShareOf, read_toml};

/// The keys whose values are shares.
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

/// The built-in profiles, as pairs of name and text.
macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../profiles/", $name, ".toml")))),*]
    };
}

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
    "stm32f4-discovery",
    "stm32h743",
    "stm32u585",
    "stm32n657",
    "nrf52840",
    "rp2040",
    "rp2350",
    "imxrt1060",
);

impl Profile {
    /// The names of the built-in profiles.
    pub const NAMES: [&str; BUILT_IN.len()] = {
        let mut names = [""; BUILT_IN.len()];
        let mut n = 0;
        while n < names.len() {
            names[n] = BUILT_IN[n].0;
            n += 1;
        }
        names
    };

    /// Returns the text of a built-in profile.
    pub fn built_in(name: &str) -> Option<&'static str> {
        BUILT_IN
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, text)| *text)
    }

    /// Returns the built-in profile of this machine.
    ///
    /// # Errors
    /// Never fails: the built-in file is valid.
    pub fn local() -> Result<Self, LatencyError> {
        Self::find("local")
    }

    /// Returns the built-in profile of this name, or reads the file at this path.
    ///
    /// # Errors
    /// Fails if there is neither, and as [`Profile::load`] does.
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
                "it is neither a file nor one of {}",
                Self::NAMES.join(", ")
            )],
        })
    }

    /// Returns the profile as TOML with every setting, those that take their defaults included.
    ///
    /// # Errors
    /// Fails if a value has no form in TOML.
    pub fn to_toml(&self) -> Result<String, LatencyError> {
        toml::to_string_pretty(&ProfileFile::from(self.clone())).map_err(|error| {
            LatencyError::Profile {
                origin: self.name.clone(),
                problems: vec![error.to_string()],
            }
        })
    }

    /// Reads a profile from a file.
    ///
    /// # Errors
    /// Fails if the file is unreadable, is not TOML, has unknown keys, or a check fails. The
    /// error lists all failed checks.
    pub fn load(path: &Path) -> Result<Self, LatencyError> {
        let text = std::fs::read_to_string(path).map_err(|source| LatencyError::Io {
            doing: format!("reading the device profile {}", path.display()),
            source,
        })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Parses the text of a profile. `origin` names it in errors.
    ///
    /// # Errors
    /// Fails as [`Profile::load`] does.
    pub fn parse(text: &str, origin: &str) -> Result<Self, LatencyError> {
        let invalid = |problems| LatencyError::Profile {
            origin: origin.to_owned(),
            problems,
        };
        let file: ProfileFile =
            read_toml(text, SHARES).map_err(|error| invalid(vec![error.to_string()]))?;
        let profile = Self::from(file);
        let problems = problems(&profile);
        if problems.is_empty() {
            Ok(profile)
        } else {
            Err(invalid(problems))
        }
    }
}

#[cfg(test)]
mod tests {
    use agent_protocol::{Limits, MeasureJob, ModelRef, Sampling, Sha256, wire};

    use super::*;
    use crate::mutation::Mutations;
    use crate::{Model, TransportKind};

    #[test]
    fn the_local_profile_equals_the_defaults() {
        let local = Profile::local().unwrap();
        assert_eq!(local.name, "local");
        assert_eq!(local.sampling, Sampling::default());
        assert_eq!(local.limits, Limits::default());
    }

    #[test]
    fn every_built_in_profile_is_valid_and_documented() {
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
            let whole = profile.to_toml().unwrap();
            assert_eq!(Profile::parse(&whole, name).unwrap(), profile, "{whole}");
            assert!(!profile.description.is_empty(), "{name}");
            assert_eq!(profile.address, None, "{name}");
            if name != "local" {
                assert!(!profile.knowledge.known.is_empty(), "{name}");
                assert!(!profile.knowledge.not_run.is_empty(), "{name}");
                let here = [TransportKind::Local, TransportKind::Probe];
                let is_here = here.contains(&profile.transport);
                assert!(is_here || !profile.agent.triple.is_empty(), "{name}");
            }
        }
    }

    #[test]
    fn an_invalid_profile_is_refused_with_all_problems() {
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
            "name = \"a\"\ntransport = \"probe\"\n[board]\nchip = \"c\"\nid = [2]\nclock = { hz = 1, tolerance_rel = 0.01 }",
            &["board: id must be", "multiples of 4"],
        );
        let step = |step: &str| {
            format!(
                "name = \"a\"\ntransport = \"probe\"\n[board]\nchip = \"c\"\nclock = {{ hz = 1, tolerance_rel = 0.01, steps = [{{ {step} }}] }}"
            )
        };
        check(
            &step("address = 6, value = 1"),
            &["board: clock.steps: 0x6 must be a multiple of 4"],
        );
        check(
            &step("address = 4, value = 3, mask = 1"),
            &["its value 0x3 within its mask 0x1"],
        );
        check(
            "name = \"a\"\ntransport = \"probe\"\n[board]\nchip = \"c\"\n[board.clock]\nhz = 1\ntolerance_rel = 0.01\nwait_states = { address = 4, mask = 5 }",
            &["board: clock.wait_states", "bits side by side"],
        );
        check(
            "name = \"a\"\ntransport = \"local\"\n[sampling]\nthreads = 2\ncores = [1]",
            &["cores: sampling.threads is 2"],
        );
    }

    /// What a profile is accepted for, the agent accepts as well.
    #[test]
    fn a_mutated_profile_is_refused_or_leads_to_a_request_that_an_agent_accepts() {
        let mut mutations = Mutations::new(
            5,
            &[
                b"-1",
                b"0",
                b"nan",
                b"inf",
                b"1e400",
                b"\"\"",
                b"[]",
                b"{}",
                b"= ",
                b"\n",
                b"[sampling]\n",
                b"\xff",
                b"\"\\u0000\"",
                b"9223372036854775807",
                b"true",
                b"150%",
            ],
        );
        let mut accepted = 0;
        for round in 0..5_000 {
            let name = Profile::NAMES[round % Profile::NAMES.len()];
            let bytes = mutations.of(Profile::built_in(name).unwrap().as_bytes());
            let text = String::from_utf8_lossy(&bytes);
            let Ok(profile) = Profile::parse(&text, "mutated.toml") else {
                continue;
            };
            accepted += 1;
            let request = profile.request(vec![Model::new("m", *b"m")], None);
            let job = MeasureJob {
                models: vec![ModelRef {
                    name: "m".into(),
                    sha256: Sha256::of(b"m"),
                    inputs: Vec::new(),
                }],
                reference: None,
                sampling: request.sampling,
                limits: request.limits,
                evidence: request.evidence,
                runtime: request.runtime,
                conditions: request.conditions,
                reversed: false,
            };
            let sent = MeasureJob::try_from(wire::MeasureRequest::from(job));
            assert!(sent.is_ok(), "{text}\n{sent:?}");
        }
        assert!(accepted > 500, "{accepted} mutations were accepted");
    }
}
