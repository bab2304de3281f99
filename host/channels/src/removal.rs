//! Groups that may be emptied: those whose loss silences a branch that an addition joins with a live one.
//!
//! A residual block whose inner channels are all dropped computes nothing but its biases. Where those would end in an
//! [`Add`](Op::Add) beside a value of the same shape, the block can go as a whole: the addition passes its other operand
//! on. A device gains more by that than by narrowing, because no kernel, no memory traffic and no rounding up to a
//! block of channels remains.

use std::collections::{BTreeSet, HashMap};

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
    // Per group the values that are all its own; `None` where a value is only partly.
    let mut owned: Vec<Option<Vec<usize>>> = vec![Some(Vec::new()); analysis.groups().len()];
    for (index, owner) in owners.iter().enumerate() {
        match owner {
            Owner::Whole(g) => owned[g.0].iter_mut().for_each(|list| list.push(index)),
            Owner::Several(groups) => groups.iter().for_each(|g| owned[g.0] = None),
            Owner::Nobody => {}
        }
    }
    let mut accepted: Vec<Found> = Vec::new();
    let mut removals = vec![None; analysis.groups().len()];
    for (g, slot) in removals.iter_mut().enumerate() {
        let Some(owned) = owned[g].as_deref() else {
            continue;
        };
        let ends = (consumers.as_slice(), producers.as_slice());
        let Some(found) = walk(graph, ends, &owners, owned, GroupId(g)) else {
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
#[derive(Clone, PartialEq, Eq)]
enum Owner {
    Nobody,
    Whole(GroupId),
    /// Several groups, or one beside pinned channels.
    Several(Vec<GroupId>),
}

fn owners(analysis: &Analysis) -> Vec<Owner> {
    // Most values share their channels with their neighbours.
    let mut known: HashMap<*const u32, Owner> = HashMap::new();
    let mut owner = |value: &Option<AxisAtoms>| {
        let Some((_, atoms)) = value else {
            return Owner::Nobody;
        };
        let found = known.entry(atoms.as_ptr());
        found.or_insert_with(|| owner_of(analysis, atoms)).clone()
    };
    analysis.values.iter().map(&mut owner).collect()
}

fn owner_of(analysis: &Analysis, atoms: &[u32]) -> Owner {
    let group = |a: &u32| analysis.unit(*a).map(|u| u.group);
    let first = atoms.first().and_then(group);
    if atoms.iter().all(|a| group(a) == first) {
        return first.map_or(Owner::Nobody, Owner::Whole);
    }
    let mut groups: Vec<GroupId> = atoms.iter().filter_map(group).collect();
    groups.sort_unstable();
    groups.dedup();
    Owner::Several(groups)
}

/// Follows the silence of `group`, which owns the values `owned`.
fn walk(
    graph: &Graph,
    (consumers, producers): (&[Vec<NodeId>], &[Option<NodeId>]),
    owners: &[Owner],
    owned: &[usize],
    group: GroupId,
) -> Option<Found> {
    let start = owned.iter().map(|&index| producers[index]);
    let mut queue: BTreeSet<NodeId> = start.collect::<Option<_>>()?;
    let mut silent: BTreeSet<ValueId> = BTreeSet::new();
    let mut survivors = BTreeSet::new();
    let mut dead: BTreeSet<NodeId> = BTreeSet::new();
    let mut bypassed = Vec::new();
    // Node ids are in topological order, and every value is followed forwards only.
    while let Some(id) = queue.pop_first() {
        let node = graph.node(id);
        let outputs = || node.outputs.iter().flatten();
        let mut heard = false;
        let mut live = node.inputs.iter().flatten().filter(|v| {
            let quiet = silent.contains(v);
            heard |= quiet;
            !quiet && graph.constant(**v).is_none()
        });
        let emptied = |v: &ValueId| owners[v.index()] == Owner::Whole(group);
        let makes = makes_channels(&node.op) && outputs().all(emptied);
        if makes || (live.next().is_none() && heard) {
            if outputs().any(|v| graph.outputs().contains(v)) {
                return None;
            }
            for &v in outputs() {
                silent.insert(v);
                queue.extend(&consumers[v.index()]);
            }
            dead.insert(id);
        } else {
            let at = survivor(graph, id, &silent)?;
            bypassed.push((id, at));
            survivors.extend(node.input(at));
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
