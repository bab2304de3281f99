//! The space of width configurations.

use crate::{GroupSpace, SearchError, SeededRng, Widths};
use serde::{Deserialize, Serialize};

/// Share of a width's range that a random configuration draws per group; the rest is common to
/// all groups.
const SPREAD: f64 = 0.7;

/// All groups with their admissible widths.
///
/// # Examples
/// ```
/// use search::{Space, WidthGrid, Widths};
///
/// let grid = WidthGrid {
///     multiple: 8,
///     min_keep: 0.5,
///     ..WidthGrid::default()
/// };
/// let space = Space::new(vec![grid.group("stem", 32), grid.removable_group("branch", 16)])?;
/// assert_eq!(space.groups[0].widths, [16, 24, 32]);
/// assert_eq!(space.groups[1].widths, [0, 8, 16]);
/// assert_eq!(space.smallest(), Widths(vec![16, 0]));
/// assert_eq!(space.uniform(0.5), Widths(vec![16, 8]));
/// assert!(space.check(&Widths(vec![20, 8])).is_err());
/// # Ok::<(), search::SearchError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// The groups in topological order, the order in which an episode decides them.
    pub groups: Vec<GroupSpace>,
}

impl Space {
    /// Creates a space of the given groups.
    ///
    /// # Errors
    /// [`SearchError::InvalidSpace`] if there is no group, or if a group's widths are not
    /// strictly ascending or do not end with a width from 1 to its full one.
    pub fn new(groups: Vec<GroupSpace>) -> Result<Self, SearchError> {
        if groups.is_empty() {
            return Err(SearchError::InvalidSpace {
                group: "(none)".into(),
                reason: "the network has no prunable group; `inspect` says why".into(),
            });
        }
        for group in &groups {
            let ascending = group.widths.windows(2).all(|w| w[0] < w[1]);
            let ends = group
                .widths
                .last()
                .is_some_and(|&w| 0 < w && w <= group.channels);
            let admits = group.uniform.is_none_or(|w| group.widths.contains(&w));
            if !ascending || !ends || !admits {
                return Err(SearchError::InvalidSpace {
                    group: group.name.clone(),
                    reason: format!(
                        "widths {:?} must ascend to one from 1 to the full width {}, and hold the \
                         uniform one",
                        group.widths, group.channels
                    ),
                });
            }
        }
        Ok(Self { groups })
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there is no group (never after [`Space::new`]).
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Returns every group at full width, as in the unpruned network. A group may admit less only.
    pub fn full(&self) -> Widths {
        Widths(self.groups.iter().map(|g| g.channels).collect())
    }

    /// Returns every group at its smallest width.
    pub fn smallest(&self) -> Widths {
        let smallest = |g: &GroupSpace| g.widths.first().copied().unwrap_or(g.channels);
        Widths(self.groups.iter().map(smallest).collect())
    }

    /// Returns the index of the admissible width of group `g` nearest to `ratio` of its channels;
    /// of two equally near ones, the wider.
    pub(crate) fn snap_index(&self, g: usize, ratio: f64) -> usize {
        let group = &self.groups[g];
        let target = ratio * group.channels as f64;
        let above = group.widths.partition_point(|&w| (w as f64) < target);
        match above {
            0 => 0,
            i if i == group.widths.len() => i - 1,
            i if group.widths[i] as f64 - target <= target - group.widths[i - 1] as f64 => i,
            i => i - 1,
        }
    }

    /// Returns every group at the width nearest to the same keep ratio. No group is removed: a
    /// uniform network has all its layers.
    pub fn uniform(&self, ratio: f64) -> Widths {
        let width = |g: usize| {
            if let Some(width) = self.groups[g].uniform {
                return width;
            }
            let index = self.snap_index(g, ratio);
            let widths = &self.groups[g].widths;
            match widths[index] {
                0 => widths[index + 1],
                width => width,
            }
        };
        Widths((0..self.len()).map(width).collect())
    }

    /// Draws a random configuration around a common share of the groups' ranges, so that all
    /// costs occur.
    pub fn spread(&self, rng: &mut SeededRng) -> Widths {
        let common = rng.unit() * (1.0 - SPREAD);
        let width = |group: &GroupSpace| {
            let position = common + SPREAD * rng.unit();
            group.widths[(position * (group.widths.len() - 1) as f64).round() as usize]
        };
        Widths(self.groups.iter().map(width).collect())
    }

    /// Returns all distinct uniform configurations with the ratio at which each begins,
    /// ascending.
    pub fn uniform_levels(&self) -> Vec<(f64, Widths)> {
        let mut ratios: Vec<f64> = self
            .groups
            .iter()
            .filter(|g| g.uniform.is_none())
            .flat_map(|g| {
                g.widths
                    .windows(2)
                    .map(|w| (w[0] + w[1]) as f64 / (2.0 * g.channels as f64))
            })
            .collect();
        ratios.push(0.0);
        ratios.sort_by(f64::total_cmp);
        let mut levels: Vec<(f64, Widths)> = Vec::new();
        for ratio in ratios {
            // The small increment resolves ties at the middle of two widths in favour of the
            // wider.
            let level = self.uniform(ratio + 1e-9);
            if levels.last().is_none_or(|(_, last)| *last != level) {
                levels.push((ratio, level));
            }
        }
        levels
    }

    /// Returns the index of the width of group `g` in `widths`; for an inadmissible width, that
    /// of the next larger one.
    pub(crate) fn index(&self, widths: &Widths, g: usize) -> usize {
        let group = &self.groups[g];
        group
            .widths
            .partition_point(|&w| w < widths.0[g])
            .min(group.widths.len() - 1)
    }

    /// Checks that `widths` lies in the space.
    ///
    /// # Errors
    /// [`SearchError::InvalidWidths`] with the first group that does not fit.
    pub fn check(&self, widths: &Widths) -> Result<(), SearchError> {
        let invalid = |reason| {
            Err(SearchError::InvalidWidths {
                widths: widths.to_string(),
                reason,
            })
        };
        if widths.0.len() != self.len() {
            return invalid(format!(
                "{} groups are expected, not {}",
                self.len(),
                widths.0.len()
            ));
        }
        for (group, width) in self.groups.iter().zip(&widths.0) {
            if group.widths.binary_search(width).is_err() {
                return invalid(format!(
                    "group {} admits {:?}, not {width}",
                    group.name, group.widths
                ));
            }
        }
        Ok(())
    }

    /// Number of configurations, saturating.
    pub(crate) fn size(&self) -> u64 {
        self.groups
            .iter()
            .fold(1u64, |size, g| size.saturating_mul(g.widths.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WidthGrid;

    #[test]
    fn invalid_spaces_are_refused() {
        for widths in [vec![], vec![0], vec![4, 4, 8], vec![8, 4], vec![4, 9]] {
            let group = GroupSpace {
                name: "g".into(),
                channels: 8,
                widths,
                uniform: None,
            };
            assert!(matches!(
                Space::new(vec![group]),
                Err(SearchError::InvalidSpace { .. })
            ));
        }
        assert!(Space::new(vec![]).is_err());
    }

    #[test]
    fn only_removable_groups_can_be_emptied_and_uniform_widths_never_are() {
        let grid = WidthGrid::default();
        let space = Space::new(vec![grid.group("a", 16), grid.removable_group("b", 16)]).unwrap();
        assert_eq!(space.smallest().0, [4, 0]);
        assert!(space.check(&Widths(vec![0, 8])).is_err());
        assert!(space.uniform_levels().iter().all(|(_, c)| c.0[1] > 0));
        let kept = WidthGrid {
            remove: false,
            ..grid
        };
        assert_eq!(kept.removable_group("b", 16), kept.group("b", 16));
    }

    #[test]
    fn an_axis_with_a_uniform_option_keeps_it_at_every_level() {
        let grid = WidthGrid::default();
        let numbers = GroupSpace::choice("numbers", vec![1, 2], 1);
        let space = Space::new(vec![grid.group("a", 16), numbers.clone()]).unwrap();
        assert_eq!(space.full().0, [16, 2]);
        let levels = space.uniform_levels();
        assert_eq!(levels.last().unwrap().1.0, [16, 1]);
        assert!(levels.iter().all(|(_, c)| c.0[1] == 1));
        assert_eq!(levels.len(), grid.widths(16).len());
        let other = GroupSpace {
            uniform: Some(3),
            ..numbers
        };
        assert!(Space::new(vec![other]).is_err());
    }

    #[test]
    fn uniform_levels_ascend_from_the_smallest_to_the_full_network() {
        let grid = WidthGrid::default();
        let space = Space::new(vec![
            grid.group("a", 16),
            grid.group("b", 24),
            grid.group("c", 10),
        ])
        .unwrap();
        let levels = space.uniform_levels();
        assert_eq!(levels[0].1, space.smallest());
        assert_eq!(levels.last().unwrap().1, space.full());
        for pair in levels.windows(2) {
            assert!(pair[0].1.0.iter().zip(&pair[1].1.0).all(|(a, b)| a <= b));
            assert_ne!(pair[0].1, pair[1].1);
        }
        for (_, level) in &levels {
            space.check(level).unwrap();
        }
        assert!(space.check(&Widths(vec![5, 24, 10])).is_err());
        assert!(space.check(&Widths(vec![16, 24])).is_err());
    }
}
