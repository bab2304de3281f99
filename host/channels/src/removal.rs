//! Groups that may be emptied: those whose loss silences a branch that an addition joins with a
//! live one.
//!
//! A residual block whose inner channels are all dropped computes nothing but its biases. Where
//! those would end in an [`Add`](Op::Add) beside a value of the same shape, the block can go as a
//! whole: the addition passes its other operand on. A device gains more by that than by
//! narrowing, because no kernel, no memory traffic and no rounding up to a block of channels
//! remains.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use onnx_graph::ops::Op;
use onnx_graph::{Graph, Node, NodeId, ValueId};

use crate::atoms::Ends;
use crate::groups::{Analysis, GroupId, Removal};

/// Per group its removal. Any set of the groups that have one may be emptied together.
pub(crate) fn find(graph: &Graph, ends: &Ends, analysis: &Analysis) -> Vec<Option<Removal>> {
    let owners = owners(analysis);
    let owner = |value: usize| {
        let map = analysis.values[value].as_ref()?;
        owners[map.atoms.number()].as_ref()
    };
    // Per group the values that are all its own; `None` where a value is only partly.
    let mut owned: Vec<Option<Vec<usize>>> = vec![Some(Vec::new()); analysis.groups().len()];
    for value in 0..analysis.values.len() {
        match owner(value) {
            Some(Owner::Whole(g)) => owned[g.0].iter_mut().for_each(|list| list.push(value)),
            Some(Owner::Several(groups)) => groups.iter().for_each(|g| owned[g.0] = None),
            Some(Owner::Nobody) | None => {}
        }
    }
    let mut finder = Finder {
        graph,
        ends,
        constant: vec![false; graph.values().len()],
        silent: Marks::new(graph.values().len()),
        queued: Marks::new(graph.nodes().len()),
        dead: Marks::new(graph.nodes().len()),
    };
    for id in graph.constants().keys() {
        finder.constant[id.index()] = true;
    }
    // Where one branch survives only by another that can go too, both together would leave
    // nothing.
    let mut silenced = vec![false; graph.values().len()];
    let mut survives = vec![false; graph.values().len()];
    let mut removals = Vec::with_capacity(owned.len());
    for (g, owned) in owned.into_iter().enumerate() {
        let emptied =
            |v: &ValueId| matches!(owner(v.index()), Some(Owner::Whole(whole)) if whole.0 == g);
        let found = owned.and_then(|owned| finder.walk(&owned, emptied));
        let clear = |found: &Found| {
            !found.survivors.iter().any(|v| silenced[v.index()])
                && !found.silent.iter().any(|v| survives[v.index()])
        };
        let found = found.filter(clear);
        if let Some(found) = &found {
            found.silent.iter().for_each(|v| silenced[v.index()] = true);
            let survivors = found.survivors.iter();
            survivors.for_each(|v| survives[v.index()] = true);
        }
        removals.push(found.map(|f| f.removal));
    }
    removals
}

/// Who owns all channels of a list.
enum Owner {
    Nobody,
    Whole(GroupId),
    /// Several groups, or one beside pinned channels.
    Several(Vec<GroupId>),
}

/// Per list of atoms its owner, where it is the axis of a value.
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
        return Owner::Nobody;
    };
    if others.iter().all(|&a| analysis.share_group(a, first)) {
        return analysis
            .unit(first)
            .map_or(Owner::Nobody, |u| Owner::Whole(u.group));
    }
    let units = atoms.iter().filter_map(|&a| analysis.unit(a));
    let mut groups: Vec<GroupId> = units.map(|u| u.group).collect();
    groups.sort_unstable();
    groups.dedup();
    Owner::Several(groups)
}

/// A set of positions that is emptied at once.
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

    fn contains(&self, at: usize) -> bool {
        self.last[at] == self.round
    }

    /// False where it was in the set before.
    fn insert(&mut self, at: usize) -> bool {
        std::mem::replace(&mut self.last[at], self.round) != self.round
    }
}

/// A removal with the values by which removals can get into each other's way.
struct Found {
    removal: Removal,
    silent: Vec<ValueId>,
    survivors: Vec<ValueId>,
}

