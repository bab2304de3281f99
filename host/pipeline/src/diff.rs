//! Two networks, group by group: files, or the results of runs.

use std::fs;
use std::path::{Path, PathBuf};

use latency::stats::Interval;
use onnx_graph::cost::costs;
use report::{ReportData, Role};
use serde::Serialize;

use crate::error::PipelineError;
use crate::folder::{CONFIG_FILE, PLAN, REPORT_DATA, RESULT};
use crate::model::read_model_file;
use crate::plan::CutPlan;

/// One of two networks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DiffSide {
    /// The file.
    pub file: PathBuf,
    /// MACs per image, of the layers whose cost is known.
    pub macs: u64,
    /// Parameters.
    pub parameters: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Accuracy on the test split, of a run's result.
    pub test_accuracy: Option<f64>,
    /// The 95 % interval of the accuracy.
    pub test_interval: Option<(f64, f64)>,
    /// Latency over that of the run's original, of a run's result.
    pub latency_ratio: Option<Interval>,
}

/// The widths of a group in both networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupDiff {
    /// The group.
    pub name: String,
    /// Channels of the first network; `None` where it has no such group.
    pub first: Option<usize>,
    /// Channels of the second.
    pub second: Option<usize>,
    /// Channels that both keep, of results of two runs from the same file.
    pub common: Option<usize>,
}

/// Two networks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NetworkDiff {
    /// The networks.
    pub sides: [DiffSide; 2],
    /// The groups of either, in the order of the first.
    pub groups: Vec<GroupDiff>,
}

/// What is compared.
struct Side {
    figures: DiffSide,
    /// Name, width and, of a run's result, the kept channels of each group.
    groups: Vec<(String, usize, Option<Vec<usize>>)>,
    /// SHA-256 of the network that a run began with.
    original: Option<String>,
}

/// Compares two networks, each an ONNX file or the folder of a finished run.
///
/// # Errors
/// When a file cannot be read, or a run is not finished.
pub fn diff(first: &Path, second: &Path) -> Result<NetworkDiff, PipelineError> {
    let [a, b] = [Side::read(first)?, Side::read(second)?];
    let same_original = a.original.is_some() && a.original == b.original;
    let mut groups = Vec::new();
    for (name, width, kept) in &a.groups {
        let twin = b.groups.iter().find(|(other, ..)| other == name);
        let common = match (kept, twin) {
            (Some(kept), Some((_, _, Some(other)))) if same_original => {
                Some(kept.iter().filter(|unit| other.contains(unit)).count())
            }
            _ => None,
        };
        groups.push(GroupDiff {
            name: name.clone(),
            first: Some(*width),
            second: twin.map(|(_, width, _)| *width),
            common,
        });
    }
    let known = |name: &String| a.groups.iter().any(|(other, ..)| other == name);
    for (name, width, _) in b.groups.iter().filter(|(name, ..)| !known(name)) {
        groups.push(GroupDiff {
            name: name.clone(),
            first: None,
            second: Some(*width),
            common: None,
        });
    }
    Ok(NetworkDiff {
        sides: [a.figures, b.figures],
        groups,
    })
}

impl Side {
    fn read(path: &Path) -> Result<Self, PipelineError> {
        if path.is_dir() {
            Self::of_run(path)
        } else {
            Self::of_file(path)
        }
    }

    fn of_file(path: &Path) -> Result<Self, PipelineError> {
        let graph = read_model_file(path)?;
        let analysis = channels::analyse(&graph)?;
        let groups = analysis.groups().iter();
        Ok(Self {
            groups: groups.map(|g| (g.name.clone(), g.channels, None)).collect(),
            figures: figures(path, &graph)?,
            original: None,
        })
    }

    fn of_run(root: &Path) -> Result<Self, PipelineError> {
        let path = || root.to_owned();
        if !root.join(CONFIG_FILE).is_file() {
            return Err(PipelineError::NoRun { path: path() });
        }
        let [file, plan, report] = [RESULT, PLAN, REPORT_DATA].map(|name| root.join(name));
        if !file.is_file() || !plan.is_file() || !report.is_file() {
            return Err(PipelineError::NoReport { path: path() });
        }
        let plan = CutPlan::read(&plan)?;
        let text = fs::read(&report)
            .map_err(|e| PipelineError::io(&report, "read the report's data", e))?;
        let data: ReportData =
            serde_json::from_slice(&text).map_err(|e| PipelineError::BadRecord {
                reason: e.to_string(),
            })?;
        let mut figures = figures(&file, &read_model_file(&file)?)?;
        if let Some(row) = data.rows.iter().find(|row| row.role == Role::Pruned) {
            figures.test_accuracy = row.test_accuracy;
            figures.test_interval = row.test_interval;
            let measured = row.latency.as_ref();
            figures.latency_ratio =
                measured.and_then(|of| Some((of.ratio?, of.ratio_low?, of.ratio_high?).into()));
        }
        let groups = plan.groups.into_iter();
        Ok(Self {
            groups: groups
                .map(|g| (g.name, g.keep.len(), Some(g.keep)))
                .collect(),
            figures,
            original: Some(plan.model_sha256),
        })
    }
}

fn figures(path: &Path, graph: &onnx_graph::Graph) -> Result<DiffSide, PipelineError> {
    let cost = costs(graph);
    let about = fs::metadata(path).map_err(|e| PipelineError::io(path, "read", e))?;
    Ok(DiffSide {
        file: path.to_owned(),
        macs: cost.macs,
        parameters: cost.parameters,
        bytes: about.len(),
        test_accuracy: None,
        test_interval: None,
        latency_ratio: None,
    })
}
