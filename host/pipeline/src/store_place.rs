//! Where a run keeps its measurements.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::ConfigError;
use crate::error::PipelineError;

/// Where measurements are stored: `run`, `user`, or a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StorePlace(pub String);

impl Default for StorePlace {
    fn default() -> Self {
        Self("run".into())
    }
}

impl StorePlace {
    /// The file, for a run in `folder`. The user's folder is created where it is missing.
    pub(crate) fn path(&self, folder: &Path) -> Result<PathBuf, PipelineError> {
        match self.0.as_str() {
            "run" => Ok(folder.join(latency::STORE_FILE)),
            "user" => {
                let path = latency::user_store().ok_or_else(|| {
                    ConfigError::value(
                        "measurements",
                        "the system names no home folder; set GRAPHPRUNE_HOME, or name a file",
                    )
                })?;
                if let Some(parent) = path.parent() {
                    std::fs::create_dir_all(parent).map_err(|e| {
                        PipelineError::io(parent, "create the user's folder of measurements", e)
                    })?;
                }
                Ok(path)
            }
            file => Ok(PathBuf::from(file)),
        }
    }
}
