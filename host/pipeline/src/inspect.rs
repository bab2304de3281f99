//! The prunable groups of a network and its costs, without a run.

use channels::{Analysis, AnalysisOptions, ChannelError, Cut, GroupId, PrunePlan, apply, cut};
use latency::{BoardSpec, Profile};
use onnx_graph::Graph;
use onnx_graph::cost::{Costs, NodeCost, costs};
use serde::Serialize;

use crate::board::{BoardNeeds, MemoryLimits, board_of};
use crate::config::{ConfigError, DeviceSpec, ModelSource, ModelSpec};
use crate::error::PipelineError;
use crate::missing::Missing;
use crate::model::{load_model, read_spec, training_nodes};
use crate::provenance::provenance;

/// A prunable group, for output.
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

/// Channels that stay, for output.
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
    /// Multiply-accumulates per image; `None` where they are not known.
    pub macs: Option<u64>,
    /// Parameters.
    pub parameters: u64,
}

/// What is left of the costs when every group keeps half of its channels, rounded up.
#[derive(Debug, Clone, Serialize)]
pub struct HalfInfo {
    /// Multiply-accumulates per image; `None` if input sizes are open.
    pub macs: Option<u64>,
    /// Parameters.
    pub parameters: u64,
}

/// Parameters of a node that stay whatever the widths of the groups.
#[derive(Debug, Clone, Serialize)]
pub struct FixedInfo {
    /// The node that reads them first.
    pub node: String,
    /// Its operator.
    pub operator: String,
    /// Number of parameters.
    pub parameters: u64,
}

/// The result of [`inspect`].
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// Operator set version.
    pub opset: i64,
    /// Where the network comes from, by key, if its file says so.
    pub provenance: Vec<(String, String)>,
    /// Nodes.
    pub nodes: usize,
    /// Inputs with their shapes; an open dimension appears by its name.
    pub inputs: Vec<(String, Vec<String>)>,
    /// Outputs likewise.
    pub outputs: Vec<(String, Vec<String>)>,
    /// Outputs that are no tensors of numbers, with their types in words. What computes them stays
    /// as it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_outputs: Vec<(String, String)>,
    /// Multiply-accumulates per image, at least: [`Inspection::missing`] lists the layers that
    /// are not counted. `None` where an input leaves sizes open.
    pub macs: Option<u64>,
    /// Parameters, at least.
    pub parameters: u64,
    /// Bytes of all activations per image, at least; `None` where an input leaves sizes open.
    pub activation_bytes: Option<u64>,
    /// The gaps in these figures.
    pub missing: Missing,
    /// What is left with half of the channels.
    pub half: HalfInfo,
    /// Parameters that stay whatever is pruned, in the graph's order.
    pub fixed: Vec<FixedInfo>,
    /// Warnings before the network is pruned.
    pub warnings: Vec<String>,
    /// Prunable groups in topological order.
    pub groups: Vec<GroupInfo>,
    /// Pinned channels, with the reasons.
    pub pinned: Vec<PinnedInfo>,
    /// Layers with weights.
    pub layers: Vec<LayerInfo>,
    /// What it needs of a bare-metal board, where one is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub board: Option<BoardInspection>,
}

/// What a network needs of a bare-metal board.
#[derive(Debug, Clone, Serialize)]
pub struct BoardInspection {
    /// The chip.
    pub chip: String,
    /// What it needs.
    #[serde(flatten)]
    pub needs: BoardNeeds,
    /// What the profile says that the board has.
    pub limits: MemoryLimits,
}

impl BoardInspection {
    /// Whether the network fits within the limits that the profile states.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.needs.load(&self.limits) <= 1.0
    }
}

fn training_warning(nodes: String) -> String {
    format!(
        "{nodes}; prune refuses it without --training-mode inference, which takes them as they are at inference"
    )
}

