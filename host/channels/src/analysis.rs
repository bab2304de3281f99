//! From a graph to its groups of coupled channels.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use onnx_graph::{Graph, NodeId, ValueId};
use serde::{Deserialize, Serialize};

use crate::atoms::{Context, Edit};
use crate::attention::{self, Role};
use crate::error::ChannelError;
use crate::removal::{self, Removal};
use crate::rules;

/// Position of a group in [`Analysis::groups`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub usize);

/// Who owns one index of a channel axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AxisUnit {
    /// The group.
    pub group: GroupId,
    /// The unit within the group, below [`Group::channels`].
    pub unit: usize,
}

/// Channels that appear on the same axes throughout the network: each of its units can be kept or dropped.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The first producing layer's name; for channels of an attention the module's name with `(queries and keys)`, `(values)` or
    /// `(heads)`. Numbered where several groups share it.
    pub name: String,
    /// Number of units.
    pub channels: usize,
    /// Layers with weights whose output channels belong to this group, in topological order.
    pub producers: Vec<NodeId>,
}

/// Channels that must stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The node, input or output that pins them.
    pub node: String,
    /// How many coupled sets of channels.
    pub channels: usize,
    /// Why, for the user.
    pub reason: String,
}

/// An axis and the atoms of its indices.
pub(crate) type AxisAtoms = (usize, Arc<[u32]>);

/// The groups of a graph. Refers to the graph it was made of by node and value ids.
#[derive(Debug, Clone)]
pub struct Analysis {
    groups: Vec<Group>,
    pinned: Vec<Pinned>,
    /// Per atom its unit.
    units: Vec<Slot>,
    pub(crate) values: Vec<Option<AxisAtoms>>,
    pub(crate) constants: BTreeMap<ValueId, Vec<AxisAtoms>>,
    pub(crate) edits: BTreeMap<NodeId, Edit>,
    /// Output channels of each layer with weights.
    pub(crate) made: Vec<(NodeId, Range<u32>)>,
    removals: Vec<Option<Removal>>,
}

impl Analysis {
    /// Prunable groups, in topological order of their first producer.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// What happens to the network when `group` keeps no channel; `None` when it must keep at least one. Groups that have
    /// a removal may be emptied in any combination.
    #[must_use]
    pub fn removal(&self, group: GroupId) -> Option<&Removal> {
        self.removals.get(group.0)?.as_ref()
    }

    /// What is pinned and why, most channels first.
    #[must_use]
    pub fn pinned(&self) -> &[Pinned] {
        &self.pinned
    }

    /// The channel axis of a value, and who owns each of its indices (`None`: pinned).
    #[must_use]
    pub fn value_channels(&self, value: ValueId) -> Option<(usize, Vec<Option<AxisUnit>>)> {
        let (axis, atoms) = self.values.get(value.index())?.as_ref()?;
        Some((*axis, self.owners(atoms)))
    }

    /// The axes of a constant that follow channels, and who owns each index (`None`: pinned).
    #[must_use]
    pub fn constant_axes(&self, value: ValueId) -> Vec<(usize, Vec<Option<AxisUnit>>)> {
        let axes = self.constants.get(&value).map_or(&[][..], Vec::as_slice);
        axes.iter()
            .map(|(axis, atoms)| (*axis, self.owners(atoms)))
            .collect()
    }

    /// The layers with weights and who owns each of their output channels.
    pub fn layers(&self) -> impl Iterator<Item = (NodeId, Vec<Option<AxisUnit>>)> + '_ {
        self.made
            .iter()
            .map(|(id, atoms)| (*id, atoms.clone().map(|a| self.unit(a)).collect()))
    }

    fn owners(&self, atoms: &[u32]) -> Vec<Option<AxisUnit>> {
        atoms.iter().map(|&a| self.unit(a)).collect()
    }

    pub(crate) fn unit(&self, atom: u32) -> Option<AxisUnit> {
        let slot = self.units[atom as usize];
        (slot != PINNED).then_some(AxisUnit {
            group: GroupId(slot.group as usize),
            unit: slot.unit as usize,
        })
    }
}

/// An [`AxisUnit`] in a third of the memory: networks have many atoms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    group: u32,
    unit: u32,
}

const PINNED: Slot = Slot {
    group: u32::MAX,
    unit: u32::MAX,
};

/// What is pruned of an attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attention {
    /// The widths of queries and keys, and those of values, the same in every head.
    #[default]
    Widths,
    /// Whole heads.
    Heads,
}

impl FromStr for Attention {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "widths" => Ok(Self::Widths),
            "heads" => Ok(Self::Heads),
            _ => Err(format!("'{text}' is neither widths nor heads")),
        }
    }
}

/// Choices where channels can be grouped in more than one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnalysisOptions {
    /// What is pruned of an attention.
    pub attention: Attention,
}

/// Finds the groups of `graph`, whose shapes must have been inferred, with the default choices.
///
/// Nothing is refused: what no rule describes is pinned.
///
/// # Errors
/// [`ChannelError::Graph`] when the graph breaks its own invariants.
pub fn analyse(graph: &Graph) -> Result<Analysis, ChannelError> {
    analyse_with(graph, AnalysisOptions::default())
}

