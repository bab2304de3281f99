//! Groups that may be emptied: those whose loss masks a branch that an addition joins with a live
//! one.
//!
//! A residual block whose inner channels are all dropped computes only its biases. If these end
//! in an [`Add`](Op::Add) beside a value of the same shape, the whole block is removed and the
//! addition passes its other operand on. That saves more time than narrowing, since no kernel,
//! memory traffic or rounding up to a block of channels remains.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use onnx_graph::ops::Op;
use onnx_graph::{Graph, Node, NodeId, ValueId};

use crate::atoms::Ends;
use crate::groups::{Analysis, Removal};
use crate::units::GroupId;

/// Returns the removal of each group. Any set of groups that have one may be emptied together.
pub(crate) fn find(graph: &Graph, ends: &Ends, analysis: &Analysis) -> Vec<Option<Removal>> {
    let owners = owners(analysis);
    let owner = |value: usize| {
        let map = analysis.values[value].as_ref()?;
        owners[map.atoms.number()].as_ref()
    };
    // Per group the values that it owns; `None` if it owns a value only partly.
    let mut owned: Vec<Option<Vec<usize>>> = vec![Some(Vec::new()); analysis.groups().len()];
    for value in 0..analysis.values.len() {
        match owner(value) {
            Some(Owner::Whole(g)) => owned[g.0].iter_mut().for_each(|list| list.push(value)),
            Some(Owner::Several(groups)) => groups.iter().for_each(|g| owned[g.0] = None),
            Some(Owner::Pinned) | None => {}
        }
    }
    let mut finder = Finder {
        graph,
        ends,
        constant: vec![false; graph.values().len()],
        masked: Marks::new(graph.values().len()),
        queued: Marks::new(graph.nodes().len()),
        dead: Marks::new(graph.nodes().len()),
    };
    for id in graph.constants().keys() {
        finder.constant[id.index()] = true;
    }
    // A branch that a removal masks must not be the surviving operand of another removal.
    let mut masked = vec![false; graph.values().len()];
    let mut survives = vec![false; graph.values().len()];
    let mut removals = Vec::with_capacity(owned.len());
    for (g, owned) in owned.into_iter().enumerate() {
        let emptied =
            |v: &ValueId| matches!(owner(v.index()), Some(Owner::Whole(whole)) if whole.0 == g);
        let walk = owned.and_then(|owned| finder.walk(&owned, emptied));
        let compatible = |walk: &Walk| {
            !walk.survivors.iter().any(|v| masked[v.index()])
                && !walk.masked.iter().any(|v| survives[v.index()])
        };
        let walk = walk.filter(compatible);
        if let Some(walk) = &walk {
            walk.masked.iter().for_each(|v| masked[v.index()] = true);
            let survivors = walk.survivors.iter();
            survivors.for_each(|v| survives[v.index()] = true);
        }
        removals.push(walk.map(|walk| walk.removal));
    }
    removals
}

/// The owner of a list of channels.
enum Owner {
    /// All channels are pinned.
    Pinned,
    /// A single group.
    Whole(GroupId),
    /// Several groups, or a group beside pinned channels.
    Several(Vec<GroupId>),
}

/// Per list of atoms its owner, if it is the axis of a value.
fn owners(analysis: &Analysis) -> Vec<Option<Owner>> {
    let mut owners: Vec<Option<Owner>> = Vec::new();
    owners.resize_with(analysis.lists, || None);
    for map in analysis.values.iter().flatten() {
        owners[map.atoms.number()].get_or_insert_with(|| owner_of(analysis, &map.atoms));
    }
    owners
}

fn owner_of(analysis: &Analysis, atoms: &[u32]) -> Owner {
    let Some((&first, others)) = atoms.split_first() else {
        return Owner::Pinned;
    };
    if others.iter().all(|&a| analysis.share_group(a, first)) {
        return analysis
            .unit(first)
            .map_or(Owner::Pinned, |u| Owner::Whole(u.group));
    }
    let units = atoms.iter().filter_map(|&a| analysis.unit(a));
    let mut groups: Vec<GroupId> = units.map(|u| u.group).collect();
    groups.sort_unstable();
    groups.dedup();
    Owner::Several(groups)
}

/// A set of indices that is cleared in constant time.
struct Marks {
    round: u32,
    last: Vec<u32>,
}

impl Marks {
    fn new(len: usize) -> Self {
        Self {
            round: 1,
            last: vec![0; len],
        }
    }

    fn clear(&mut self) {
        self.round += 1;
    }

    fn contains(&self, index: usize) -> bool {
        self.last[index] == self.round
    }

    /// Returns false if the set contained the index.
    fn insert(&mut self, index: usize) -> bool {
        std::mem::replace(&mut self.last[index], self.round) != self.round
    }
}

