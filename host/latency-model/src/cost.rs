//! The cost of a width configuration, computed without building its network: the action bound
//! evaluates hundreds of configurations per step.

use std::collections::{BTreeMap, BTreeSet};

use channels::{Analysis, AxisCount, GroupId};
use onnx_graph::cost::costs;
use onnx_graph::ops::Op;
use onnx_graph::{Graph, Node, NodeId, ValueId};

use crate::{Kernel, Precision};

mod times;

pub use times::LayerTimes;

/// The numbers of channels reached by varying one group at a time over its admissible widths,
/// ascending; the full number is among them.
fn reachable(axis: &AxisCount, widths: &[Vec<usize>]) -> Vec<usize> {
    let full: Vec<usize> = widths
        .iter()
        .map(|widths| widths.last().copied().unwrap_or(0))
        .collect();
    let mut numbers = BTreeSet::from([axis.kept(&full)]);
    for share in axis.shares() {
        let group = share.group.0;
        let mut changed = full.clone();
        for &width in &widths[group] {
            changed[group] = width;
            numbers.insert(axis.kept(&changed));
        }
    }
    numbers.remove(&0);
    numbers.into_iter().collect()
}

/// The entry of a configuration for a part of the network that computes in integers.
pub const IN_INTEGERS: usize = 1;

/// The entry of a configuration for a part of the network that computes in floats.
pub const IN_FLOATS: usize = 2;

/// A layer with multiplications: `outputs x inputs x scale` MACs per image.
#[derive(Debug, Clone)]
struct Layer {
    outputs: AxisCount,
    inputs: AxisCount,
    scale: f64,
    /// Groups whose width 0 removes this layer.
    removed_by: Vec<usize>,
    kernel: Option<Kernel>,
    /// The part that the layer belongs to, if its precision is open.
    part: Option<Part>,
    name: String,
}

/// The precision of a layer where that is open.
#[derive(Debug, Clone)]
struct Part {
    /// Index of the part's entry in a configuration.
    entry: usize,
    /// The layer's kernel in integers.
    kernel: Option<Kernel>,
}

impl Layer {
    /// A layer between pinned values, whose cost depends on no width.
    fn fixed(node: &Node, macs: u64) -> Self {
        Self {
            outputs: AxisCount::fixed(1),
            inputs: AxisCount::fixed(1),
            scale: macs as f64,
            removed_by: Vec::new(),
            kernel: None,
            part: None,
            name: node.name.clone(),
        }
    }

    fn is_in_integers(&self, widths: &[usize]) -> bool {
        let part = self.part.as_ref();
        part.is_some_and(|part| widths[part.entry] == IN_INTEGERS)
    }

    fn is_removed(&self, widths: &[usize]) -> bool {
        self.removed_by.iter().any(|&g| widths[g] == 0)
    }

    /// MACs per image with the output channels rounded up to a multiple of `block`.
    fn macs(&self, widths: &[usize], block: f64) -> f64 {
        if self.is_removed(widths) {
            return 0.0;
        }
        let outputs = (self.outputs.kept(widths) as f64 / block).ceil() * block;
        outputs * self.inputs.kept(widths) as f64 * self.scale
    }
}

/// The MACs of every layer as a function of the widths. Layers of unknown cost
/// ([`Costs::uncounted`](onnx_graph::cost::Costs::uncounted)) are left out.
#[derive(Debug, Clone)]
pub struct CostTable {
    layers: Vec<Layer>,
    /// The configuration of the whole network: the channels of every group, then
    /// [`IN_FLOATS`] for every part whose precision is open.
    sizes: Vec<usize>,
    groups: usize,
    full_macs: f64,
}

