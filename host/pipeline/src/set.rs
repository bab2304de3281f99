//! Networks for several latency budgets: one run each, which share what does not depend on the
//! budget: decisions at the start, importance, kernels, joint training, measurements, and the
//! networks that the latency model has learned from.

use std::fs;
use std::path::{Path, PathBuf};

use report::{Evidence, ReportData, Role, Row, Verdict};
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, LatencyBudget, RunConfig, StorePlace};
use crate::error::PipelineError;
use crate::folder::{CONFIG_FILE, ORIGINAL, RECORDS_FILE, write_own};
use crate::progress::{Reporter, StopFlag};
use crate::records::Records;
use crate::run::{Run, Stage};
use crate::stages::calibrate::{CALIBRATION, LEARNED_BEFORE};
use crate::stages::original::FILE as TRAINED_ORIGINAL;
use crate::stages::train::CHECKPOINT;

/// The file that makes a folder a set's.
const SET_FILE: &str = "set.json";

/// The stages whose results do not depend on the budget.
const SHARED: [&str; 10] = [
    "norms",
    "exec",
    "pace",
    "steady-threads",
    "classifies",
    "precision",
    "importance",
    "kernels",
    "original",
    "train",
];

/// The files of these stages.
const SHARED_FILES: [&str; 3] = [CHECKPOINT, TRAINED_ORIGINAL, ORIGINAL];

/// What a set's folder stores.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stored {
    budgets: Vec<LatencyBudget>,
    /// The settings of its runs, as TOML.
    config: String,
}

/// Runs for several latency budgets over one folder.
#[derive(Debug)]
pub struct RunSet {
    root: PathBuf,
    config: RunConfig,
    budgets: Vec<LatencyBudget>,
}

/// The result of one budget.
#[derive(Debug, Clone, Serialize)]
pub struct SetMember {
    /// The budget.
    pub budget: LatencyBudget,
    /// The folder of its run.
    pub folder: PathBuf,
    /// The pruned network, where there is one.
    pub model: Option<PathBuf>,
    /// Whether it meets the budget by its final measurement.
    pub within_budget: bool,
    /// Why there is no network.
    pub reason: Option<String>,
}

/// The result of a set.
#[derive(Debug, Clone, Serialize)]
pub struct SetOutcome {
    /// The networks, in the order of the budgets.
    pub members: Vec<SetMember>,
    /// The original and the networks in one table.
    pub data: ReportData,
}