/// A removal with the values that decide its compatibility with other removals.
struct Walk {
    removal: Removal,
    masked: Vec<ValueId>,
    survivors: Vec<ValueId>,
}

/// Follows the effect of emptying one group after another.
struct Finder<'g> {
    graph: &'g Graph,
    ends: &'g Ends,
    /// Per value whether it is a constant.
    constant: Vec<bool>,
    /// Values that consist of biases once the group is empty.
    masked: Marks,
    queued: Marks,
    dead: Marks,
}

impl Finder<'_> {
    /// Empties the group that owns the values `owned`; `emptied` returns whether it owns a value.
    /// Returns `None` if the effect reaches more than additions.
    fn walk(&mut self, owned: &[usize], emptied: impl Fn(&ValueId) -> bool) -> Option<Walk> {
        self.masked.clear();
        self.queued.clear();
        self.dead.clear();
        // Node ids are in topological order, and values are only followed forwards.
        let mut queue: BinaryHeap<Reverse<NodeId>> = BinaryHeap::new();
        for &value in owned {
            let producer = self.ends.producers[value]?;
            if self.queued.insert(producer.index()) {
                queue.push(Reverse(producer));
            }
        }
        let mut masked = Vec::new();
        let mut survivors = Vec::new();
        let mut dead = Vec::new();
        let mut bypassed = Vec::new();
        while let Some(Reverse(id)) = queue.pop() {
            let node = self.graph.node(id);
            let outputs = || node.outputs.iter().flatten();
            let makes = makes_channels(&node.op) && outputs().all(&emptied);
            if makes || self.reads_only_masked(node) {
                // The sizes of a masked value are not masked.
                if matches!(node.op, Op::Shape(_)) {
                    return None;
                }
                if outputs().any(|v| self.graph.outputs().contains(v)) {
                    return None;
                }
                for &v in outputs() {
                    self.masked.insert(v.index());
                    masked.push(v);
                    let readers = self.ends.consumers[v.index()].iter();
                    let new = readers.filter(|r| self.queued.insert(r.index()));
                    queue.extend(new.map(|r| Reverse(*r)));
                }
                self.dead.insert(id.index());
                dead.push(id);
            } else {
                let operand = survivor(self.graph, id, |v| self.masked.contains(v.index()))?;
                bypassed.push((id, operand));
                survivors.extend(node.input(operand));
            }
        }
        self.add_unread(&mut dead);
        dead.sort_unstable();
        Some(Walk {
            removal: Removal { dead, bypassed },
            masked,
            survivors,
        })
    }

    /// Whether all computed inputs of a node are masked, and there is one.
    fn reads_only_masked(&self, node: &Node) -> bool {
        let inputs = || node.inputs.iter().flatten().map(|v| v.index());
        inputs().any(|v| self.masked.contains(v))
            && inputs().all(|v| self.masked.contains(v) || self.constant[v])
    }

    /// Adds the nodes whose outputs only dead nodes read.
    fn add_unread(&mut self, dead: &mut Vec<NodeId>) {
        let mut next = 0;
        while let Some(&id) = dead.get(next) {
            next += 1;
            for v in self.graph.node(id).inputs.iter().flatten() {
                let Some(producer) = self.ends.producers[v.index()] else {
                    continue;
                };
                let unread = self.graph.node(producer).outputs.iter().flatten().all(|o| {
                    let mut readers = self.ends.consumers[o.index()].iter();
                    !self.graph.outputs().contains(o)
                        && readers.all(|r| self.dead.contains(r.index()))
                });
                if unread && self.dead.insert(producer.index()) {
                    dead.push(producer);
                }
            }
        }
    }
}

/// Whether an operator has output channels of its own: without them the layer is dead, whatever
/// it reads.
fn makes_channels(op: &Op) -> bool {
    matches!(
        op,
        Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm(_) | Op::MatMul(_)
    )
}

/// The operand that an addition can pass on instead of the sum: it is not masked, the other one
/// is, and its shape and type are those of the sum.
fn survivor(graph: &Graph, id: NodeId, masked: impl Fn(&ValueId) -> bool) -> Option<usize> {
    let node = graph.node(id);
    let (Op::Add(_), [Some(left), Some(right)]) = (&node.op, node.inputs.as_slice()) else {
        return None;
    };
    let operand = match (masked(left), masked(right)) {
        (true, false) => 1,
        (false, true) => 0,
        _ => return None,
    };
    let from = graph.value([*left, *right][operand]);
    let to = graph.value(node.output());
    (from.shape.is_some() && from.shape == to.shape && from.dtype == to.dtype).then_some(operand)
}