impl CostTable {
    /// Builds the table of a network with the groups of `analysis`.
    pub fn new(graph: &Graph, analysis: &Analysis) -> Self {
        let sizes: Vec<usize> = analysis.groups().iter().map(|g| g.channels).collect();
        let mut removed_by: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
        for g in 0..sizes.len() {
            for &node in analysis.removal(GroupId(g)).map_or(&[][..], |r| &r.dead) {
                removed_by.entry(node).or_default().push(g);
            }
        }
        let counted = costs(graph);
        let layers: Vec<Layer> = graph
            .iter()
            .zip(&counted.nodes)
            .filter(|(_, cost)| cost.macs > 0)
            .map(|((id, node), cost)| {
                let mut layer =
                    layer(graph, analysis, node).unwrap_or_else(|| Layer::fixed(node, cost.macs));
                layer.removed_by = removed_by.remove(&id).unwrap_or_default();
                layer.kernel = Kernel::of(graph, node);
                layer
            })
            .collect();
        let mut table = Self {
            layers,
            groups: sizes.len(),
            sizes: sizes.clone(),
            full_macs: 0.0,
        };
        table.full_macs = table.macs(&sizes);
        table
    }

    /// Leaves the precision of parts of the network open. Each part is given by the names of its
    /// layers, in the order of the network; its layers compute in floats, or in `integers`.
    ///
    /// A configuration then has an entry for each part after those of the groups:
    /// [`IN_INTEGERS`] or [`IN_FLOATS`].
    #[must_use]
    pub fn with_parts(mut self, parts: &[BTreeSet<String>], integers: Precision) -> Self {
        self.sizes.truncate(self.groups);
        for layer in &mut self.layers {
            let part = parts.iter().position(|part| part.contains(&layer.name));
            layer.part = part.map(|part| Part {
                entry: self.groups + part,
                kernel: layer
                    .kernel
                    .as_ref()
                    .and_then(|kernel| kernel.in_precision(integers)),
            });
        }
        self.sizes.extend(parts.iter().map(|_| IN_FLOATS));
        self
    }

    /// The entries of `widths` for the parts of open precision.
    fn parts<'w>(&self, widths: &'w [usize]) -> &'w [usize] {
        &widths[self.groups..self.sizes.len()]
    }

    /// Returns the MACs of the unpruned network per image.
    pub fn full_macs(&self) -> f64 {
        self.full_macs
    }

    /// Returns the MACs per image of a configuration, one width a group.
    pub fn macs(&self, widths: &[usize]) -> f64 {
        self.layers.iter().map(|l| l.macs(widths, 1.0)).sum()
    }

    /// Returns the features of the latency model: each layer's MACs as a share of the full
    /// network's, for output channels rounded up to blocks of 1, 4, 8 and 16. Parts of open
    /// precision add whether each is in integers, how many MACs that concerns, and whether it
    /// differs from the part before, because a boundary costs conversions.
    ///
    /// Kernels of inference runtimes work in such blocks, so the rounded counts follow the steps
    /// of a device's latency. On an x86-64 core with AVX-512 they reduced the prediction error
    /// for a ResNet-20 from 4.6 to 2.0 % with 30 measured configurations, and from 3.7 to 1.0 %
    /// with 100.
    pub fn features(&self, widths: &[usize]) -> Vec<f64> {
        let blocks = BLOCKS.iter().flat_map(|&block| {
            self.layers
                .iter()
                .map(move |l| l.macs(widths, block) / self.full_macs.max(1.0))
        });
        let mut features: Vec<f64> = blocks.collect();
        let parts = self.parts(widths);
        for (part, &precision) in parts.iter().enumerate() {
            let belongs =
                |l: &&Layer| matches!(&l.part, Some(of) if of.entry == self.groups + part);
            let layers = self.layers.iter().filter(belongs);
            let macs: f64 = layers.map(|l| l.macs(widths, 1.0)).sum();
            let integers = f64::from(u8::from(precision == IN_INTEGERS));
            let before = part
                .checked_sub(1)
                .map_or(IN_FLOATS, |before| parts[before]);
            let boundary = f64::from(u8::from(before != precision));
            features.extend([
                integers,
                integers * macs / self.full_macs.max(1.0),
                boundary,
            ]);
        }
        features
    }

    /// Returns the names of the layers, in the order of [`CostTable::layer_ns`].
    pub fn layer_names(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().map(|layer| layer.name.as_str())
    }
}

