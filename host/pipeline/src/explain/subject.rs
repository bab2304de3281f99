//! From a request to two networks and a device.

use std::fs;
use std::path::Path;

use channels::AnalysisOptions;
use latency::{Model, Profile};
use onnx_graph::Graph;
use onnx_graph::cost::costs;

use super::pair::Pair;
use super::request::{ExplainRequest, ExplainSubject};
use crate::board::refuse_floats;
use crate::config::{DeviceSpec, RunConfig};
use crate::error::PipelineError;
use crate::folder::{CONFIG_FILE, ORIGINAL, RECORDS_FILE};
use crate::missing::Missing;
use crate::model::{read_sized_model, refuse_training};
use crate::records::Records;
use crate::sizes::with_input_sizes;
use crate::stages::export::NetworkRole;

/// Two networks, and the device on which they are compared.
pub(super) struct Subject {
    pub original: Model,
    pub pruned: Model,
    pub device: DeviceSpec,
    graphs: [Graph; 2],
    groups: AnalysisOptions,
}

impl Subject {
    /// Reads the networks of a request.
    pub fn new(request: &ExplainRequest) -> Result<Self, PipelineError> {
        let (original, pruned, device, mut groups) = match &request.what {
            ExplainSubject::Files { original, pruned } => {
                let device = DeviceSpec::default();
                let groups = AnalysisOptions::default();
                (original.clone(), pruned.clone(), device, groups)
            }
            ExplainSubject::Run(root) => {
                let config = root.join(CONFIG_FILE);
                let pruned = pruned_file(root)?;
                let text = fs::read_to_string(&config)
                    .map_err(|e| PipelineError::io(&config, "read the configuration", e))?;
                let config = RunConfig::stored(&text, config)?;
                let original = root.join(ORIGINAL);
                (
                    original,
                    root.join(pruned),
                    config.device,
                    config.groups.analysis(),
                )
            }
        };
        if let Some(attention) = request.attention {
            groups.attention = attention;
        }
        let sizes = &request.input_sizes;
        let graphs = [
            read_sized_model(&original, sizes)?,
            read_sized_model(&pruned, sizes)?,
        ];
        for (graph, file) in graphs.iter().zip([&original, &pruned]) {
            refuse_training(graph, &file.display().to_string())?;
            if let Some(reason) = Missing::of(graph, &costs(graph)).open() {
                return Err(PipelineError::UnfitModel {
                    model: file.display().to_string(),
                    reason,
                });
            }
        }
        let model = |path: &Path| -> Result<Model, PipelineError> {
            let model = Model::read(path.display().to_string(), path)?;
            Ok(with_input_sizes(vec![model], sizes)?.remove(0))
        };
        Ok(Self {
            graphs,
            original: model(&original)?,
            pruned: model(&pruned)?,
            device: request.device.clone().unwrap_or(device),
            groups,
        })
    }

    /// Refuses networks in floats for a board.
    pub fn refuse_floats(&self, profile: &Profile) -> Result<(), PipelineError> {
        let models = [&self.original, &self.pruned];
        let mut networks = models.into_iter().zip(&self.graphs);
        networks.try_for_each(|(model, graph)| refuse_floats(profile, model.name(), graph))
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
    let records = root.join(RECORDS_FILE);
    if !records.is_file() {
        return Err(unfinished());
    }
    let row = Records::open(&records)?.get(&NetworkRole::Pruned.key())?;
    Ok(row.ok_or_else(unfinished)?.file)
}
