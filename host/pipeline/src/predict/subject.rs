//! The network whose latency is asked for.

use channels::{Analysis, PrunePlan, importance_order};
use latency::Model;
use latency_model::CostTable;
use onnx_graph::{Deployed, Graph, deploy};
use search::{Space, WidthGrid};

use super::PredictRequest;
use crate::error::PipelineError;
use crate::missing::all_counted;
use crate::model::{load_model, read_spec};
use crate::prepare::width_space;

/// A network whose latency is asked for.
pub(super) struct Subject {
    pub name: String,
    graph: Graph,
    analysis: Analysis,
    order: Vec<Vec<usize>>,
    pub table: CostTable,
    pub space: Space,
}

impl Subject {
    pub fn find(request: &PredictRequest) -> Result<Self, PipelineError> {
        let (graph, analysis) = if request.model.zoo_name().is_some() {
            let (classes, input) = (request.classes, request.input);
            let model = load_model(&request.model, classes, input, 0, request.groups)?;
            (model.graph, model.analysis)
        } else {
            let graph = read_spec(&request.model)?;
            all_counted(&graph, &request.model.name, "a prediction")?;
            let analysis = channels::analyse_with(&graph, request.groups)?;
            (graph, analysis)
        };
        Ok(Self {
            name: request.model.name.clone(),
            order: importance_order(&graph, &analysis),
            table: CostTable::new(&graph, &analysis),
            space: width_space(&analysis, &WidthGrid::default())?,
            graph,
            analysis,
        })
    }

    pub fn widths(&self, request: &PredictRequest) -> Result<Vec<usize>, PipelineError> {
        let sizes = self.space.full().0;
        let kept = |&n: &usize| ((n as f64 * request.keep).round() as usize).clamp(1, n);
        let widths = match &request.widths {
            Some(widths) => widths.clone(),
            None => sizes.iter().map(kept).collect(),
        };
        // Also where no network is cut, as for a prediction from kernels alone, widths that leave none are refused.
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

    pub fn model(&self, widths: &[usize]) -> Result<Model, PipelineError> {
        let bytes = self.deployed(widths)?.bytes;
        Ok(Model::new(format!("{} {widths:?}", self.name), bytes))
    }
}
