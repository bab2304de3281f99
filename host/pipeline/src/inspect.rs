//! What can be pruned in a network and what it costs, without a run.

use channels::{Analysis, AnalysisOptions, GroupId};
use onnx_graph::Graph;
use onnx_graph::cost::costs;
use serde::Serialize;

use crate::error::PipelineError;
use crate::model::{ModelSpec, load_model, read_spec};

/// A prunable group, for people.
#[derive(Debug, Clone, Serialize)]
pub struct GroupInfo {
    /// Name of the group.
    pub name: String,
    /// Channels that can be kept or dropped.
    pub channels: usize,
    /// Layers whose outputs belong to it.
    pub producers: Vec<String>,
    /// Whether it may be emptied, which removes the residual branch that it is in.
    pub removable: bool,
}

/// Channels that stay, for people.
#[derive(Debug, Clone, Serialize)]
pub struct PinnedInfo {
    /// The node, input or output that pins them.
    pub node: String,
    /// Coupled sets of channels.
    pub channels: usize,
    /// Why.
    pub reason: String,
}

/// A layer's share of the costs.
#[derive(Debug, Clone, Serialize)]
pub struct LayerInfo {
    /// The node.
    pub name: String,
    /// Its operator.
    pub operator: String,
    /// Multiply-accumulates per image.
    pub macs: u64,
    /// Parameters.
    pub parameters: u64,
}

/// Everything `inspect` shows.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// Operator set version.
    pub opset: i64,
    /// Nodes.
    pub nodes: usize,
    /// Inputs with their shapes; a name stands for an open dimension.
    pub inputs: Vec<(String, Vec<String>)>,
    /// Outputs likewise.
    pub outputs: Vec<(String, Vec<String>)>,
    /// Multiply-accumulates per image.
    pub macs: u64,
    /// Parameters.
    pub parameters: u64,
    /// Bytes of all activations per image.
    pub activation_bytes: u64,
    /// Prunable groups in topological order.
    pub groups: Vec<GroupInfo>,
    /// What is pinned and why.
    pub pinned: Vec<PinnedInfo>,
    /// Layers with weights.
    pub layers: Vec<LayerInfo>,
}

/// Looks at a network.
#[must_use]
pub fn inspect(graph: &Graph, analysis: &Analysis) -> Inspection {
    let cost = costs(graph);
    let ports = |ids: &[onnx_graph::ValueId]| {
        ids.iter()
            .map(|&id| {
                let value = graph.value(id);
                let shape = value.shape.iter().flatten();
                let shape = shape.map(|d| match d {
                    onnx_graph::Dim::Known(n) => n.to_string(),
                    onnx_graph::Dim::Symbol(s) => s.clone(),
                });
                (value.name.clone(), shape.collect())
            })
            .collect()
    };
    let groups = analysis.groups().iter().enumerate();
    let groups = groups.map(|(i, g)| GroupInfo {
        removable: analysis.removal(GroupId(i)).is_some(),
        name: g.name.clone(),
        channels: g.channels,
        producers: g
            .producers
            .iter()
            .map(|&p| graph.node(p).name.clone())
            .collect(),
    });
    let pinned = analysis.pinned().iter().map(|p| PinnedInfo {
        node: p.node.clone(),
        channels: p.channels,
        reason: p.reason.clone(),
    });
    let layers = cost.nodes.iter().filter(|n| n.macs > 0).map(|n| LayerInfo {
        name: graph.node(n.node).name.clone(),
        operator: graph.node(n.node).op.name().to_owned(),
        macs: n.macs,
        parameters: n.parameters,
    });
    Inspection {
        opset: graph.opset,
        nodes: graph.nodes().len(),
        inputs: ports(graph.inputs()),
        outputs: ports(graph.outputs()),
        macs: cost.macs,
        parameters: cost.parameters,
        activation_bytes: cost.activation_bytes,
        groups: groups.collect(),
        pinned: pinned.collect(),
        layers: layers.collect(),
    }
}

/// Loads a network (see [`crate::load_model`]) and looks at it.
///
/// # Errors
/// When the network cannot be loaded.
pub fn inspect_model(
    spec: &ModelSpec,
    classes: usize,
    input: [usize; 3],
    groups: AnalysisOptions,
) -> Result<Inspection, PipelineError> {
    let (graph, analysis) = if spec.zoo_name().is_some() {
        let model = load_model(spec, classes, input, 0, groups)?;
        (model.graph, model.analysis)
    } else {
        // Looking is not pruning: what is no classifier of images can be looked at too.
        let graph = read_spec(spec)?;
        let analysis = channels::analyse_with(&graph, groups)?;
        (graph, analysis)
    };
    Ok(inspect(&graph, &analysis))
}

/// The networks of the zoo with a line on each.
#[must_use]
pub fn zoo_networks() -> Vec<(&'static str, &'static str)> {
    model_zoo::names()
        .iter()
        .map(|n| (n.name, n.description))
        .collect()
}