/// As [`analyse`], grouping channels as `options` says.
///
/// # Errors
/// As [`analyse`].
pub fn analyse_with(graph: &Graph, options: AnalysisOptions) -> Result<Analysis, ChannelError> {
    graph.check()?;
    let mut cx = Context::new(graph, options);
    for &input in graph.inputs() {
        let axis = graph.channel_axis(input);
        if let Some(channels) = graph
            .value(input)
            .shape
            .as_ref()
            .and_then(|s| s.get(axis))
            .and_then(|d| d.known())
        {
            let atoms = cx.fresh(channels);
            cx.pin(
                &atoms,
                &graph.value(input).name,
                "channels of a graph input",
            );
            cx.set(input, axis, atoms);
        }
    }
    for (id, node) in graph.iter() {
        rules::apply(&mut cx, id, node);
    }
    for &output in graph.outputs() {
        if let Some(map) = cx.maps[output.index()].clone() {
            cx.pin(
                &map.atoms,
                &graph.value(output).name,
                "channels of a graph output",
            );
        }
    }
    pin_half_bound_constants(&mut cx);
    let mut analysis = Builder::new(cx).build();
    analysis.removals = removal::find(graph, &analysis);
    Ok(analysis)
}

/// A constant whose axis one reader ties to channels and another does not cannot be cropped.
fn pin_half_bound_constants(cx: &mut Context<'_>) {
    let readers = cx.graph.consumers();
    let mut pins = Vec::new();
    for (id, usage) in &cx.constants {
        let reads =
            readers[id.index()].len() + cx.graph.outputs().iter().filter(|o| *o == id).count();
        for (axis, atoms) in &usage.axes {
            if usage.bound[axis] < reads {
                pins.push((atoms.clone(), cx.graph.value(*id).name.clone()));
            }
        }
    }
    for (atoms, name) in pins {
        cx.pin(
            &atoms,
            &name,
            "a constant shared with a reader that does not follow these channels",
        );
    }
}

/// In place of a reason, where a root is free to go.
const UNPINNED: u32 = u32::MAX;

struct Builder<'g> {
    cx: Context<'g>,
    roots: Vec<u32>,
}

impl<'g> Builder<'g> {
    fn new(mut cx: Context<'g>) -> Self {
        let roots = (0..cx.union.len() as u32)
            .map(|a| cx.union.root(a))
            .collect();
        Self { cx, roots }
    }

    fn root(&self, atom: u32) -> usize {
        self.roots[atom as usize] as usize
    }

    fn build(mut self) -> Analysis {
        let (sets, made_by) = self.producers();
        self.pin_without_producer(&made_by);
        let pinned_by = self.pinned_roots();
        let signatures = self.signatures();

        let mut groups: Vec<Group> = Vec::new();
        let mut by_signature: HashMap<(u64, u32), usize> = HashMap::new();
        // Channels of one layer follow each other, and mostly stand in one group.
        let mut last: Option<((u64, u32), usize)> = None;
        let mut units = vec![PINNED; self.roots.len()];
        for root in 0..self.roots.len() {
            if self.roots[root] as usize != root || pinned_by[root] != UNPINNED {
                continue;
            }
            let key = (signatures[root], made_by[root]);
            let at = match last {
                Some((same, at)) if same == key => at,
                _ => *by_signature.entry(key).or_insert_with(|| {
                    groups.push(Group {
                        name: String::new(),
                        channels: 0,
                        producers: sets[made_by[root] as usize].clone(),
                    });
                    groups.len() - 1
                }),
            };
            last = Some((key, at));
            units[root] = Slot {
                group: at as u32,
                unit: groups[at].channels as u32,
            };
            groups[at].channels += 1;
        }
        self.sort_and_name(&mut groups, &mut units);
        // A root is the smallest of its atoms, so that it is always filled in before them.
        for atom in 0..units.len() {
            units[atom] = units[self.root(atom as u32)];
        }
        let pinned = self.pinned_summary(&pinned_by);

        let Self { cx, .. } = self;
        Analysis {
            groups,
            pinned,
            units,
            values: cx
                .maps
                .into_iter()
                .map(|m| m.map(|m| (m.axis, m.atoms)))
                .collect(),
            constants: cx
                .constants
                .into_iter()
                .map(|(id, u)| (id, u.axes.into_iter().collect()))
                .collect(),
            edits: cx.edits,
            made: cx.made,
            removals: Vec::new(),
        }
    }

    /// The sets of layers that make the channels of some root together, in topological order, and which of them each root
    /// has. The first set is empty.
    fn producers(&self) -> (Vec<Vec<NodeId>>, Vec<u32>) {
        let mut sets: Vec<Vec<NodeId>> = vec![Vec::new()];
        let mut made_by = vec![0u32; self.roots.len()];
        for (id, range) in &self.cx.made {
            // Sets that this layer was added to, and what they became.
            let mut grown: Vec<(u32, u32)> = Vec::new();
            for atom in range.clone() {
                let set = &mut made_by[self.root(atom)];
                if sets[*set as usize].last() == Some(id) {
                    continue;
                }
                *set = match grown.iter().find(|(from, _)| from == set) {
                    Some(&(_, to)) => to,
                    None => {
                        let mut layers = sets[*set as usize].clone();
                        layers.push(*id);
                        sets.push(layers);
                        let to = sets.len() as u32 - 1;
                        grown.push((*set, to));
                        to
                    }
                };
            }
        }
        (sets, made_by)
    }

