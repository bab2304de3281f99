//! Groups that may be emptied: those whose loss silences a branch that an addition joins with a live one.
//!
//! A residual block whose inner channels are all dropped computes nothing but its biases. Where those would end in an
//! [`Add`](Op::Add) beside a value of the same shape, the block can go as a whole: the addition passes its other operand
//! on. A device gains more by that than by narrowing, because no kernel, no memory traffic and no rounding up to a
//! block of channels remains.

use std::collections::BTreeSet;

use onnx_graph::ops::Op;
use onnx_graph::{Graph, NodeId, ValueId};

use crate::analysis::{Analysis, AxisAtoms, GroupId};

/// What becomes of a network when one group keeps no channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Nodes that compute nothing any more, ascending.
    pub dead: Vec<NodeId>,
    /// Additions that pass one operand on, with that operand's position, ascending.
    pub bypassed: Vec<(NodeId, usize)>,
}

/// A removal with the values by which removals can get into each other's way.
struct Found {
    removal: Removal,
    silent: BTreeSet<ValueId>,
    survivors: BTreeSet<ValueId>,
}

/// Per group its removal. Any set of the groups that have one may be emptied together.
pub(crate) fn find(graph: &Graph, analysis: &Analysis) -> Vec<Option<Removal>> {
    let consumers = graph.consumers();
    let producers = graph.producers();
    let owners = owners(analysis);
    let mut accepted: Vec<Found> = Vec::new();
    let mut removals = vec![None; analysis.groups().len()];
    for (g, slot) in removals.iter_mut().enumerate() {
        let Some(found) = walk(graph, &consumers, &producers, &owners, GroupId(g)) else {
            continue;
        };
        // Where one branch survives only by another that can go too, both together would leave nothing.
        let clash = accepted.iter().any(|other| {
            !other.survivors.is_disjoint(&found.silent)
                || !found.survivors.is_disjoint(&other.silent)
        });
        if !clash {
            *slot = Some(found.removal.clone());
            accepted.push(found);
        }
    }
    removals
}

/// Who owns the channel axis of a value.
#[derive(PartialEq, Eq)]
enum Owner {
    Nobody,
    Whole(GroupId),
    /// Several groups, or one beside pinned channels.
    Several(Vec<GroupId>),
}

fn owners(analysis: &Analysis) -> Vec<Owner> {
    let owner = |value: &Option<AxisAtoms>| {
        let Some((_, atoms)) = value else {
            return Owner::Nobody;
        };
        let group = |a: &u32| analysis.unit(*a).map(|u| u.group);
        let first = atoms.first().and_then(group);
        if atoms.iter().all(|a| group(a) == first) {
            return first.map_or(Owner::Nobody, Owner::Whole);
        }
        let mut groups: Vec<GroupId> = atoms.iter().filter_map(group).collect();
        groups.sort_unstable();
        groups.dedup();
        Owner::Several(groups)
    };
    analysis.values.iter().map(owner).collect()
}

fn walk(
    graph: &Graph,
    consumers: &[Vec<NodeId>],
    producers: &[Option<NodeId>],
    owners: &[Owner],
    group: GroupId,
) -> Option<Found> {
    let mut queue: BTreeSet<NodeId> = BTreeSet::new();
    for (index, owner) in owners.iter().enumerate() {
        match owner {
            Owner::Whole(g) if *g == group => {
                queue.insert(producers[index]?);
            }
            Owner::Several(groups) if groups.contains(&group) => return None,
            _ => {}
        }
    }
    let mut silent: BTreeSet<ValueId> = BTreeSet::new();
    let mut survivors = BTreeSet::new();
    let mut dead: BTreeSet<NodeId> = BTreeSet::new();
    let mut bypassed = Vec::new();
    // Node ids are in topological order, and every value is followed forwards only.
    while let Some(id) = queue.pop_first() {
        let node = graph.node(id);
        let live: Vec<ValueId> = node
            .inputs
            .iter()
            .flatten()
            .copied()
            .filter(|v| graph.constant(*v).is_none() && !silent.contains(v))
            .collect();
        let heard = node.inputs.iter().flatten().any(|v| silent.contains(v));
        let outputs: Vec<ValueId> = node.outputs.iter().flatten().copied().collect();
        let emptied = |v: &ValueId| owners[v.index()] == Owner::Whole(group);
        let makes = outputs.iter().all(emptied) && makes_channels(&node.op);
        if makes || (heard && live.is_empty()) {
            if outputs.iter().any(|v| graph.outputs().contains(v)) {
                return None;
            }
            for v in outputs {
                silent.insert(v);
                queue.extend(&consumers[v.index()]);
            }
            dead.insert(id);
        } else {
            bypassed.push((id, survivor(graph, id, &silent)?));
            survivors.extend(live);
        }
    }
    let mut behind: Vec<NodeId> = dead.iter().copied().collect();
    while let Some(id) = behind.pop() {
        for v in graph.node(id).inputs.iter().flatten() {
            let Some(maker) = producers[v.index()].filter(|p| !dead.contains(p)) else {
                continue;
            };
            let unread = graph.node(maker).outputs.iter().flatten().all(|o| {
                !graph.outputs().contains(o)
                    && consumers[o.index()].iter().all(|c| dead.contains(c))
            });
            if unread {
                dead.insert(maker);
                behind.push(maker);
            }
        }
    }
    Some(Found {
        removal: Removal {
            dead: dead.into_iter().collect(),
            bypassed,
        },
        silent,
        survivors,
    })
}

/// Layers that make channels of their own: without them the layer is not needed, whatever it reads.
fn makes_channels(op: &Op) -> bool {
    matches!(
        op,
        Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm(_) | Op::MatMul(_)
    )
}

/// The operand that an addition can pass on in the place of its sum: of the same shape and type, beside a silent one.
fn survivor(graph: &Graph, id: NodeId, silent: &BTreeSet<ValueId>) -> Option<usize> {
    let node = graph.node(id);
    let (Op::Add(_), [Some(left), Some(right)]) = (&node.op, node.inputs.as_slice()) else {
        return None;
    };
    let at = match (silent.contains(left), silent.contains(right)) {
        (true, false) => 1,
        (false, true) => 0,
        _ => return None,
    };
    let (from, to) = (graph.value([*left, *right][at]), graph.value(node.output()));
    (from.shape.is_some() && from.shape == to.shape && from.dtype == to.dtype).then_some(at)
}
