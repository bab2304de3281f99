//! The TOML form of a profile. The protocol's types have no file format of their own.

use std::collections::BTreeMap;

use agent_protocol::{
    BoardSpec, Conditions, Limits, Optimisation, Provider, RuntimeOptions, Sampling,
};
use serde::{Deserialize, Serialize};

use super::settings::{AgentSettings, Knowledge, Profile, TransportKind};

/// A profile's file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileFile {
    name: String,
    #[serde(default)]
    description: String,
    transport: TransportKind,
    address: Option<String>,
    #[serde(default)]
    agent: AgentSettings,
    #[serde(default)]
    runtime: RuntimeTable,
    #[serde(default)]
    sampling: SamplingTable,
    #[serde(default)]
    limits: LimitsTable,
    #[serde(default)]
    conditions: ConditionsTable,
    board: Option<BoardSpec>,
    #[serde(default)]
    knowledge: Knowledge,
}

impl From<ProfileFile> for Profile {
    fn from(file: ProfileFile) -> Self {
        Self {
            name: file.name,
            description: file.description,
            transport: file.transport,
            address: file.address,
            agent: file.agent,
            runtime: file.runtime.into(),
            sampling: file.sampling.into(),
            limits: file.limits.into(),
            conditions: file.conditions.into(),
            board: file.board,
            knowledge: file.knowledge,
        }
    }
}

impl From<Profile> for ProfileFile {
    fn from(profile: Profile) -> Self {
        Self {
            name: profile.name,
            description: profile.description,
            transport: profile.transport,
            address: profile.address,
            agent: profile.agent,
            runtime: profile.runtime.into(),
            sampling: profile.sampling.into(),
            limits: profile.limits.into(),
            conditions: profile.conditions.into(),
            board: profile.board,
            knowledge: profile.knowledge,
        }
    }
}

/// Defines a table whose keys are the fields of one of the protocol's types, with the defaults of
/// that type.
macro_rules! table {
    ($table:ident for $target:ident { $($key:ident: $kind:ty),* $(,)? }) => {
        #[derive(Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct $table {
            $($key: $kind),*
        }

        impl Default for $table {
            fn default() -> Self {
                $target::default().into()
            }
        }

        impl From<$target> for $table {
            fn from(target: $target) -> Self {
                let $target { $($key),* } = target;
                Self { $($key),* }
            }
        }

        impl From<$table> for $target {
            fn from(table: $table) -> Self {
                let $table { $($key),* } = table;
                Self { $($key),* }
            }
        }
    };
}

table!(SamplingTable for Sampling {
    threads: u32,
    spinning: bool,
    batch: u32,
    seed: u64,
    cores: Vec<u32>,
    nice: i32,
    warmup_ns: u64,
    warmup_runs: u32,
    block_ns: u64,
    min_rounds: u32,
    max_rounds: u32,
    max_duration_ns: u64,
    ci_target_rel: f64,
    ci_accept_rel: f64,
    drift_accept_rel: f64,
    sustained_ns: u64,
    window_ns: u64,
});

table!(LimitsTable for Limits {
    time_ns: u64,
    memory_bytes: u64,
});

table!(ConditionsTable for Conditions {
    max_millicelsius: Option<i64>,
    cool_down_ns: u64,
    governor: Option<String>,
});

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RuntimeTable {
    providers: Vec<ProviderTable>,
    strict: bool,
    optimisation: OptimisationWord,
}

impl From<RuntimeOptions> for RuntimeTable {
    fn from(options: RuntimeOptions) -> Self {
        let provider = |Provider { name, options }| ProviderTable { name, options };
        Self {
            // Values before tables.
            strict: options.strict,
            optimisation: options.optimisation.into(),
            providers: options.providers.into_iter().map(provider).collect(),
        }
    }
}

impl From<RuntimeTable> for RuntimeOptions {
    fn from(table: RuntimeTable) -> Self {
        Self {
            providers: table.providers.into_iter().map(Into::into).collect(),
            strict: table.strict,
            optimisation: table.optimisation.into(),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderTable {
    name: String,
    #[serde(default)]
    options: BTreeMap<String, String>,
}

impl From<ProviderTable> for Provider {
    fn from(table: ProviderTable) -> Self {
        Self {
            name: table.name,
            options: table.options,
        }
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OptimisationWord {
    None,
    Basic,
    Extended,
    #[default]
    All,
}

impl From<Optimisation> for OptimisationWord {
    fn from(optimisation: Optimisation) -> Self {
        match optimisation {
            Optimisation::None => Self::None,
            Optimisation::Basic => Self::Basic,
            Optimisation::Extended => Self::Extended,
            Optimisation::All => Self::All,
        }
    }
}

impl From<OptimisationWord> for Optimisation {
    fn from(word: OptimisationWord) -> Self {
        match word {
            OptimisationWord::None => Self::None,
            OptimisationWord::Basic => Self::Basic,
            OptimisationWord::Extended => Self::Extended,
            OptimisationWord::All => Self::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_table_reaches_the_protocol() {
        let text = r#"
            name = "board"
            transport = "ssh"
            address = "pi@board"
            agent = { triple = "aarch64-unknown-linux-gnu", folder = "/opt" }
            sampling = { threads = 4, cores = [2, 3], ci_target_rel = 0.01, sustained_ns = 5, window_ns = 6 }
            limits = { time_ns = 7 }
            conditions = { max_millicelsius = 70000, cool_down_ns = 8, governor = "performance" }
            [runtime]
            strict = true
            optimisation = "basic"
            providers = [{ name = "cuda", options = { device_id = "1" } }, { name = "cpu" }]
        "#;
        let profile = Profile::from(toml::from_str::<ProfileFile>(text).unwrap());
        assert_eq!(
            profile.sampling,
            Sampling {
                threads: 4,
                cores: vec![2, 3],
                ci_target_rel: 0.01,
                sustained_ns: 5,
                window_ns: 6,
                ..Sampling::default()
            }
        );
        assert_eq!(
            profile.limits,
            Limits {
                time_ns: 7,
                ..Limits::default()
            }
        );
        assert_eq!(
            profile.conditions,
            Conditions {
                max_millicelsius: Some(70_000),
                cool_down_ns: 8,
                governor: Some("performance".into()),
            }
        );
        let provider = |name: &str, options: &[(&str, &str)]| Provider {
            name: name.into(),
            options: options
                .iter()
                .map(|&(key, value)| (key.into(), value.into()))
                .collect(),
        };
        assert_eq!(
            profile.runtime,
            RuntimeOptions {
                providers: vec![
                    provider("cuda", &[("device_id", "1")]),
                    provider("cpu", &[])
                ],
                strict: true,
                optimisation: Optimisation::Basic,
            }
        );
        assert_eq!(profile.agent.folder, "/opt");
        assert_eq!(profile.address.as_deref(), Some("pi@board"));
    }
}
