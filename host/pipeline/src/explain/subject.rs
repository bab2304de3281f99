//! From what a user names to two networks and a device.

use std::fs;
use std::path::Path;

use channels::AnalysisOptions;
use latency::Model;
use onnx_graph::Graph;

use super::pair::Pair;
use super::{ExplainRequest, ExplainSubject};
use crate::config::RunConfig;
use crate::error::PipelineError;
use crate::folder::CONFIG_FILE;
use crate::model::{read_model_file, refuse_training};
use crate::records::{Records, StageName};
use crate::stages::export::FinalRow;

/// Two networks, and the device they are compared on.
pub(super) struct Subject {
    pub original: Model,
    pub pruned: Model,
    pub device: String,
    graphs: [Graph; 2],
    groups: AnalysisOptions,
}

impl Subject {
    /// Reads what a request names.
    pub fn find(request: &ExplainRequest) -> Result<Self, PipelineError> {
        let (original, pruned, device, mut groups) = match &request.what {
            ExplainSubject::Files { original, pruned } => {
                let device = String::from("local");
                let groups = AnalysisOptions::default();
                (original.clone(), pruned.clone(), device, groups)
            }
            ExplainSubject::Run(root) => {
                let config = root.join(CONFIG_FILE);
                let pruned = pruned_file(root)?;
                let text = fs::read_to_string(&config)
                    .map_err(|e| PipelineError::io(&config, "read the configuration", e))?;
                let config = RunConfig::stored(&text, config)?;
                let original = root.join("original.onnx");
                (original, root.join(pruned), config.device.0, config.groups)
            }
        };
        if let Some(attention) = request.attention {
            groups.attention = attention;
        }
        let graphs = [read_model_file(&original)?, read_model_file(&pruned)?];
        for (graph, file) in graphs.iter().zip([&original, &pruned]) {
            refuse_training(graph, &file.display().to_string())?;
            if !graph.open_inputs().is_empty() {
                return Err(PipelineError::UnfitModel {
                    model: file.display().to_string(),
                    reason: "leaves sizes of its input open besides the batch; export the original and its pruned form at one fixed size"
                        .into(),
                });
            }
        }
        Ok(Self {
            graphs,
            original: Model::read(original.display().to_string(), &original)?,
            pruned: Model::read(pruned.display().to_string(), &pruned)?,
            device: request.device.clone().unwrap_or(device),
            groups,
        })
    }

    /// The networks with the widths between them.
    pub fn pair(&self) -> Result<Pair, PipelineError> {
        let [original, pruned] = self.graphs.clone();
        let pair = Pair::new(original, pruned, self.groups)?;
        pair.map_err(|reason| PipelineError::Unrelated {
            original: self.original.name().to_owned(),
            pruned: self.pruned.name().to_owned(),
            reason,
        })
    }
}

/// The file of a finished run's pruned network, refused or not.
fn pruned_file(root: &Path) -> Result<String, PipelineError> {
    if !root.join(CONFIG_FILE).is_file() {
        return Err(PipelineError::NoRun {
            path: root.to_owned(),
        });
    }
    let unfinished = || PipelineError::NoReport {
        path: root.to_owned(),
    };
    let records = root.join("run.sqlite");
    if !records.is_file() {
        return Err(unfinished());
    }
    let row = Records::open(&records)?.stage::<FinalRow>(&StageName::new("export/pruned"))?;
    Ok(row.ok_or_else(unfinished)?.file)
}
