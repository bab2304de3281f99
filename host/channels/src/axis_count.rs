//! The size of an axis as a function of the widths.

use std::collections::BTreeMap;

use crate::units::{AxisUnit, GroupId};

/// Number of channels of an axis as a function of the widths of the groups.
///
/// # Example
/// ```
/// use channels::{AxisCount, AxisUnit, GroupId};
///
/// // A flattened axis: two positions for each of three units of group 0, then a pinned channel.
/// let unit = |unit| Some(AxisUnit { group: GroupId(0), unit });
/// let axis = [unit(0), unit(0), unit(1), unit(1), unit(2), unit(2), None];
/// let count = AxisCount::new(axis, |_| 3);
/// assert_eq!(count.full(), 7);
/// assert_eq!(count.kept(&[1]), 3);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AxisCount {
    pinned: usize,
    shares: Vec<AxisShare>,
}

/// The channels of an axis that one group owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AxisShare {
    /// The group.
    pub group: GroupId,
    /// Number of channels, the same for each unit of the group.
    pub channels: usize,
    /// Number of units of the group.
    pub units: usize,
}

impl AxisShare {
    /// Returns the number of channels at a width of the group.
    #[must_use]
    pub fn kept(&self, width: usize) -> usize {
        self.channels * width / self.units.max(1)
    }
}

impl AxisCount {
    /// Creates the count of an axis from the owner of each index; `None` is pinned. `units`
    /// returns the number of units of a group.
    pub fn new(
        owners: impl IntoIterator<Item = Option<AxisUnit>>,
        units: impl Fn(GroupId) -> usize,
    ) -> Self {
        let mut pinned = 0;
        let mut channels: BTreeMap<GroupId, usize> = BTreeMap::new();
        for owner in owners {
            match owner {
                Some(unit) => *channels.entry(unit.group).or_default() += 1,
                None => pinned += 1,
            }
        }
        let share = |(group, channels)| AxisShare {
            group,
            channels,
            units: units(group),
        };
        Self {
            pinned,
            shares: channels.into_iter().map(share).collect(),
        }
    }

    /// Creates the count of an axis that keeps all its channels.
    #[must_use]
    pub fn fixed(channels: usize) -> Self {
        Self {
            pinned: channels,
            shares: Vec::new(),
        }
    }

    /// Returns the number of channels that no group owns.
    #[must_use]
    pub fn pinned(&self) -> usize {
        self.pinned
    }

    /// Returns the shares of the groups on the axis, by group.
    #[must_use]
    pub fn shares(&self) -> &[AxisShare] {
        &self.shares
    }

    /// Whether the size depends on the width of `group`.
    #[must_use]
    pub fn depends_on(&self, group: GroupId) -> bool {
        self.shares.iter().any(|share| share.group == group)
    }

    /// Returns the number of channels at the given widths, one per group of the analysis.
    ///
    /// # Panics
    /// If a group of the axis has no width.
    #[must_use]
    pub fn kept(&self, widths: &[usize]) -> usize {
        let shares = self.shares.iter();
        let kept = shares.map(|share| share.kept(widths[share.group.0]));
        self.pinned + kept.sum::<usize>()
    }

    /// Returns the number of channels in the unpruned network.
    #[must_use]
    pub fn full(&self) -> usize {
        self.pinned
            + self
                .shares
                .iter()
                .map(|share| share.channels)
                .sum::<usize>()
    }
}
