//! The network of a prediction.

use channels::{Analysis, PrunePlan, importance_order};
use latency::{Model, Profile};
use latency_model::CostTable;
use onnx_graph::{Deployed, Graph, deploy};
use search::{Space, WidthGrid};

use super::request::PredictRequest;
use crate::board::refuse_floats;
use crate::config::ModelSource;
use crate::error::PipelineError;
use crate::inputs::width_space;
use crate::missing::all_counted;
use crate::model::{load_model, read_spec, refuse_training};
use crate::prepare::share_of_units;

/// The network of a prediction.
pub(super) struct Subject {
    pub name: String,
    graph: Graph,
    analysis: Analysis,
    order: Vec<Vec<usize>>,
    pub table: CostTable,
    pub space: Space,
}

impl Subject {
    /// Loads the network of a request.
    pub fn new(request: &PredictRequest) -> Result<Self, PipelineError> {
        let name = request.model.name();
        let (graph, analysis) = match request.model.source() {
            ModelSource::Zoo(_) => {
                let (classes, input) = (request.classes, request.input);
                let model = load_model(&request.model, classes, input, 0, request.groups)?;
                (model.graph, model.analysis)
            }
            ModelSource::File(_) => {
                let graph = read_spec(&request.model)?;
                refuse_training(&graph, name)?;
                all_counted(&graph, name, "a prediction")?;
                let analysis = channels::analyse_with(&graph, request.groups)?;
                (graph, analysis)
            }
        };
        Ok(Self {
            name: name.to_owned(),
            order: importance_order(&graph, &analysis),
            table: CostTable::new(&graph, &analysis),
            space: width_space(&analysis, &WidthGrid::default())?,
            graph,
            analysis,
        })
    }

    /// Refuses a network in floats for a board.
    pub fn refuse_floats(&self, profile: &Profile) -> Result<(), PipelineError> {
        refuse_floats(profile, &self.name, &self.graph)
    }

    /// The widths of a request.
    pub fn widths(&self, request: &PredictRequest) -> Result<Vec<usize>, PipelineError> {
        let widths = match &request.widths {
            Some(widths) => widths.clone(),
            None => share_of_units(&self.analysis, request.keep),
        };
        // A prediction from kernels alone cuts no network, but widths that leave none are refused
        // all the same.
        PrunePlan::from_widths(&self.analysis, &self.order, &widths)?;
        Ok(widths)
    }

    /// The network of these widths as it is deployed.
    pub fn deployed(&self, widths: &[usize]) -> Result<Deployed, PipelineError> {
        let plan = PrunePlan::from_widths(&self.analysis, &self.order, widths)?;
        let pruned = channels::prune(&self.graph, &self.analysis, &plan)?;
        deploy(&pruned, None).map_err(|source| PipelineError::Model {
            model: self.name.clone(),
            source,
        })
    }

    /// The ONNX file of these widths.
    pub fn model(&self, widths: &[usize]) -> Result<Model, PipelineError> {
        let bytes = self.deployed(widths)?.bytes;
        Ok(Model::new(format!("{} {widths:?}", self.name), bytes))
    }
}