/// Follows the silence of one group after another.
struct Finder<'g> {
    graph: &'g Graph,
    ends: &'g Ends,
    /// Per value.
    constant: Vec<bool>,
    /// Values that are nothing but biases once the group is empty.
    silent: Marks,
    queued: Marks,
    dead: Marks,
}

impl Finder<'_> {
    /// Follows the silence of the group that owns the values `owned`; `emptied` says whether it
    /// owns a value.
    fn walk(&mut self, owned: &[usize], emptied: impl Fn(&ValueId) -> bool) -> Option<Found> {
        self.silent.clear();
        self.queued.clear();
        self.dead.clear();
        // Node ids are in topological order, and every value is followed forwards only.
        let mut queue: BinaryHeap<Reverse<NodeId>> = BinaryHeap::new();
        for &value in owned {
            let maker = self.ends.makers[value]?;
            if self.queued.insert(maker.index()) {
                queue.push(Reverse(maker));
            }
        }
        let mut silent = Vec::new();
        let mut survivors = Vec::new();
        let mut dead = Vec::new();
        let mut bypassed = Vec::new();
        while let Some(Reverse(id)) = queue.pop() {
            let node = self.graph.node(id);
            let outputs = || node.outputs.iter().flatten();
            let makes = makes_channels(&node.op) && outputs().all(&emptied);
            if makes || self.hears_nothing(node) {
                if outputs().any(|v| self.graph.outputs().contains(v)) {
                    return None;
                }
                for &v in outputs() {
                    self.silent.insert(v.index());
                    silent.push(v);
                    let readers = self.ends.readers[v.index()].iter();
                    let new = readers.filter(|r| self.queued.insert(r.index()));
                    queue.extend(new.map(|r| Reverse(*r)));
                }
                self.dead.insert(id.index());
                dead.push(id);
            } else {
                let at = survivor(self.graph, id, |v| self.silent.contains(v.index()))?;
                bypassed.push((id, at));
                survivors.extend(node.input(at));
            }
        }
        self.follow_back(&mut dead);
        dead.sort_unstable();
        Some(Found {
            removal: Removal { dead, bypassed },
            silent,
            survivors,
        })
    }

    /// Whether everything that a node computes with is silent.
    fn hears_nothing(&self, node: &Node) -> bool {
        let inputs = || node.inputs.iter().flatten().map(|v| v.index());
        inputs().any(|v| self.silent.contains(v))
            && inputs().all(|v| self.silent.contains(v) || self.constant[v])
    }

    /// Adds the nodes that only dead ones read.
    fn follow_back(&mut self, dead: &mut Vec<NodeId>) {
        let mut at = 0;
        while let Some(&id) = dead.get(at) {
            at += 1;
            for v in self.graph.node(id).inputs.iter().flatten() {
                let Some(maker) = self.ends.makers[v.index()] else {
                    continue;
                };
                let unread = self.graph.node(maker).outputs.iter().flatten().all(|o| {
                    let mut readers = self.ends.readers[o.index()].iter();
                    !self.graph.outputs().contains(o)
                        && readers.all(|r| self.dead.contains(r.index()))
                });
                if unread && self.dead.insert(maker.index()) {
                    dead.push(maker);
                }
            }
        }
    }
}

/// Layers that make channels of their own: without them the layer is not needed, whatever it
/// reads.
fn makes_channels(op: &Op) -> bool {
    matches!(
        op,
        Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm(_) | Op::MatMul(_)
    )
}

/// The operand that an addition can pass on in the place of its sum: of the same shape and type,
/// beside a silent one.
fn survivor(graph: &Graph, id: NodeId, silent: impl Fn(&ValueId) -> bool) -> Option<usize> {
    let node = graph.node(id);
    let (Op::Add(_), [Some(left), Some(right)]) = (&node.op, node.inputs.as_slice()) else {
        return None;
    };
    let at = match (silent(left), silent(right)) {
        (true, false) => 1,
        (false, true) => 0,
        _ => return None,
    };
    let (from, to) = (graph.value([*left, *right][at]), graph.value(node.output()));
    (from.shape.is_some() && from.shape == to.shape && from.dtype == to.dtype).then_some(at)
}
