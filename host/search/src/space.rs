//! The space of width configurations.

use crate::{SearchError, SeededRng};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Kept channels of every group, in the order of [`Space::groups`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Config(pub Vec<usize>);

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, width) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{width}")?;
        }
        f.write_str("]")
    }
}

/// One group of channels that are kept or dropped together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSpace {
    /// Name for messages and reports.
    pub name: String,
    /// Channels of the unpruned network.
    pub channels: usize,
    /// Admissible widths, ascending, the last one equal to `channels`. A width of 0 removes the group, and with it the
    /// branch it is in.
    pub widths: Vec<usize>,
}

impl GroupSpace {
    /// Keep ratio at `position` of the range from the smallest (0) to the full width (1).
    pub(crate) fn ratio_at(&self, position: f64) -> f64 {
        let smallest =
            self.widths.first().copied().unwrap_or(self.channels) as f64 / self.channels as f64;
        smallest + position * (1.0 - smallest)
    }

    /// The position of the width at `index`; 1 where there is no choice.
    pub(crate) fn position_of(&self, index: usize) -> f64 {
        let smallest = self.widths.first().copied().unwrap_or(self.channels);
        if smallest == self.channels {
            return 1.0;
        }
        (self.widths[index] - smallest) as f64 / (self.channels - smallest) as f64
    }
}

/// Which widths are admissible: multiples of `multiple` from `min_keep` on, and always the full width.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WidthGrid {
    /// Smallest keep ratio, in (0, 1].
    pub min_keep: f64,
    /// Widths are multiples of this, which kernels of inference runtimes like. It is halved for a group until the
    /// group has two multiples, so that narrow groups can be pruned too.
    pub multiple: usize,
    /// At most so many widths per group, spread evenly; the smallest and the full one stay.
    pub max_choices: usize,
    /// Whether a group that is the inside of a residual branch may be emptied, which removes the branch.
    pub remove: bool,
}

impl Default for WidthGrid {
    fn default() -> Self {
        Self {
            min_keep: 0.2,
            multiple: 4,
            max_choices: 16,
            remove: true,
        }
    }
}

impl WidthGrid {
    /// Checks the fields.
    ///
    /// # Errors
    /// [`SearchError::InvalidOption`] that names the field.
    pub fn check(&self) -> Result<(), SearchError> {
        let invalid = |option, reason: &str| {
            Err(SearchError::InvalidOption {
                option,
                reason: reason.into(),
            })
        };
        if !(self.min_keep > 0.0 && self.min_keep <= 1.0) {
            return invalid("min_keep", "must be above 0 and at most 1");
        }
        if self.multiple == 0 {
            return invalid("multiple", "must be at least 1");
        }
        if self.max_choices < 2 {
            return invalid("max_choices", "must be at least 2");
        }
        Ok(())
    }

    /// Admissible widths of a group of `channels`, ascending, ending with `channels`. Empty for no channels.
    pub fn widths(&self, channels: usize) -> Vec<usize> {
        if channels == 0 {
            return Vec::new();
        }
        let mut multiple = self.multiple.max(1);
        while multiple > 1 && channels < 2 * multiple {
            multiple /= 2;
        }
        // The tolerance keeps 0.3 x 10 = 3.0000000000000004 from becoming 4.
        let smallest =
            ((self.min_keep * channels as f64 - 1e-9).ceil() as usize).clamp(1, channels);
        let mut widths: Vec<usize> = (smallest.div_ceil(multiple)..)
            .map(|m| m * multiple)
            .take_while(|&w| w < channels)
            .collect();
        widths.push(channels);
        let most = self.max_choices.max(2);
        if widths.len() > most {
            let last = widths.len() - 1;
            widths = (0..most)
                .map(|i| widths[(i * last + (most - 1) / 2) / (most - 1)])
                .collect();
        }
        widths
    }

    /// A group with this grid's widths.
    pub fn group(&self, name: impl Into<String>, channels: usize) -> GroupSpace {
        GroupSpace {
            name: name.into(),
            channels,
            widths: self.widths(channels),
        }
    }

