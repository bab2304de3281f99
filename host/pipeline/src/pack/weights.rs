//! The tensors of a written network.

use std::collections::BTreeMap;
use std::ops::Range;

use channels::weight_out_axis;
use onnx_graph::ops::Op;
use onnx_graph::{Deployed, Node, Tensor, ValueId};

/// Tensors with fewer values stay with the rest of the file, which is deflated: a line of the
/// container's table would take more than the coding saves.
const FEWEST: usize = 16;

/// The float constants of a written network.
pub(super) struct Weights {
    /// Those of layers, in the order of the network.
    pub layers: Vec<Weight>,
    /// The others, unless they are small.
    pub others: Vec<Weight>,
}

/// A float constant.
pub(super) struct Weight {
    /// Name in the file.
    pub name: String,
    pub tensor: Tensor,
    /// Axis of the output channels; 0 for those that are not of layers.
    pub channel_axis: usize,
    /// Its bytes in the file.
    pub range: Range<usize>,
}

impl Weights {
    pub fn of(deployed: &Deployed) -> Self {
        let graph = &deployed.graph;
        let mut order: Vec<ValueId> = Vec::new();
        let mut axes: BTreeMap<ValueId, Option<usize>> = BTreeMap::new();
        for (_, node) in graph.iter() {
            let Some(id) = node.input(1).filter(|_| is_layer(node)) else {
                continue;
            };
            let axis = weight_out_axis(&node.op);
            let known = axes.entry(id).or_insert_with(|| {
                order.push(id);
                Some(axis)
            });
            // Two layers that read it along different axes.
            *known = known.filter(|known| *known == axis);
        }
        let constant = |id: ValueId, channel_axis: usize| {
            let tensor = graph.constant(id)?.clone();
            let range = deployed.ranges.get(&id)?.clone();
            let is_float = tensor.as_f32().is_some() && !tensor.is_empty();
            is_float.then(|| Weight {
                name: graph.value(id).name.clone(),
                tensor,
                channel_axis,
                range,
            })
        };
        let mut of_layers = BTreeMap::new();
        for &id in &order {
            let is_matrix = graph.dims(id).is_some_and(|dims| dims.len() > 1);
            if let Some(Some(axis)) = axes.get(&id).filter(|_| is_matrix)
                && let Some(weight) = constant(id, *axis)
            {
                of_layers.insert(id, weight);
            }
        }
        let others = deployed.ranges.keys();
        let others = others.filter(|id| !of_layers.contains_key(id));
        let others = others.filter_map(|&id| constant(id, 0));
        Self {
            others: others.filter(|of| of.tensor.len() >= FEWEST).collect(),
            layers: order.iter().filter_map(|id| of_layers.remove(id)).collect(),
        }
    }
}

impl Weight {
    /// In the form of the codec.
    pub fn values(&self) -> weight_codec::Tensor<'_> {
        weight_codec::Tensor {
            name: &self.name,
            values: self.tensor.as_f32().unwrap_or_default(),
            dims: self.tensor.dims(),
            channel_axis: self.channel_axis,
        }
    }
}

/// Whether the second input of a node is multiplied with the first one.
fn is_layer(node: &Node) -> bool {
    matches!(
        node.op,
        Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm(_) | Op::MatMul(_)
    )
}
