//! Groups of coupled channels: what an analysis finds.

use onnx_graph::{NodeId, ValueId};

use crate::atoms::{Atoms, Bound, Edit, Map};

/// What becomes of a network when one group keeps no channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Nodes that compute nothing any more, ascending.
    pub dead: Vec<NodeId>,
    /// Additions that pass one operand on, with that operand's position, ascending.
    pub bypassed: Vec<(NodeId, usize)>,
}

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

/// Channels that appear on the same axes throughout the network: each of its units can be kept or
/// dropped.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The first producing layer's name; for channels of an attention the module's name with
    /// `(queries and keys)`, `(values)` or `(heads)`. Numbered where several groups share it.
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

/// The groups of a graph. Refers to the graph it was made of by node and value ids.
#[derive(Debug, Clone)]
pub struct Analysis {
    pub(crate) groups: Vec<Group>,
    pub(crate) pinned: Vec<Pinned>,
    /// Per atom its coupled set.
    pub(crate) sets: Vec<u32>,
    /// Per coupled set its unit.
    pub(crate) units: Vec<Slot>,
    /// Number of lists of atoms.
    pub(crate) lists: usize,
    /// Per value its channel axis.
    pub(crate) values: Vec<Option<Map>>,
    /// Per value, where it is a constant, the axes that follow channels, ascending.
    pub(crate) constants: Vec<Vec<Bound>>,
    /// In topological order.
    pub(crate) edits: Vec<(NodeId, Edit)>,
    /// Output channels of each layer with weights.
    pub(crate) made: Vec<(NodeId, Atoms)>,
    pub(crate) removals: Vec<Option<Removal>>,
}

impl Analysis {
    /// Prunable groups, in topological order of their first producer.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// What happens to the network when `group` keeps no channel; `None` when it must keep at
    /// least one. Groups that have a removal may be emptied in any combination.
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
        let map = self.values.get(value.index())?.as_ref()?;
        Some((map.axis, self.owners(&map.atoms)))
    }

    /// The axes of a constant that follow channels, and who owns each index (`None`: pinned).
    #[must_use]
    pub fn constant_axes(&self, value: ValueId) -> Vec<(usize, Vec<Option<AxisUnit>>)> {
        let axes = self.constants.get(value.index());
        let axes = axes.into_iter().flatten();
        axes.map(|bound| (bound.axis, self.owners(&bound.atoms)))
            .collect()
    }

    /// The layers with weights and who owns each of their output channels.
    pub fn layers(&self) -> impl Iterator<Item = (NodeId, Vec<Option<AxisUnit>>)> + '_ {
        self.made
            .iter()
            .map(|(id, atoms)| (*id, self.owners(atoms)))
    }

    fn owners(&self, atoms: &[u32]) -> Vec<Option<AxisUnit>> {
        atoms.iter().map(|&a| self.unit(a)).collect()
    }

    fn slot(&self, atom: u32) -> Slot {
        self.units[self.sets[atom as usize] as usize]
    }

    /// Whether both atoms stand in one group, or both are pinned.
    pub(crate) fn share_group(&self, a: u32, b: u32) -> bool {
        self.slot(a).group == self.slot(b).group
    }

    pub(crate) fn unit(&self, atom: u32) -> Option<AxisUnit> {
        let slot = self.slot(atom);
        (slot != PINNED).then_some(AxisUnit {
            group: GroupId(slot.group as usize),
            unit: slot.unit as usize,
        })
    }
}

/// An [`AxisUnit`] in a third of the memory: networks have many atoms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub group: u32,
    pub unit: u32,
}

/// The slot of a coupled set that must stay.
pub(crate) const PINNED: Slot = Slot {
    group: u32::MAX,
    unit: u32::MAX,
};
