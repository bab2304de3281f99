//! What the first process of a run tells the others to train and to measure.

use collective::{CollectiveError, Team};
use datasets::LoaderConfig;
use serde::{Deserialize, Serialize};
use torch_exec::ExecOptions;
use train::{EvaluatorConfig, Feature, FinetuneConfig, JointConfig, PruningNetConfig};

use crate::config::ConfigError;

/// The key of the store that says what comes after `done` jobs.
pub(crate) fn key(done: u64) -> String {
    format!("job/{done}")
}

/// The value of [`key`] for a job, which follows as a broadcast.
pub(crate) const JOB: &[u8] = b"job";

/// The value of [`key`] after the last job.
pub(crate) const END: &[u8] = b"end";

/// The key that a process sets when it leaves.
pub(crate) fn leaving(rank: usize) -> String {
    format!("leaving/{rank}")
}

/// A training or a measurement that all processes of a run share.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    /// The run's configuration, as TOML.
    pub config: String,
    /// The training data by its identity, which is that of all processes.
    pub data: String,
    pub loader: LoaderConfig,
    pub options: ExecOptions,
    pub seed: u64,
    pub kind: Kind,
    /// Networks as ONNX files: the run's own, then those of the kind (of a fine-tuning, the network
    /// to train and, where it has integers, the same in floats). They are sent beside this
    /// description; the run's own one is empty if it is that of the last job.
    #[serde(skip)]
    pub networks: Vec<Vec<u8>>,
}

/// The kind of a job, with its settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Of the network 1, without a teacher.
    Plain(FinetuneConfig),
    /// Of the network 1, which learns from the network 0.
    Finetune {
        settings: FinetuneConfig,
        features: Vec<Feature>,
    },
    /// Of a Graph PruningNet for the network 1.
    Joint {
        settings: JointConfig,
        net: PruningNetConfig,
        /// The groups' names, by which all processes agree on their numbers.
        groups: Vec<String>,
        order: Vec<Vec<usize>>,
        widths: Vec<Vec<usize>>,
    },
    /// Of the networks from 1 on, each by one process: the first by rank 0. They learn from the
    /// network 0.
    Abreast {
        settings: FinetuneConfig,
        /// By network.
        features: Vec<Vec<Feature>>,
        /// What the checkpoints are known by.
        identities: Vec<String>,
    },
    /// The score of the network 1, each process measuring a part of the samples.
    Score(Scored),
}

/// The samples of a score, and how a network computes them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scored {
    pub split: Split,
    /// The samples by their identity.
    pub identity: String,
    /// Samples at once.
    pub batch: usize,
    /// The samples drawn for the search, which processes keep in memory; all of the split if there
    /// is none.
    pub drawn: Option<EvaluatorConfig>,
    /// Whether drawn samples are compared with what the network 0 gives.
    pub compares: bool,
    /// Whether it is computed in full precision.
    pub is_exact: bool,
}

/// A part of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Split {
    Search,
    Test,
}

impl Job {
    /// The description as text. TOML keeps every bit of a float.
    pub fn text(&self) -> Result<String, ConfigError> {
        toml::to_string(self).map_err(|error| ConfigError::Syntax {
            path: None,
            reason: error.to_string(),
        })
    }

    /// Gives the description and the networks of the first process to all; the others have none.
    /// `None` if this process cannot read the description.
    pub fn share(
        team: &Team,
        (text, networks): (&str, &[Vec<u8>]),
    ) -> Result<Option<Self>, CollectiveError> {
        let text = team.share_bytes(text.as_bytes(), 0)?;
        let count = u8::try_from(networks.len()).unwrap_or(u8::MAX);
        let count = team.share_bytes(&[count], 0)?;
        let mut shared = Vec::new();
        for index in 0..usize::from(count.first().copied().unwrap_or(0)) {
            let own = networks.get(index).map_or(&[][..], Vec::as_slice);
            shared.push(team.share_bytes(own, 0)?);
        }
        let job: Option<Self> = toml::from_str(&String::from_utf8_lossy(&text)).ok();
        Ok(job.map(|job| Self {
            networks: shared,
            ..job
        }))
    }
}
