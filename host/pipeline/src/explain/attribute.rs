//! Which group a time belongs to. Pure arithmetic.
//!
//! A layer's time is split among the groups whose channels it makes or reads, in proportion to the logarithm of how much each
//! narrowed it: a layer from 64 to 32 channels, of which 32 and 16 stay, is shared half and half. Where several groups lie on one
//! axis, that axis' part is split by the channels that each gave. A layer that is gone belongs to the groups that were emptied.
//! The same split serves what was predicted and what was measured, so that both add up to the layers' sum.

use std::collections::BTreeMap;

use channels::{Analysis, AxisCount, GroupId};
use latency::{NodeProvider, stats};
use onnx_graph::{Graph, NodeId};

use super::place::Places;

/// The shares of groups in a layer's time: group and part, the parts together 1; none where no group narrowed the layer.
pub(super) type Shares = Vec<(usize, f64)>;

/// A layer's two axes of channels.
pub(super) struct Sides {
    inputs: AxisCount,
    outputs: AxisCount,
    /// Groups whose emptying takes the layer away.
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

    /// Whether the layer's time hangs on the width of a group.
    pub fn concerns(&self, group: usize) -> bool {
        let sides = [&self.inputs, &self.outputs];
        sides.iter().any(|axis| axis.depends_on(GroupId(group))) || self.removed_by.contains(&group)
    }

    /// Channels read and made at these widths.
    pub fn channels(&self, widths: &[usize]) -> (usize, usize) {
        (self.inputs.kept(widths), self.outputs.kept(widths))
    }

    /// Who narrowed the layer, and by what part.
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

/// Times saved, split: per group, and by layers of no group.
pub(super) fn split(saved: &[f64], shares: &[Shares], groups: usize) -> (Vec<f64>, f64) {
    let (mut of, mut nobody) = (vec![0.0; groups], 0.0);
    for (&ns, shares) in saved.iter().zip(shares) {
        if shares.is_empty() {
            nobody += ns;
        }
        for &(g, part) in shares {
            of[g] += part * ns;
        }
    }
    (of, nobody)
}

/// The nodes of a graph by their names; `None` for a name that it does not have.
pub(super) fn nodes_named<'a>(
    graph: &Graph,
    names: impl Iterator<Item = &'a str>,
) -> Vec<Option<NodeId>> {
    let nodes: BTreeMap<&str, NodeId> = graph.iter().map(|(id, n)| (n.name.as_str(), id)).collect();
    names.map(|name| nodes.get(name).copied()).collect()
}

/// The times of one network's operators: those of its layers, and of all others by kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Times {
    /// Per layer, ns; `None` for one that no operator is known to compute.
    pub layers: Vec<Option<f64>>,
    /// Per kind how many operators, and their time, ns.
    pub others: BTreeMap<String, (usize, f64)>,
}

impl Times {
    /// An operator's time, ns.
    pub fn of(operator: &NodeProvider) -> f64 {
        operator.time_ns.unwrap_or(0) as f64
    }

    /// The operators of one profile of a network, sorted out by layers of these names.
    pub fn of_network<'a>(
        operators: &[NodeProvider],
        graph: &Graph,
        names: impl Iterator<Item = &'a str>,
    ) -> Self {
        let layers = nodes_named(graph, names);
        let places = Places::new(graph, layers.iter().flatten().copied());
        Self::new(operators, &places, &layers)
    }

    /// Sorts the operators of one profile out. `layers` are the network's, `None` for one that it does not have.
    fn new(operators: &[NodeProvider], places: &Places<'_>, layers: &[Option<NodeId>]) -> Self {
        let mut times = Self {
            layers: vec![None; layers.len()],
            others: BTreeMap::new(),
        };
        for operator in operators {
            let layer = places.layer(operator);
            let at = layer.and_then(|id| layers.iter().position(|layer| *layer == Some(id)));
            match at {
                Some(at) => *times.layers[at].get_or_insert(0.0) += Self::of(operator),
                None => {
                    let other = times.others.entry(operator.op_type.clone()).or_default();
                    *other = (other.0 + 1, other.1 + Self::of(operator));
                }
            }
        }
        times
    }

    /// Profiles of one network sorted out, one by one. A profile is taken in a process of its own, and the machine may be slower
    /// all through it: each is scaled by what its layers differ on the median from those of the others.
    pub(super) fn of_passes<'a>(
        passes: impl Iterator<Item = &'a Vec<NodeProvider>>,
        places: &Places<'_>,
        layers: &[Option<NodeId>],
    ) -> Vec<Self> {
        let mut all: Vec<Self> = passes
            .map(|operators| Self::new(operators, places, layers))
            .collect();
        let usual = Self::medians(&all);
        for times in &mut all {
            let pairs = usual.layers.iter().zip(&times.layers);
            let factors: Vec<f64> = pairs
                .filter_map(|(usual, here)| Some((*usual)? / (*here)?))
                .filter(|factor| factor.is_finite() && *factor > 0.0)
                .collect();
            times.scale(stats::median(&factors).unwrap_or(1.0));
        }
        all
    }

    fn scale(&mut self, factor: f64) {
        let layers = self.layers.iter_mut().flatten();
        let others = self.others.values_mut().map(|(_, ns)| ns);
        layers.chain(others).for_each(|ns| *ns *= factor);
    }

    /// The medians of several profiles, layer by layer and kind by kind.
    pub fn medians(all: &[Self]) -> Self {
        let Some(first) = all.first() else {
            return Self::default();
        };
        let median = |values: Vec<f64>| stats::median(&values).unwrap_or(0.0);
        let layers = first.layers.iter().enumerate().map(|(i, known)| {
            known.map(|_| median(all.iter().filter_map(|times| times.layers[i]).collect()))
        });
        let others = first.others.iter().map(|(kind, &(count, _))| {
            let times = all.iter().filter_map(|times| times.others.get(kind));
            (kind.clone(), (count, median(times.map(|t| t.1).collect())))
        });
        Self {
            layers: layers.collect(),
            others: others.collect(),
        }
    }

    /// The sum over all operators, ns.
    pub fn sum(&self) -> f64 {
        let others: f64 = self.others.values().map(|other| other.1).sum();
        self.layers.iter().flatten().sum::<f64>() + others
    }

    /// What each layer saves from `self` to `after`, ns.
    pub fn saved(&self, after: &Self) -> Vec<f64> {
        let pairs = self.layers.iter().zip(&after.layers);
        pairs
            .map(|(before, after)| before.unwrap_or(0.0) - after.unwrap_or(0.0))
            .collect()
    }
}

/// How sure the medians of several profiles are: half of each layer's 95 % interval, ns; infinite where profiles are too few.
pub(super) fn spreads(all: &[Times]) -> Vec<f64> {
    let layers = all.first().map_or(0, |times| times.layers.len());
    let half = |layer: usize| {
        let values: Vec<f64> = all.iter().filter_map(|times| times.layers[layer]).collect();
        match stats::median_ci(&values) {
            Some((low, high)) => (high - low) / 2.0,
            None if values.is_empty() => 0.0,
            None => f64::INFINITY,
        }
    };
    (0..layers).map(half).collect()
}

/// How sure a group's saving is, from how sure the times of its layers are in both networks; those err independently of each
/// other, for what slows a whole profile down was taken out.
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
