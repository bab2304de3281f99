//! The widths between a network and its pruned form, from the shapes of their weights.

use std::collections::BTreeMap;

use channels::{Analysis, AnalysisOptions, AxisCount, AxisShare, GroupId, PrunePlan};
use onnx_graph::cost::{NodeCost, costs};
use onnx_graph::ops::Op;
use onnx_graph::{Graph, Node, ValueId};

/// A network, its pruned form and the widths between them.
pub(super) struct Pair {
    pub original: Graph,
    pub pruned: Graph,
    pub analysis: Analysis,
    /// Channels of each group in the pruned network.
    pub widths: Vec<usize>,
}

impl Pair {
    /// Compares the weights of layers of equal names.
    ///
    /// # Errors
    /// Why `pruned` cannot have come from `original`, in words; or that the original cannot be
    /// analysed.
    pub fn new(
        original: Graph,
        pruned: Graph,
        options: AnalysisOptions,
    ) -> Result<Result<Self, String>, channels::ChannelError> {
        let analysis = channels::analyse_with(&original, options)?;
        let widths = match widths(&original, &pruned, &analysis) {
            Ok(widths) => widths,
            Err(reason) => return Ok(Err(reason)),
        };
        if let Err(reason) = confirm(&original, &pruned, &analysis, &widths)? {
            return Ok(Err(reason));
        }
        Ok(Ok(Self {
            original,
            pruned,
            analysis,
            widths,
        }))
    }

    /// Channels of each group in the original.
    pub fn sizes(&self) -> Vec<usize> {
        let groups = self.analysis.groups().iter();
        groups.map(|group| group.channels).collect()
    }
}

fn by_name(graph: &Graph) -> BTreeMap<&str, &Node> {
    let nodes = graph.nodes().iter();
    nodes.map(|node| (node.name.as_str(), node)).collect()
}

/// The size of one axis as the sum of its groups' widths, times the indices of each unit, and of
/// the pinned indices.
struct Equation<'a> {
    node: &'a str,
    axis: AxisCount,
    size: usize,
}

/// The axes of weights that are in both networks.
fn equations<'a>(
    original: &'a Graph,
    pruned: &Graph,
    analysis: &Analysis,
) -> Result<Vec<Equation<'a>>, String> {
    let nodes = by_name(pruned);
    let mut equations = Vec::new();
    for node in original.nodes() {
        let Some(twin) = nodes.get(node.name.as_str()) else {
            continue;
        };
        if twin.op.name() != node.op.name() {
            return Err(format!(
                "'{}' is a {} there and a {} in the original",
                node.name,
                twin.op.name(),
                node.op.name()
            ));
        }
        for (i, value) in node.inputs.iter().enumerate() {
            let (Some(value), Some(cut)) = (*value, pruned.constant_input(twin, i)) else {
                continue;
            };
            for (position, axis) in analysis.constant_axes(value) {
                if let Some(&size) = cut.dims().get(position) {
                    equations.push(Equation {
                        node: &node.name,
                        axis,
                        size,
                    });
                }
            }
        }
    }
    Ok(equations)
}

impl Equation<'_> {
    /// The only unknown group of the axis, and the width that follows for it.
    fn solve(&self, known: &[Option<usize>]) -> Option<(usize, Result<usize, String>)> {
        let shares = self.axis.shares();
        let mut unknown = shares.iter().filter(|s| known[s.group.0].is_none());
        let &AxisShare {
            group,
            channels,
            units,
        } = unknown.next()?;
        if unknown.next().is_some() {
            return None;
        }
        let others = shares.iter();
        let others = others.filter_map(|share| Some(share.kept(known[share.group.0]?)));
        let left = self
            .size
            .checked_sub(self.axis.pinned() + others.sum::<usize>());
        let width = left
            .filter(|left| (left * units).is_multiple_of(channels))
            .map(|left| left * units / channels)
            .filter(|&width| width <= units);
        let width = width.ok_or_else(|| {
            format!(
                "'{}' has {} channels there, which is no part of the original's {}",
                self.node,
                self.size,
                self.axis.full()
            )
        });
        Some((group.0, width))
    }
}