    fn pin_without_producer(&mut self, made_by: &[u32]) {
        let orphans: Vec<u32> = (0..self.roots.len() as u32)
            .filter(|&a| made_by[self.root(a)] == 0)
            .collect();
        if !orphans.is_empty() {
            self.cx.pin(
                &orphans,
                "graph",
                "no layer with weights makes these channels",
            );
        }
    }

    /// Per root the first reason to keep it, or [`UNPINNED`].
    fn pinned_roots(&self) -> Vec<u32> {
        let mut pinned = vec![UNPINNED; self.roots.len()];
        for &(atom, reason) in &self.cx.pins {
            let slot = &mut pinned[self.root(atom)];
            if *slot == UNPINNED {
                *slot = reason as u32;
            }
        }
        pinned
    }

    /// Per root a hash of the axes it appears on, counting repeats. Two units with equal signatures stand in one
    /// group; a chance collision would only put unlike units under one width, never prune wrongly, since cutting
    /// goes by unit.
    fn signatures(&self) -> Vec<u64> {
        let mut signatures = vec![0u64; self.roots.len()];
        let mut seen: HashMap<*const u32, ()> = HashMap::new();
        let values = self.cx.maps.iter().flatten().map(|m| &m.atoms);
        let constants = self.cx.constants.values().flat_map(|u| u.axes.values());
        for (member, atoms) in values.chain(constants).enumerate() {
            if seen.insert(atoms.as_ptr(), ()).is_some() {
                continue;
            }
            for &atom in atoms.iter() {
                let s = &mut signatures[self.root(atom)];
                *s = (s.rotate_left(5) ^ (member as u64 + 1)).wrapping_mul(0x517c_c1b7_2722_0a95);
            }
        }
        signatures
    }

    fn sort_and_name(&self, groups: &mut Vec<Group>, units: &mut [Slot]) {
        let mut order: Vec<usize> = (0..groups.len()).collect();
        order.sort_by_key(|&g| groups[g].producers.first().copied());
        let mut place = vec![0u32; groups.len()];
        for (new, &old) in order.iter().enumerate() {
            place[old] = new as u32;
        }
        let mut sorted: Vec<Group> = order.iter().map(|&g| groups[g].clone()).collect();
        for slot in units.iter_mut().filter(|s| **s != PINNED) {
            slot.group = place[slot.group as usize];
        }
        let mut roles: Vec<Option<Role>> = vec![None; sorted.len()];
        for (atom, role) in attention::roles(&self.cx) {
            let slot = units[self.root(atom)];
            if slot != PINNED {
                let known = &mut roles[slot.group as usize];
                *known = Some(role.and(*known));
            }
        }
        let mut used: HashMap<String, usize> = HashMap::new();
        for (group, role) in sorted.iter_mut().zip(roles) {
            let base = self.base_name(group, role);
            let n = used.entry(base.clone()).or_default();
            *n += 1;
            group.name = if *n == 1 { base } else { format!("{base}#{n}") };
        }
        *groups = sorted;
    }

    /// The first layer's name, or for channels of an attention's own the module's with what they are there.
    fn base_name(&self, group: &Group, role: Option<Role>) -> String {
        let layers = group.producers.iter();
        let names: Vec<&str> = layers
            .map(|&p| self.cx.graph.node(p).name.as_str())
            .collect();
        match (role, names.first()) {
            // More layers than projections: channels that go beyond the attention.
            (Some(role), Some(_)) if names.len() <= role.projections() => {
                format!("{} ({})", attention::module(&names), role.words())
            }
            (_, first) => first.copied().unwrap_or("group").to_owned(),
        }
    }

    fn pinned_summary(&self, pinned_by: &[u32]) -> Vec<Pinned> {
        let mut counts: BTreeMap<&crate::atoms::PinReason, usize> = BTreeMap::new();
        let mut by_reason = vec![0usize; self.cx.reasons.len()];
        for (root, &reason) in pinned_by.iter().enumerate() {
            if self.roots[root] as usize == root && reason != UNPINNED {
                by_reason[reason as usize] += 1;
            }
        }
        for (reason, &channels) in self.cx.reasons.iter().zip(&by_reason) {
            if channels > 0 {
                *counts.entry(reason).or_default() += channels;
            }
        }
        let mut out: Vec<Pinned> = counts
            .into_iter()
            .map(|(r, channels)| Pinned {
                node: r.node.clone(),
                channels,
                reason: r.reason.clone(),
            })
            .collect();
        out.sort_by_key(|p| std::cmp::Reverse(p.channels));
        out
    }
}
