//! The history: the verdicts of all runs of the guard, with their measurements.
//!
//! It is a measurement store in the folder of baselines, separate from the user's: a job in
//! continuous integration starts on a fresh machine and carries one folder from run to run.

use std::time::{SystemTime, UNIX_EPOCH};

use latency::{Comparison, Store};

use crate::baseline::BaselineFolder;
use crate::guard::Turn;
use crate::{RegressionError, Verdict};

/// The properties shared by all comparisons of one run of the guard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GuardRun {
    /// A label such as a commit or a release; may be empty.
    pub label: String,
    /// The baseline's name; empty without one.
    pub baseline: String,
    /// The largest relative change that is not a regression.
    pub threshold: f64,
}

/// An entry of the history.
#[derive(Clone, Debug, PartialEq)]
pub struct PastComparison {
    /// The stored comparison.
    pub comparison: Comparison,
    /// Its verdict.
    pub verdict: Verdict,
}

/// The history of a folder of baselines.
pub struct History {
    store: Store,
}

impl History {
    /// Opens the history of a folder; creates both if missing.
    ///
    /// # Errors
    /// Fails if the folder cannot be created or the store cannot be opened.
    pub fn open(folder: &BaselineFolder) -> Result<Self, RegressionError> {
        let path = folder.history();
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|source| RegressionError::Io {
                doing: "make",
                path: parent.to_owned(),
                source,
            })?;
        }
        Ok(Self {
            store: Store::open(&path)?,
        })
    }

    /// Opens the history of a folder, or returns `None` if it has none.
    ///
    /// # Errors
    /// Fails if the store cannot be opened.
    pub fn open_existing(folder: &BaselineFolder) -> Result<Option<Self>, RegressionError> {
        if !folder.history().is_file() {
            return Ok(None);
        }
        Ok(Some(Self {
            store: Store::open_existing(&folder.history())?,
        }))
    }

    /// Adds the comparison of a turn with its measurements.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub fn add(&mut self, turn: &Turn, run: &GuardRun) -> Result<(), RegressionError> {
        let (compared, change) = (&turn.compared, turn.compared.change);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let comparison = Comparison {
            taken_unix_ns: now.map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)),
            label: run.label.clone(),
            model: compared.model.clone(),
            sha256: turn.key.model,
            baseline: run.baseline.clone(),
            reference: turn.key.reference,
            device: turn.key.device.clone(),
            device_name: compared.device.clone(),
            runtime: turn.key.runtime.clone(),
            setup: turn.key.setup.clone(),
            median_ns: compared.median_ns,
            median_ci95_ns: compared.median_ci95_ns,
            change: change.map(|change| change.estimate.value),
            change_ci95: change.map(|change| (change.estimate.low, change.estimate.high)),
            processes: u32::try_from(compared.processes).unwrap_or(u32::MAX),
            threshold: run.threshold,
            verdict: compared.verdict.word().to_owned(),
            notes: compared.notes.join("; "),
        };
        Ok(self
            .store
            .record(&turn.origin, &comparison, &turn.measurements)?)
    }

    /// Returns the entries from the oldest to the newest. `model` selects by name, `device` by
    /// name or identity.
    ///
    /// # Errors
    /// Fails if the store cannot be read or holds an unknown verdict.
    pub fn entries(
        &self,
        model: Option<&str>,
        device: Option<&str>,
    ) -> Result<Vec<PastComparison>, RegressionError> {
        let all = self.store.comparisons(model, device)?;
        all.into_iter()
            .map(|comparison| {
                let verdict = Verdict::of_word(&comparison.verdict).ok_or_else(|| {
                    RegressionError::History {
                        path: self.store.path().to_owned(),
                        detail: format!(
                            "the verdict `{}` is not known: use the graphprune that wrote it",
                            comparison.verdict
                        ),
                    }
                })?;
                Ok(PastComparison {
                    comparison,
                    verdict,
                })
            })
            .collect()
    }
}