/// Inspects a network.
///
/// # Errors
/// [`ChannelError`] if half of the channels cannot be cut, which would be a fault of the channel
/// rules.
pub fn inspect(graph: &Graph, analysis: &Analysis) -> Result<Inspection, ChannelError> {
    let cost = costs(graph);
    let keep = analysis.groups().iter();
    let keep = keep
        .map(|g| (0..g.channels.div_ceil(2)).collect())
        .collect();
    let halved = cut(graph, analysis, &PrunePlan { keep })?;
    let half = costs(&apply(graph, &halved)?);
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
    let outputs = graph.outputs().iter().copied();
    let outputs: Vec<onnx_graph::ValueId> =
        outputs.filter(|&id| !graph.is_inner_output(id)).collect();
    let others = graph.other_outputs();
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
    let missing = Missing::of(graph, &cost);
    let sized = missing.open_inputs.is_empty();
    let known = |n: &NodeCost| !cost.uncounted.contains(&n.node);
    let layers = cost.nodes.iter().filter(|n| n.macs > 0 || !known(n));
    let layers = layers.map(|n| LayerInfo {
        name: graph.node(n.node).name.clone(),
        operator: graph.node(n.node).op.name().to_owned(),
        macs: known(n).then_some(n.macs),
        parameters: n.parameters,
    });
    let fixed = fixed_parameters(graph, &halved, &cost);
    Ok(Inspection {
        opset: graph.opset,
        provenance: provenance(graph),
        nodes: graph.nodes().len(),
        inputs: ports(graph.inputs()),
        outputs: ports(&outputs),
        other_outputs: others
            .into_iter()
            .map(|(name, kind)| (name, kind.to_owned()))
            .collect(),
        macs: sized.then_some(cost.macs),
        parameters: cost.parameters,
        activation_bytes: sized.then_some(cost.activation_bytes),
        warnings: training_nodes(graph)
            .map(training_warning)
            .into_iter()
            .collect(),
        groups: groups.collect(),
        pinned: pinned.collect(),
        layers: layers.collect(),
        half: HalfInfo {
            macs: sized.then_some(half.macs),
            parameters: half.parameters,
        },
        fixed,
        missing,
        board: None,
    })
}

/// The parameters that a cut of every group leaves as they are, by node.
fn fixed_parameters(graph: &Graph, cut: &Cut, cost: &Costs) -> Vec<FixedInfo> {
    let fixed = |n: &NodeCost| {
        let node = graph.node(n.node);
        let of = |id: &onnx_graph::ValueId| graph.constant(*id).map(|t| t.len() as u64);
        let cropped = node
            .inputs
            .iter()
            .flatten()
            .filter(|id| cut.crops.contains_key(*id));
        // What is cropped here and not counted is a statistic, or counted at an earlier node.
        let parameters = match cropped.clone().count() {
            0 => n.parameters,
            _ => n.parameters.saturating_sub(cropped.filter_map(of).sum()),
        };
        (parameters > 0).then(|| FixedInfo {
            node: node.name.clone(),
            operator: node.op.name().to_owned(),
            parameters,
        })
    };
    cost.nodes.iter().filter_map(fixed).collect()
}

/// Loads a network (see [`crate::load_model`]) and inspects it.
///
/// # Errors
/// When the network cannot be loaded.
pub fn inspect_model(
    spec: &ModelSpec,
    classes: usize,
    input: [usize; 3],
    (groups, board): (AnalysisOptions, Option<&BoardSpec>),
) -> Result<Inspection, PipelineError> {
    let (graph, analysis) = match spec.source() {
        ModelSource::Zoo(_) => {
            let model = load_model(spec, classes, input, 0, groups)?;
            (model.graph, model.analysis)
        }
        // Networks that are no image classifiers cannot be pruned, but inspected.
        ModelSource::File(_) => {
            let graph = read_spec(spec)?;
            let analysis = channels::analyse_with(&graph, groups)?;
            (graph, analysis)
        }
    };
    let mut inspection = inspect(&graph, &analysis)?;
    if let Some(board) = board {
        inspection.board = Some(BoardInspection {
            chip: board.chip.clone(),
            needs: BoardNeeds::of(&graph, board, spec.name())?,
            limits: MemoryLimits::of_profile(board),
        });
    }
    Ok(inspection)
}

/// The board of a device, or of a profile by its name or file.
///
/// # Errors
/// When there is no such device or profile, or it is of no bare-metal board.
pub fn board_by_name(
    device: Option<&DeviceSpec>,
    profile: Option<&str>,
) -> Result<Option<BoardSpec>, PipelineError> {
    let (name, board) = match (device, profile) {
        (Some(device), _) => (device.to_string(), board_of(device)?),
        (None, Some(profile)) => (profile.to_owned(), Profile::find(profile)?.board),
        (None, None) => return Ok(None),
    };
    let none = || {
        ConfigError::value(
            "device",
            format!("'{name}' is no bare-metal board: memory is known of these alone"),
        )
    };
    Ok(Some(board.ok_or_else(none)?))
}

/// The networks of the zoo with a line on each.
#[must_use]
pub fn zoo_networks() -> Vec<(&'static str, &'static str)> {
    model_zoo::names()
        .iter()
        .map(|n| (n.name, n.description))
        .collect()
}
