//! What the first process of a run tells the others to train.

use collective::{CollectiveError, Team};
use datasets::LoaderConfig;
use serde::{Deserialize, Serialize};
use torch_exec::ExecOptions;
use train::{Feature, FinetuneConfig, JointConfig, PruningNetConfig};

use crate::config::ConfigError;

/// The key of the store that says what comes after `done` trainings.
pub(crate) fn key(done: u64) -> String {
    format!("training/{done}")
}

/// The value of [`key`] for a training, which follows as a broadcast.
pub(crate) const TRAINING: &[u8] = b"training";

/// The value of [`key`] after the last training.
pub(crate) const END: &[u8] = b"end";

/// The key that a process sets when it leaves.
pub(crate) fn leaving(rank: usize) -> String {
    format!("leaving/{rank}")
}

/// A training that all processes of a run share.
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
    /// description.
    #[serde(skip)]
    pub networks: Vec<Vec<u8>>,
}

/// The kind of a training, with its settings.
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
