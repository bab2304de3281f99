//! What is not known of a network's costs, and what to do about it.

use onnx_graph::cost::{Costs, costs};
use onnx_graph::{Dim, Graph, NodeId};
use serde::Serialize;

use crate::error::PipelineError;

/// What a network's figures leave out, as nodes with their operators.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Inputs of which more than the batch is open, each with the option that gives its size. Nothing but parameters is counted
    /// then.
    pub open_inputs: Vec<OpenInput>,
    /// Layers whose multiply-accumulates are not counted.
    pub macs: Vec<String>,
    /// Nodes whose outputs' bytes are not counted.
    pub activations: Vec<String>,
    /// Nodes that may hold parameters inside, which are not counted.
    pub parameters: Vec<String>,
    /// The nodes behind which sizes are not known.
    pub origins: Vec<String>,
}

/// An input that leaves sizes open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenInput {
    /// Its name.
    pub name: String,
    /// Its shape, if it is stated.
    pub shape: Option<Vec<String>>,
}

impl OpenInput {
    /// The option that gives its size, a word in the place of each size to fill in.
    fn option(&self) -> String {
        let sizes = match &self.shape {
            Some(shape) => shape.iter().enumerate().map(|(axis, dim)| {
                match (axis, shape.len(), dim.parse::<usize>()) {
                    (_, _, Ok(size)) => size.to_string(),
                    (0, ..) => "1".into(),
                    (2, 4, _) => "HEIGHT".into(),
                    (3, 4, _) => "WIDTH".into(),
                    _ => "SIZE".into(),
                }
            }),
            None => return format!("--input-size {}=1x3xHEIGHTxWIDTH", self.name),
        };
        format!(
            "--input-size {}={}",
            self.name,
            sizes.collect::<Vec<_>>().join("x")
        )
    }
}

/// The most nodes that a message names.
const NAMED: usize = 3;

fn listed(nodes: &[String]) -> String {
    let first = nodes
        .iter()
        .take(NAMED)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match nodes.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

impl Missing {
    /// What the costs of a network leave out.
    #[must_use]
    pub fn of(graph: &Graph, costs: &Costs) -> Self {
        let named = |ids: &[NodeId]| {
            let nodes = ids.iter().map(|&id| graph.node(id));
            nodes
                .map(|n| format!("{} ({})", n.name, n.op.name()))
                .collect()
        };
        let open = graph.open_inputs().into_iter().map(|id| {
            let value = graph.value(id);
            let shape = value.shape.as_ref();
            OpenInput {
                name: value.name.clone(),
                shape: shape.map(|dims| dims.iter().map(Dim::to_string).collect()),
            }
        });
        Self {
            open_inputs: open.collect(),
            macs: named(&costs.uncounted),
            activations: named(&costs.unsized_nodes),
            parameters: named(&costs.hidden),
            origins: named(&costs.origins),
        }
    }

    /// Whether figures of multiply-accumulates hold.
    #[must_use]
    pub fn knows_macs(&self) -> bool {
        self.open_inputs.is_empty() && self.macs.is_empty()
    }

    /// Which inputs leave sizes open, and the options that give them.
    #[must_use]
    pub fn open(&self) -> Option<String> {
        if self.open_inputs.is_empty() {
            return None;
        }
        let each = self.open_inputs.iter().map(|input| match &input.shape {
            Some(shape) => format!("'{}' [{}]", input.name, shape.join(", ")),
            None => format!("'{}'", input.name),
        });
        let options = self.open_inputs.iter().map(OpenInput::option);
        Some(format!(
            "the model leaves sizes of its input {} open; give them: {}",
            each.collect::<Vec<_>>().join(" and "),
            options.collect::<Vec<_>>().join(" ")
        ))
    }

    /// Which layers are not counted, and why; `None` where all are.
    #[must_use]
    pub fn macs_text(&self) -> Option<String> {
        if let Some(open) = self.open() {
            return Some(open);
        }
        let count = self.macs.len();
        let layers = match count {
            0 => return None,
            1 => "1 layer is not counted",
            _ => "layers are not counted",
        };
        let layers = match count {
            1 => layers.to_owned(),
            _ => format!("{count} {layers}"),
        };
        let why = if self.origins.is_empty() {
            "what it multiplies follows no rule that this program has; export the model with operators of ONNX in its place"
                .to_owned()
        } else {
            format!(
                "the sizes behind {} are not known; export the model with fixed shapes, or with another operator there",
                listed(&self.origins)
            )
        };
        Some(format!("{layers}: {}; {why}", listed(&self.macs)))
    }

    /// What the bytes of activations leave out.
    #[must_use]
    pub fn activations_text(&self) -> Option<String> {
        let nodes = (!self.activations.is_empty()).then(|| listed(&self.activations))?;
        Some(format!(
            "the outputs of {} nodes are not counted: {nodes}",
            self.activations.len()
        ))
    }

    /// What the number of parameters leaves out.
    #[must_use]
    pub fn parameters_text(&self) -> Option<String> {
        let nodes = (!self.parameters.is_empty()).then(|| listed(&self.parameters))?;
        Some(format!("what is inside of {nodes} is not counted"))
    }
}

/// Refuses `what` for a network whose multiply-accumulates are not all known.
pub(crate) fn all_counted(
    graph: &Graph,
    model: &str,
    what: &'static str,
) -> Result<(), PipelineError> {
    match Missing::of(graph, &costs(graph)).macs_text() {
        None => Ok(()),
        Some(reason) => Err(PipelineError::Uncounted {
            model: model.to_owned(),
            what,
            reason,
        }),
    }
}
