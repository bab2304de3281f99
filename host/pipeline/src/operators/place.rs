//! From the names of a runtime's operators to the layers of the file that it was given.
//!
//! ONNX Runtime fuses nodes and rewrites them for a blocked memory order, and names the results
//! in several ways:
//! - an operator that is unchanged, or into which its neighbours are fused, keeps its node's
//!   name;
//! - a convolution or pool in blocks (NCHWc) has the name of the *value* that it produces, which
//!   is that of the last node fused into it, with the suffix `_nchwc`: `/Relu_output_0_nchwc`;
//! - some fusions have the name `fused NAME`, others a suffix: `NAME/MatMulAddFusion`;
//! - a name that is taken gets the suffix `_token_N`;
//! - operators that the runtime adds (`ReorderInput`, `ReorderOutput_token_52`) have names of
//!   their own.

use std::collections::{BTreeMap, BTreeSet};

use latency::NodeProvider;
use onnx_graph::{Graph, NodeId, ValueId};

/// Suffix of the value that a kernel in blocks produces.
const BLOCKED: &str = "_nchwc";

/// Nodes between a fused operator's last node and its layer: normalisation, addition, activation
/// (which can be two nodes).
const FUSED: usize = 6;

/// A network whose operators are looked up.
pub(crate) struct Places<'g> {
    graph: &'g Graph,
    nodes: BTreeMap<&'g str, NodeId>,
    producers: Vec<Option<NodeId>>,
    layers: BTreeSet<NodeId>,
}

impl<'g> Places<'g> {
    /// `layers` are the nodes that multiply.
    pub fn new(graph: &'g Graph, layers: impl IntoIterator<Item = NodeId>) -> Self {
        Self {
            graph,
            nodes: graph.iter().map(|(id, n)| (n.name.as_str(), id)).collect(),
            producers: graph.producers(),
            layers: layers.into_iter().collect(),
        }
    }

    /// The layer that an operator computes; `None` for other operators.
    pub fn layer(&self, operator: &NodeProvider) -> Option<NodeId> {
        if !multiplies(&operator.op_type) {
            return None;
        }
        let name = without_token(&operator.node);
        let name = name.strip_prefix("fused ").unwrap_or(name);
        let made = name.strip_suffix(BLOCKED).map(without_token);
        let value = made.and_then(|made| self.graph.find_value(made));
        let origin = match value {
            Some(value) => self.producers[value.index()],
            None => [&operator.node[..], name]
                .iter()
                .find_map(|name| self.nodes.get(name).copied())
                .or_else(|| self.named_before(name)),
        };
        self.back_to_layer(origin?)
    }

    /// The node with the longest name that is a prefix of `name`, up to a separator.
    fn named_before(&self, name: &str) -> Option<NodeId> {
        let marks = name.char_indices().rev();
        let mut ends = marks.filter(|(_, c)| matches!(c, '/' | '_' | '-' | '.' | ' '));
        ends.find_map(|(end, _)| self.nodes.get(&name[..end]).copied())
    }

    /// The layer whose result reached `node` through nodes that a runtime fuses with it.
    fn back_to_layer(&self, mut node: NodeId) -> Option<NodeId> {
        for _ in 0..FUSED {
            if self.layers.contains(&node) {
                return Some(node);
            }
            let producer = |value: &ValueId| self.producers[value.index()];
            let inputs = self.graph.node(node).inputs.iter().flatten();
            let producers: Vec<NodeId> = inputs.filter_map(producer).collect();
            let layer = producers.iter().find(|id| self.layers.contains(id));
            node = *layer.or(producers.first())?;
        }
        None
    }
}

/// Whether an operator of the runtime computes a layer, fused or not.
fn multiplies(op_type: &str) -> bool {
    ["Conv", "Gemm", "MatMul", "Einsum"]
        .iter()
        .any(|layer| op_type.contains(layer))
}

/// The name without its suffix of uniqueness.
fn without_token(name: &str) -> &str {
    let Some((before, number)) = name.rsplit_once("_token_") else {
        return name;
    };
    let whole = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    if whole { before } else { name }
}

/// The kernel of an operator, as far as the profile shows: its operator, and whether it works in
/// blocks of channels.
pub(crate) fn kernel(operator: &NodeProvider) -> String {
    // A fused activation does not make another kernel.
    let kind = operator.op_type.trim_start_matches("Fused");
    if is_blocked(operator) {
        format!("{kind} in blocks")
    } else {
        kind.to_owned()
    }
}

/// Whether an operator works in blocks of channels.
pub(crate) fn is_blocked(operator: &NodeProvider) -> bool {
    without_token(&operator.node).ends_with(BLOCKED)
}
