//! Groups of coupled channels, the result of an analysis.

use onnx_graph::{NodeId, ValueId};

use crate::atoms::{Atoms, Bound, Edit, Map};
use crate::axis_count::AxisCount;
use crate::units::{AxisUnit, GroupId};

/// The effect on a network of a group that keeps no channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Nodes that become dead, ascending.
    pub dead: Vec<NodeId>,
    /// Additions that pass one operand on, with the position of that operand, ascending.
    pub bypassed: Vec<(NodeId, usize)>,
}

/// Units that appear on the same axes throughout the network. Each can be kept or dropped.
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
    /// Number of coupled sets of channels.
    pub channels: usize,
    /// The reason, for the user.
    pub reason: String,
}

/// The groups of a graph, whose nodes and values it refers to by id.
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
    /// Per constant, by value, the axes that follow channels, ascending.
    pub(crate) constants: Vec<Vec<Bound>>,
    /// Edits of nodes, in topological order.
    pub(crate) edits: Vec<(NodeId, Edit)>,
    /// Output channels of each layer with weights.
    pub(crate) layers: Vec<(NodeId, Atoms)>,
    pub(crate) removals: Vec<Option<Removal>>,
}

impl Analysis {
    /// Prunable groups, in topological order of their first producer.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Returns the effect of `group` keeping no channel; `None` if it must keep at least one.
    /// Groups with a removal may be emptied in any combination.
    #[must_use]
    pub fn removal(&self, group: GroupId) -> Option<&Removal> {
        self.removals.get(group.0)?.as_ref()
    }

    /// Pinned channels with their reasons, most channels first.
    #[must_use]
    pub fn pinned(&self) -> &[Pinned] {
        &self.pinned
    }

    /// Returns the channel axis of a value, and the owner of each of its indices; `None` is
    /// pinned.
    #[must_use]
    pub fn value_channels(&self, value: ValueId) -> Option<(usize, Vec<Option<AxisUnit>>)> {
        let map = self.values.get(value.index())?.as_ref()?;
        Some((map.axis, self.owners(&map.atoms)))
    }

    /// Returns the channel axis of a value, and its size as a function of the widths.
    #[must_use]
    pub fn value_axis(&self, value: ValueId) -> Option<(usize, AxisCount)> {
        let map = self.values.get(value.index())?.as_ref()?;
        Some((map.axis, self.count(&map.atoms)))
    }

    /// Returns the axes of a constant that follow channels, and their sizes as functions of the
    /// widths.
    #[must_use]
    pub fn constant_axes(&self, value: ValueId) -> Vec<(usize, AxisCount)> {
        let axes = self.constants.get(value.index());
        let axes = axes.into_iter().flatten();
        axes.map(|bound| (bound.axis, self.count(&bound.atoms)))
            .collect()
    }

    /// Returns the owner of each index of a constant's axis, where `None` is pinned; `None` if the
    /// axis follows no channels.
    #[must_use]
    pub fn constant_owners(&self, value: ValueId, axis: usize) -> Option<Vec<Option<AxisUnit>>> {
        let axes = self.constants.get(value.index())?;
        let bound = axes.iter().find(|bound| bound.axis == axis)?;
        Some(self.owners(&bound.atoms))
    }

    fn count(&self, atoms: &[u32]) -> AxisCount {
        let owners = atoms.iter().map(|&a| self.unit(a));
        AxisCount::new(owners, |group| self.groups[group.0].channels)
    }

    /// Returns the layers with weights, and the owner of each of their output channels.
    pub fn layers(&self) -> impl Iterator<Item = (NodeId, Vec<Option<AxisUnit>>)> + '_ {
        self.layers
            .iter()
            .map(|(id, atoms)| (*id, self.owners(atoms)))
    }

    fn owners(&self, atoms: &[u32]) -> Vec<Option<AxisUnit>> {
        atoms.iter().map(|&a| self.unit(a)).collect()
    }

    fn slot(&self, atom: u32) -> Slot {
        self.units[self.sets[atom as usize] as usize]
    }

    /// Whether both atoms are in one group, or both are pinned.
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

/// An [`AxisUnit`] in a third of the memory, since networks have many atoms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub group: u32,
    pub unit: u32,
}

/// The slot of a pinned set.
pub(crate) const PINNED: Slot = Slot {
    group: u32::MAX,
    unit: u32::MAX,
};
