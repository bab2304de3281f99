//! The split of times among groups. Pure arithmetic.
//!
//! A layer's time is split among the groups whose channels it produces or consumes, in proportion
//! to the logarithm of how much each narrowed it: a layer from 64 to 32 channels that keeps 32
//! and 16 is shared half and half. Where several groups lie on one axis, the axis' part is split
//! by the channels that each lost. A removed layer belongs to the groups that were emptied.
//! Predicted and measured times are split alike, so that both add up to the sum over the layers.

use std::collections::BTreeMap;

use channels::{Analysis, AxisCount, GroupId};
use onnx_graph::{Graph, NodeId};

/// The shares of groups in a layer's time: group and part, the parts together 1; empty where no
/// group narrowed the layer.
pub(super) type Shares = Vec<(usize, f64)>;

/// A layer's two axes of channels.
pub(super) struct Sides {
    inputs: AxisCount,
    outputs: AxisCount,
    /// Groups whose emptying removes the layer.
    removed_by: Vec<usize>,
}

impl Sides {
    /// The sides of a node.
    pub fn of(graph: &Graph, analysis: &Analysis, id: NodeId) -> Self {
        let node = graph.node(id);
        let axis = |value| {
            let axis = analysis.value_axis(value);
            axis.map_or_else(AxisCount::default, |(_, count)| count)
        };
        let removed = (0..analysis.groups().len()).filter(|&g| {
            let removal = analysis.removal(GroupId(g));
            removal.is_some_and(|removal| removal.dead.binary_search(&id).is_ok())
        });
        Self {
            inputs: node.input(0).map_or_else(AxisCount::default, axis),
            outputs: axis(node.output()),
            removed_by: removed.collect(),
        }
    }

    /// Whether the layer's time depends on the width of a group.
    pub fn concerns(&self, group: usize) -> bool {
        let sides = [&self.inputs, &self.outputs];
        sides.iter().any(|axis| axis.depends_on(GroupId(group))) || self.removed_by.contains(&group)
    }

    /// Input and output channels at these widths.
    pub fn channels(&self, widths: &[usize]) -> (usize, usize) {
        (self.inputs.kept(widths), self.outputs.kept(widths))
    }

    /// The groups that narrowed the layer, with their parts.
    pub fn shares(&self, widths: &[usize]) -> Shares {
        let emptied: Vec<usize> = self
            .removed_by
            .iter()
            .copied()
            .filter(|&g| widths[g] == 0)
            .collect();
        if !emptied.is_empty() {
            let part = 1.0 / emptied.len() as f64;
            return emptied.into_iter().map(|g| (g, part)).collect();
        }
        let mut weights: BTreeMap<usize, f64> = BTreeMap::new();
        for axis in [&self.inputs, &self.outputs] {
            let (before, after) = (axis.full() as f64, axis.kept(widths) as f64);
            if after >= before || after <= 0.0 {
                continue;
            }
            let narrowing = (before / after).ln();
            for share in axis.shares() {
                let (g, units) = (share.group.0, share.units.max(1) as f64);
                let gone = share.channels as f64 * (1.0 - widths[g] as f64 / units);
                *weights.entry(g).or_default() += narrowing * gone / (before - after);
            }
        }
        let whole: f64 = weights.values().sum();
        weights
            .into_iter()
            .filter(|&(_, weight)| weight > 0.0)
            .map(|(g, weight)| (g, weight / whole))
            .collect()
    }
}

/// Splits saved times: per group, and of layers without a group.
pub(super) fn split(saved: &[f64], shares: &[Shares], groups: usize) -> (Vec<f64>, f64) {
    let (mut of, mut unshared) = (vec![0.0; groups], 0.0);
    for (&ns, shares) in saved.iter().zip(shares) {
        if shares.is_empty() {
            unshared += ns;
        }
        for &(g, part) in shares {
            of[g] += part * ns;
        }
    }
    (of, unshared)
}

/// Half the 95 % interval of a group's saving, from those of its layers in both networks. Their
/// errors are independent: a factor common to a whole profile was removed.
pub(super) fn uncertainty(group: usize, shares: &[Shares], spreads: &[Vec<f64>; 2]) -> f64 {
    let squares = shares.iter().enumerate().flat_map(|(layer, shares)| {
        let part = shares.iter().find(|share| share.0 == group);
        let part = part.map_or(0.0, |share| share.1);
        let each = spreads.iter().map(move |spreads| spreads[layer]);
        each.filter(move |_| part > 0.0)
            .map(move |half| (part * half).powi(2))
    });
    squares.sum::<f64>().sqrt()
}