    /// As [`WidthGrid::group`], for a group that may be emptied: with the width 0, if the grid says so.
    pub fn removable_group(&self, name: impl Into<String>, channels: usize) -> GroupSpace {
        let mut group = self.group(name, channels);
        if self.remove {
            group.widths.insert(0, 0);
        }
        group
    }
}

/// How far the widths of one configuration lie apart, as a share of their range; the rest is common to all groups.
const SPREAD: f64 = 0.7;

/// All groups with their admissible widths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// The groups in topological order, the order in which an episode decides them.
    pub groups: Vec<GroupSpace>,
}

impl Space {
    /// A space of the given groups.
    ///
    /// # Errors
    /// [`SearchError::InvalidSpace`] if there is no group, or a group's widths are empty, not strictly ascending, or do
    /// not end with the full width, which is at least 1.
    pub fn new(groups: Vec<GroupSpace>) -> Result<Self, SearchError> {
        if groups.is_empty() {
            return Err(SearchError::InvalidSpace {
                group: "(none)".into(),
                reason: "the network has no prunable group; `inspect` says why".into(),
            });
        }
        for group in &groups {
            let ascending = group.widths.windows(2).all(|w| w[0] < w[1]);
            let ends = group.channels > 0 && group.widths.last() == Some(&group.channels);
            if !ascending || !ends {
                return Err(SearchError::InvalidSpace {
                    group: group.name.clone(),
                    reason: format!(
                        "widths {:?} must ascend to the full width {}, which is at least 1",
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

    /// True if there is no group (never the case after [`Space::new`]).
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Every group at full width.
    pub fn full(&self) -> Config {
        Config(self.groups.iter().map(|g| g.channels).collect())
    }

    /// Every group at its smallest width.
    pub fn smallest(&self) -> Config {
        Config(
            self.groups
                .iter()
                .map(|g| g.widths.first().copied().unwrap_or(g.channels))
                .collect(),
        )
    }

    /// The index of the admissible width of group `g` that is nearest to `ratio` of its channels; of two that are
    /// equally near, the wider one.
    pub fn snap_index(&self, g: usize, ratio: f64) -> usize {
        let group = &self.groups[g];
        let wanted = ratio * group.channels as f64;
        let above = group.widths.partition_point(|&w| (w as f64) < wanted);
        match above {
            0 => 0,
            i if i == group.widths.len() => i - 1,
            i if group.widths[i] as f64 - wanted <= wanted - group.widths[i - 1] as f64 => i,
            i => i - 1,
        }
    }

    /// Every group at the width next to the same keep ratio. None is removed: a uniform network has all its layers.
    pub fn uniform(&self, ratio: f64) -> Config {
        let width = |g: usize| {
            let index = self.snap_index(g, ratio);
            let widths = &self.groups[g].widths;
            match widths[index] {
                0 => widths[index + 1],
                width => width,
            }
        };
        Config((0..self.len()).map(width).collect())
    }

    /// A random configuration whose widths lie around a common share of their ranges, so that configurations of all costs are drawn.
    pub fn spread(&self, rng: &mut SeededRng) -> Config {
        let common = rng.unit() * (1.0 - SPREAD);
        let width = |group: &GroupSpace| {
            let place = common + SPREAD * rng.unit();
            group.widths[(place * (group.widths.len() - 1) as f64).round() as usize]
        };
        Config(self.groups.iter().map(width).collect())
    }

    /// All different uniform configurations with the ratio at which each begins, ascending.
    pub fn uniform_levels(&self) -> Vec<(f64, Config)> {
        let mut ratios: Vec<f64> = self
            .groups
            .iter()
            .flat_map(|g| {
                g.widths
                    .windows(2)
                    .map(|w| (w[0] + w[1]) as f64 / (2.0 * g.channels as f64))
            })
            .collect();
        ratios.push(0.0);
        ratios.sort_by(f64::total_cmp);
        let mut levels: Vec<(f64, Config)> = Vec::new();
        for ratio in ratios {
            // The nudge settles rounding at the middle between two widths in favour of the wider one.
            let config = self.uniform(ratio + 1e-9);
            if levels.last().is_none_or(|(_, last)| *last != config) {
                levels.push((ratio, config));
            }
        }
        levels
    }

    /// Index of the width that `config` has in group `g`; the next larger one if it is not admissible.
    pub fn index(&self, config: &Config, g: usize) -> usize {
        let group = &self.groups[g];
        group
            .widths
            .partition_point(|&w| w < config.0[g])
            .min(group.widths.len() - 1)
    }

    /// Checks that `config` lies in the space.
    ///
    /// # Errors
    /// [`SearchError::InvalidConfig`] naming the first group that does not fit.
    pub fn check(&self, config: &Config) -> Result<(), SearchError> {
        let invalid = |reason| {
            Err(SearchError::InvalidConfig {
                config: config.to_string(),
                reason,
            })
        };
        if config.0.len() != self.len() {
            return invalid(format!(
                "{} groups are expected, not {}",
                self.len(),
                config.0.len()
            ));
        }
        for (group, width) in self.groups.iter().zip(&config.0) {
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
    pub fn size(&self) -> u64 {
        self.groups
            .iter()
            .fold(1u64, |size, g| size.saturating_mul(g.widths.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_give_the_expected_widths() {
        let cases: &[(f64, usize, usize, usize, &[usize])] = &[
            (0.25, 4, 16, 16, &[4, 8, 12, 16]),
            (0.2, 8, 16, 64, &[16, 24, 32, 40, 48, 56, 64]),
            (0.3, 4, 16, 10, &[4, 8, 10]),
            (0.3, 1, 16, 10, &[3, 4, 5, 6, 7, 8, 9, 10]),
            (0.2, 8, 16, 12, &[4, 8, 12]),
            (0.2, 8, 16, 1, &[1]),
            (0.2, 8, 16, 3, &[1, 2, 3]),
            (1.0, 8, 16, 64, &[64]),
            (0.1, 8, 4, 128, &[16, 56, 88, 128]),
            (0.1, 8, 2, 128, &[16, 128]),
        ];
        for &(min_keep, multiple, max_choices, channels, expected) in cases {
            let grid = WidthGrid {
                min_keep,
                multiple,
                max_choices,
                ..WidthGrid::default()
            };
            grid.check().unwrap();
            assert_eq!(grid.widths(channels), expected, "{grid:?} of {channels}");
        }
    }

    #[test]
    fn bad_grids_and_spaces_are_refused() {
        for grid in [
            WidthGrid {
                min_keep: 0.0,
                ..WidthGrid::default()
            },
            WidthGrid {
                min_keep: f64::NAN,
                ..WidthGrid::default()
            },
            WidthGrid {
                multiple: 0,
                ..WidthGrid::default()
            },
            WidthGrid {
                max_choices: 1,
                ..WidthGrid::default()
            },
        ] {
            assert!(
                matches!(grid.check(), Err(SearchError::InvalidOption { .. })),
                "{grid:?}"
            );
        }
        for widths in [vec![], vec![0], vec![4, 4, 8], vec![8, 4], vec![4]] {
            let group = GroupSpace {
                name: "g".into(),
                channels: 8,
                widths,
            };
            assert!(matches!(
                Space::new(vec![group]),
                Err(SearchError::InvalidSpace { .. })
            ));
        }
        assert!(Space::new(vec![]).is_err());
    }

    #[test]
    fn only_a_removable_group_can_be_emptied_and_uniform_widths_never_are() {
        let grid = WidthGrid::default();
        let space = Space::new(vec![grid.group("a", 16), grid.removable_group("b", 16)]).unwrap();
        assert_eq!(space.smallest().0, [4, 0]);
        assert!(space.check(&Config(vec![0, 8])).is_err());
        assert!(space.uniform_levels().iter().all(|(_, c)| c.0[1] > 0));
        let kept = WidthGrid {
            remove: false,
            ..grid
        };
        assert_eq!(kept.removable_group("b", 16), kept.group("b", 16));
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
        for (_, config) in &levels {
            space.check(config).unwrap();
        }
        assert!(space.check(&Config(vec![5, 24, 10])).is_err());
        assert!(space.check(&Config(vec![16, 24])).is_err());
    }
}
