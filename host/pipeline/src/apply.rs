//! Cutting a network without training: the units of a plan, or those with the largest weights.

use std::path::{Path, PathBuf};

use channels::{AnalysisOptions, PrunePlan, importance_order};
use onnx_graph::cost::costs;
use onnx_graph::write;
use serde::Serialize;

use crate::config::ModelSpec;
use crate::error::PipelineError;
use crate::folder::write_named;
use crate::model::{hex_sha256, read_model_bytes, refuse_training};
use crate::plan::{CutPlan, Planned};
use crate::prepare::share_of_units;
use crate::provenance::Provenance;

/// What a cut keeps.
#[derive(Debug, Clone, PartialEq)]
pub enum Keep {
    /// A share of each group's units, those with the largest weights; at least one.
    Share(f64),
    /// So many units of each group, in the order of `inspect`, those with the largest weights; 0
    /// removes a branch.
    Widths(Vec<usize>),
    /// The units that a plan lists.
    Plan(PathBuf),
}

/// A network to cut.
#[derive(Debug, Clone)]
pub struct ApplyRequest {
    /// The network, an ONNX file.
    pub model: ModelSpec,
    /// How channels are grouped.
    pub groups: AnalysisOptions,
    /// What is kept.
    pub keep: Keep,
    /// The file of the cut network.
    pub out: PathBuf,
    /// Where the plan is written, if anywhere.
    pub plan: Option<PathBuf>,
}

/// A network that was cut.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Applied {
    /// The file.
    pub file: PathBuf,
    /// The width of each group.
    pub widths: Vec<usize>,
    /// MACs per image before and after, of the layers whose cost is known.
    pub macs: (u64, u64),
    /// Whether the cost of every layer is known.
    pub counted: bool,
    /// Parameters before and after.
    pub parameters: (u64, u64),
    /// Bytes of the file.
    pub bytes: usize,
}

/// Cuts a network and writes it to [`ApplyRequest::out`]. Its weights stay as they are.
///
/// # Errors
/// When the network or the plan cannot be read, the plan or the widths do not fit, or a file
/// cannot be written.
pub fn apply(request: &ApplyRequest) -> Result<Applied, PipelineError> {
    let name = request.model.name();
    let path = Path::new(name);
    let file = std::fs::read(path).map_err(|e| PipelineError::io(path, "read the model", e))?;
    let sha256 = hex_sha256(&file);
    let graph = read_model_bytes(path, file, &request.model.input_sizes)?;
    refuse_training(&graph, name)?;
    let analysis = channels::analyse_with(&graph, request.groups)?;
    let order = || importance_order(&graph, &analysis);
    let plan = match &request.keep {
        Keep::Plan(path) => {
            let units = CutPlan::read(path)?.units(&graph, &analysis);
            units.map_err(|reason| PipelineError::BadPlan {
                path: path.clone(),
                reason,
            })?
        }
        Keep::Widths(widths) if widths.len() != analysis.groups().len() => {
            return Err(PipelineError::UnfitModel {
                model: name.to_owned(),
                reason: format!(
                    "it has {} groups, and {} widths are given; `graphprune inspect {name}` lists the groups",
                    analysis.groups().len(),
                    widths.len()
                ),
            });
        }
        Keep::Widths(widths) => PrunePlan::from_widths(&analysis, &order(), widths)?,
        Keep::Share(share) => {
            let widths = share_of_units(&analysis, *share);
            PrunePlan::from_widths(&analysis, &order(), &widths)?
        }
    };
    let pruned = channels::prune(&graph, &analysis, &plan)?;
    let origin = Provenance::new(name, &sha256).with("budget", "none: cut without training");
    let bytes = write(&pruned).and_then(|onnx| origin.stamp(&onnx));
    let bytes = bytes.map_err(|source| PipelineError::Model {
        model: name.to_owned(),
        source,
    })?;
    write_named(&request.out, &bytes)?;
    if let Some(place) = &request.plan {
        let stem = path.file_stem();
        let stem = stem.map_or_else(|| name.into(), |stem| stem.to_string_lossy());
        let described = CutPlan::new(
            Planned {
                file: (&stem, &sha256),
                given: &graph,
                graph: &graph,
                analysis: &analysis,
            },
            &plan,
        )?;
        write_named(place, &described.to_json()?)?;
    }
    let (before, after) = (costs(&graph), costs(&pruned));
    Ok(Applied {
        file: request.out.clone(),
        widths: plan.widths(),
        macs: (before.macs, after.macs),
        counted: before.uncounted.is_empty() && after.uncounted.is_empty(),
        parameters: (before.parameters, after.parameters),
        bytes: bytes.len(),
    })
}
