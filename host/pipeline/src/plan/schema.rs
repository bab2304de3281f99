//! The file of a plan.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::PipelineError;

/// The version of the schema. A reader refuses others.
pub const PLAN_VERSION: u32 = 1;

/// The kept channels of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CutPlan {
    /// [`PLAN_VERSION`].
    pub version: u32,
    /// The name of the network; empty in a plan of another tool that does not say.
    #[serde(default)]
    pub model: String,
    /// SHA-256 of its file, as hex; likewise.
    #[serde(default)]
    pub model_sha256: String,
    /// Every group of channels. A plan of another tool has none: its parameters say what is kept.
    #[serde(default)]
    pub groups: Vec<PlannedGroup>,
    /// The parameters that get smaller.
    pub parameters: Vec<PlannedParameter>,
    /// The residual branches that are removed.
    #[serde(default)]
    pub removed: Vec<RemovedBranch>,
    /// The operators that slide along the channels. They need zeros in place of the dropped
    /// channels, which a cut of parameters alone cannot express.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub placed: Vec<String>,
}

/// The kept units of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedGroup {
    /// The name that `inspect` shows.
    pub name: String,
    /// Units before.
    pub channels: usize,
    /// Kept units, ascending.
    pub keep: Vec<usize>,
}

/// The kept part of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedParameter {
    /// The initializer's name in the file.
    pub name: String,
    /// Its shape in the file.
    pub shape: Vec<usize>,
    /// Its shape after the cut.
    pub pruned_shape: Vec<usize>,
    /// Axes that lose indices.
    pub axes: Vec<PlannedAxis>,
}

/// The kept indices of an axis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedAxis {
    /// The axis.
    pub axis: usize,
    /// Kept indices, ascending.
    pub keep: Vec<usize>,
}

/// A residual branch that is removed with its group: the addition passes its other operand on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemovedBranch {
    /// The group that keeps nothing.
    pub group: String,
    /// The names of the operators that go.
    pub operators: Vec<String>,
    /// The parameters that go, as if the group kept its first unit: the branch's last layer shows
    /// which channels its addition keeps.
    pub parameters: Vec<PlannedParameter>,
}

impl CutPlan {
    /// The plan as a file.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>, PipelineError> {
        serde_json::to_vec_pretty(self).map_err(|e| PipelineError::BadRecord {
            reason: e.to_string(),
        })
    }

    /// Reads a plan.
    ///
    /// # Errors
    /// [`PipelineError::Io`]; [`PipelineError::BadPlan`] for another version or a file that is no
    /// plan.
    pub fn read(path: &Path) -> Result<Self, PipelineError> {
        let bytes = std::fs::read(path).map_err(|e| PipelineError::io(path, "read the plan", e))?;
        let bad = |reason: String| PipelineError::BadPlan {
            path: path.to_owned(),
            reason,
        };
        // The version first: another one may have other fields.
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let of: Version = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
        if of.version != PLAN_VERSION {
            let version = of.version;
            return Err(bad(format!(
                "its version is {version}, this program reads {PLAN_VERSION}"
            )));
        }
        serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))
    }
}
