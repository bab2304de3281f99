//! Ids of groups and their units.

/// Position of a group in [`Analysis::groups`](crate::Analysis::groups).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub usize);

/// The owner of one index of a channel axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AxisUnit {
    /// The group.
    pub group: GroupId,
    /// The unit within the group, below [`Group::channels`](crate::Group::channels).
    pub unit: usize,
}