/// The width of each group, from the axes of weights: first from those of a single group.
fn widths(original: &Graph, pruned: &Graph, analysis: &Analysis) -> Result<Vec<usize>, String> {
    let groups = analysis.groups();
    let sizes: Vec<usize> = groups.iter().map(|group| group.channels).collect();
    let equations = equations(original, pruned, analysis)?;
    let nodes = by_name(pruned);
    let gone = |g: usize| {
        let mut producers = groups[g].producers.iter();
        producers.all(|&p| !nodes.contains_key(original.node(p).name.as_str()))
    };
    let mut known: Vec<Option<usize>> = vec![None; groups.len()];
    for (g, width) in known.iter_mut().enumerate().filter(|(g, _)| gone(*g)) {
        *width = Some(match analysis.removal(GroupId(g)) {
            Some(_) => 0,
            // It was removed with the branch of another group.
            None if goes_with_another(analysis, g) => sizes[g],
            None => {
                return Err(format!(
                    "no layer of the group '{}' is in it",
                    groups[g].name
                ));
            }
        });
    }
    while let Some((group, width)) = equations.iter().find_map(|e| e.solve(&known)) {
        known[group] = Some(width?);
    }
    let all = known.into_iter().zip(groups);
    all.map(|(width, group)| {
        width.ok_or_else(|| format!("it does not contain the width of '{}'", group.name))
    })
    .collect()
}

fn goes_with_another(analysis: &Analysis, group: usize) -> bool {
    let mut removals = (0..analysis.groups().len())
        .filter(|&g| g != group)
        .filter_map(|g| analysis.removal(GroupId(g)));
    removals.any(|removal| {
        let mut producers = analysis.groups()[group].producers.iter();
        producers.all(|p| removal.dead.contains(p))
    })
}

/// Cuts the original to the widths: the layers and the shapes of their weights must be those of
/// the pruned network.
fn confirm(
    original: &Graph,
    pruned: &Graph,
    analysis: &Analysis,
    widths: &[usize],
) -> Result<Result<(), String>, channels::ChannelError> {
    let order: Vec<Vec<usize>> = analysis
        .groups()
        .iter()
        .map(|group| (0..group.channels).collect())
        .collect();
    let plan = PrunePlan::from_widths(analysis, &order, widths)?;
    let expected = layers(&channels::prune(original, analysis, &plan)?);
    let found = layers(pruned);
    for (name, dims) in &expected {
        match found.get(name) {
            None => return Ok(Err(format!("it has no layer '{name}'"))),
            Some(other) if other != dims => {
                return Ok(Err(format!(
                    "the weights of '{name}' are {other:?} there; pruning the original's could give {dims:?}"
                )));
            }
            Some(_) => {}
        }
    }
    Ok(
        match found.keys().find(|name| !expected.contains_key(*name)) {
            Some(name) => Err(format!("its layer '{name}' is not in the original")),
            None => Ok(()),
        },
    )
}

/// The shapes of weights by layer; empty for a product of two computed values.
fn layers(graph: &Graph) -> BTreeMap<String, Vec<usize>> {
    let costs = costs(graph);
    let multiplies = |cost: &&NodeCost| {
        let opaque = matches!(graph.node(cost.node).op, Op::Opaque(_));
        !opaque && (cost.macs > 0 || costs.uncounted.contains(&cost.node))
    };
    let named = costs.nodes.iter().filter(multiplies).map(|cost| {
        let node = graph.node(cost.node);
        let weight = |value: &ValueId| graph.constant(*value).map(|t| t.dims().to_vec());
        let dims = node.inputs.iter().flatten().skip(1).find_map(weight);
        (node.name.clone(), dims.unwrap_or_default())
    });
    named.collect()
}
