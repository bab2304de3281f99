//! The file of the measurement store.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::{ConfigError, StorePlace};
use crate::error::PipelineError;

/// The store of a run in `folder`.
pub(crate) fn store_of_run(place: &StorePlace, folder: &Path) -> Result<PathBuf, PipelineError> {
    match place {
        StorePlace::Run => Ok(folder.join(latency::STORE_FILE)),
        StorePlace::File(file) => Ok(file.clone()),
        StorePlace::User => Ok(user_store()?.ok_or_else(|| {
            ConfigError::value(
                "measurements",
                "the system names no home folder; set GRAPHPRUNE_HOME, or name a file",
            )
        })?),
    }
}

/// The store of all runs of the user, its folder created where it is missing; `None` where the
/// system names no home folder.
pub(crate) fn user_store() -> Result<Option<PathBuf>, PipelineError> {
    let path = latency::user_store();
    if let Some(folder) = path.as_deref().and_then(Path::parent) {
        fs::create_dir_all(folder).map_err(|e| {
            PipelineError::io(folder, "create the user's folder of measurements", e)
        })?;
    }
    Ok(path)
}