/// Channels in one vector register: 1 (no vectors), 4 (NEON), 8 (AVX2), 16 (AVX-512).
const BLOCKS: [f64; 4] = [1.0, 4.0, 8.0, 16.0];

/// Positions per image: the product of all axes but the channels.
fn positions(graph: &Graph, value: ValueId) -> f64 {
    let shape = graph.value(value).shape.as_deref().unwrap_or_default();
    let others = shape.iter().enumerate().filter(|(axis, _)| *axis != 1);
    let all: f64 = others.map(|(_, d)| d.per_image() as f64).product();
    all / graph.images() as f64
}

fn layer(graph: &Graph, analysis: &Analysis, node: &Node) -> Option<Layer> {
    match &node.op {
        Op::Conv(_) | Op::ConvTranspose(_) => convolution(graph, analysis, node),
        Op::Gemm(op) => {
            let summed = usize::from(!op.trans_a);
            product(graph, analysis, node, [(0, summed)])
        }
        Op::MatMul(_) => {
            let rank = graph.value(node.input(0)?).shape.as_ref()?.len();
            product(graph, analysis, node, [(0, rank.checked_sub(1)?)])
        }
        Op::Einsum(op) => product(graph, analysis, node, op.summed()),
        _ => None,
    }
}

fn convolution(graph: &Graph, analysis: &Analysis, node: &Node) -> Option<Layer> {
    let weight = node.input(1)?;
    let dims = graph.constant(weight)?.dims().to_vec();
    let axes = analysis.constant_axes(weight);
    let channels_of = |axis: usize| {
        axes.iter()
            .find(|(owned, _)| *owned == axis)
            .map_or_else(|| AxisCount::fixed(dims[axis]), |(_, count)| count.clone())
    };
    let taps: f64 = dims[2..].iter().map(|&d| d as f64).product();
    let (outputs, inputs, scale) = match &node.op {
        // The weight's second axis has the outputs of one group.
        Op::ConvTranspose(_) => (
            channels_of(1),
            channels_of(0),
            positions(graph, node.input(0)?),
        ),
        _ => (
            channels_of(0),
            channels_of(1),
            positions(graph, node.output()),
        ),
    };
    Some(Layer {
        outputs,
        inputs,
        scale: taps * scale,
        removed_by: Vec::new(),
        kernel: None,
        part: None,
        name: node.name.clone(),
    })
}

/// A matrix product: every element of the output is a sum over the `summed` axes of the operands,
/// each an (operand, axis) pair.
fn product(
    graph: &Graph,
    analysis: &Analysis,
    node: &Node,
    summed: impl IntoIterator<Item = (usize, usize)>,
) -> Option<Layer> {
    let shape = |value: ValueId| graph.value(value).shape.as_deref();
    let follows = |value: ValueId, axis: usize| {
        let (channel_axis, count) = analysis.value_axis(value)?;
        (channel_axis == axis).then_some(count)
    };
    let (mut scale, mut inputs, mut outputs) = (1.0 / graph.images() as f64, None, None);
    for (axis, dim) in shape(node.output())?.iter().enumerate() {
        match follows(node.output(), axis) {
            Some(channels) => outputs = Some(channels),
            None => scale *= dim.per_image() as f64,
        }
    }
    for (operand, axis) in summed {
        let value = node.input(operand)?;
        match follows(value, axis).filter(|_| inputs.is_none()) {
            Some(channels) => inputs = Some(channels),
            None => scale *= shape(value)?.get(axis)?.per_image() as f64,
        }
    }
    let one = || AxisCount::fixed(1);
    Some(Layer {
        outputs: outputs.unwrap_or_else(one),
        inputs: inputs.unwrap_or_else(one),
        scale,
        removed_by: Vec::new(),
        kernel: None,
        part: None,
        name: node.name.clone(),
    })
}

#[cfg(test)]
mod tests;