impl RunSet {
    /// Starts a set in a new or empty folder.
    ///
    /// # Errors
    /// When the configuration is wrong, a budget is named twice, or the folder holds something
    /// else.
    pub fn start(
        config: RunConfig,
        budgets: Vec<LatencyBudget>,
        out: &Path,
    ) -> Result<Self, PipelineError> {
        let mut names: Vec<String> = budgets.iter().map(ToString::to_string).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(
                ConfigError::value("latency", format!("{} is given twice", pair[0])).into(),
            );
        }
        let mut config = config;
        if config.measurements == StorePlace::Run {
            let store = std::path::absolute(out.join(latency::STORE_FILE));
            let store = store.map_err(|e| PipelineError::io(out, "find", e))?;
            config.measurements = StorePlace::File(store);
        }
        let set = Self {
            root: out.to_owned(),
            config,
            budgets,
        };
        for &budget in &set.budgets {
            set.with(budget).settled()?.check()?;
        }
        if Self::is_at(out) {
            return Err(PipelineError::FolderNotEmpty {
                path: out.to_owned(),
            });
        }
        crate::folder::RunFolder::check(out)?;
        fs::create_dir_all(out)
            .map_err(|e| PipelineError::io(out, "create the folder of the set", e))?;
        let stored = Stored {
            budgets: set.budgets.clone(),
            config: set.config.to_toml()?,
        };
        set.write(&stored)?;
        Ok(set)
    }

    /// Whether the folder is that of a set.
    #[must_use]
    pub fn is_at(root: &Path) -> bool {
        root.join(SET_FILE).is_file()
    }

    /// Resumes the set in a folder.
    ///
    /// # Errors
    /// When the folder holds none, or its file cannot be read.
    pub fn resume(root: &Path) -> Result<Self, PipelineError> {
        let path = root.join(SET_FILE);
        let text = fs::read(&path).map_err(|e| PipelineError::io(&path, "read", e))?;
        let stored: Stored =
            serde_json::from_slice(&text).map_err(|e| PipelineError::BadRecord {
                reason: format!("'{}': {e}", path.display()),
            })?;
        Ok(Self {
            root: root.to_owned(),
            config: RunConfig::stored(&stored.config, path)?,
            budgets: stored.budgets,
        })
    }

    /// Runs all budgets to the end, the middle one first. A budget that no network meets does not
    /// end the set.
    ///
    /// # Errors
    /// Those of [`Run::advance`] that concern the others as well.
    pub fn advance(
        &self,
        stop: &StopFlag,
        reporter: &mut dyn Reporter,
    ) -> Result<SetOutcome, PipelineError> {
        let mut order = self.budgets.clone();
        // What is learned near the middle is worth most for the others.
        let middle = order.len() / 2;
        order[..=middle].rotate_right(1);
        let mut done: Vec<(SetMember, Option<ReportData>)> = Vec::new();
        let mut first: Option<PathBuf> = None;
        for budget in order {
            let folder = self.folder(budget);
            reporter.note(&format!("budget {budget}: {}", folder.display()));
            let mut run = if folder.join(CONFIG_FILE).is_file() {
                Run::resume(&folder)?
            } else {
                let mut run = Run::start(self.with(budget), &folder)?;
                if let Some(first) = &first {
                    inherit(run.records_mut(), first, &folder)?;
                }
                run
            };
            let ended = run.advance(Stage::Export, stop, reporter);
            drop(run);
            let member = SetMember {
                budget,
                folder: folder.clone(),
                model: None,
                within_budget: false,
                reason: None,
            };
            match ended {
                Ok(outcome) => done.push((
                    SetMember {
                        model: outcome.model,
                        within_budget: outcome.within_budget == Some(true),
                        ..member
                    },
                    outcome.data,
                )),
                Err(
                    error @ (PipelineError::BudgetOutOfReach { .. }
                    | PipelineError::NothingFeasible { .. }
                    | PipelineError::Unconfirmed { .. }
                    | PipelineError::Slower { .. }),
                ) => {
                    let reason = error.to_string();
                    reporter.warn(&format!("budget {budget}: {reason}"));
                    let reason = Some(reason);
                    done.push((SetMember { reason, ..member }, None));
                }
                Err(error) => return Err(error),
            }
            if first.is_none() && folder.join(RECORDS_FILE).is_file() {
                first = Some(folder);
            }
        }
        let place = |of: &SetMember| self.budgets.iter().position(|b| *b == of.budget);
        done.sort_by_key(|(member, _)| place(member));
        let data = table(&done);
        Ok(SetOutcome {
            members: done.into_iter().map(|(member, _)| member).collect(),
            data,
        })
    }

    fn with(&self, budget: LatencyBudget) -> RunConfig {
        let mut config = self.config.clone();
        config.budget.latency = Some(budget);
        config
    }

    fn folder(&self, budget: LatencyBudget) -> PathBuf {
        self.root.join(format!("latency-{budget}"))
    }

    fn write(&self, stored: &Stored) -> Result<(), PipelineError> {
        let json = serde_json::to_vec_pretty(stored).map_err(|e| PipelineError::BadRecord {
            reason: e.to_string(),
        })?;
        write_own(&self.root.join(SET_FILE), &json)
    }
}

/// Copies what a run shares with the first one of its set.
fn inherit(records: &mut Records, first: &Path, folder: &Path) -> Result<(), PipelineError> {
    let from = Records::open(&first.join(RECORDS_FILE))?;
    records.copy_from(&from, &SHARED)?;
    if let Some(learned) = from.get(&CALIBRATION)? {
        records.finish(&LEARNED_BEFORE, &learned)?;
    }
    for name in SHARED_FILES {
        let (shared, own) = (first.join(name), folder.join(name));
        if let (true, Some(parent)) = (shared.is_file(), own.parent()) {
            let fail = |e| PipelineError::io(&own, "copy what the runs share to", e);
            fs::create_dir_all(parent).map_err(fail)?;
            fs::copy(&shared, &own).map_err(fail)?;
        }
    }
    Ok(())
}

/// The original and the result of each budget.
fn table(done: &[(SetMember, Option<ReportData>)]) -> ReportData {
    let mut rows: Vec<Row> = Vec::new();
    let mut evidence = Evidence::default();
    for (member, data) in done {
        let Some(data) = data else { continue };
        evidence.reference.clone_from(&data.evidence.reference);
        let of = |role: Role| data.rows.iter().find(move |row| row.role == role);
        if rows.is_empty() {
            rows.extend(of(Role::Original).cloned());
        }
        rows.extend(of(Role::Pruned).map(|row| Row {
            label: member.budget.to_string(),
            ..row.clone()
        }));
    }
    let missed: Vec<String> = done
        .iter()
        .filter(|(member, _)| !member.within_budget)
        .map(|(member, _)| member.budget.to_string())
        .collect();
    ReportData {
        rows,
        verdict: if missed.is_empty() {
            Verdict::Met(format!("each of the {} budgets", done.len()))
        } else {
            Verdict::NotMet(missed.join(", "))
        },
        evidence,
        ..ReportData::default()
    }
}
