//! Groups of channels and their admissible widths.

use crate::SearchError;
use serde::{Deserialize, Serialize};

/// A group of channels with its admissible widths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSpace {
    /// Name in messages and reports.
    pub name: String,
    /// Number of channels in the unpruned network.
    pub channels: usize,
    /// Admissible widths, ascending, ending with `channels` where the group may stay whole. A
    /// width of 0 removes the group and with it its branch.
    pub widths: Vec<usize>,
    /// The width in every uniform configuration; the one nearest to its ratio if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uniform: Option<usize>,
}

impl GroupSpace {
    /// Returns an axis beside the groups of channels: one of `options`, ascending, which is
    /// `uniform` in every uniform configuration.
    pub fn choice(name: impl Into<String>, options: Vec<usize>, uniform: usize) -> Self {
        Self {
            name: name.into(),
            channels: options.last().copied().unwrap_or(0),
            widths: options,
            uniform: Some(uniform),
        }
    }

    /// Returns the keep ratio at `position` in the range from the smallest (0) to the full width
    /// (1).
    pub(crate) fn ratio_at(&self, position: f64) -> f64 {
        let smallest =
            self.widths.first().copied().unwrap_or(self.channels) as f64 / self.channels as f64;
        smallest + position * (1.0 - smallest)
    }

    /// Returns the position of the width at `index`; 1 if there is no choice.
    pub(crate) fn position_of(&self, index: usize) -> f64 {
        let smallest = self.widths.first().copied().unwrap_or(self.channels);
        if smallest == self.channels {
            return 1.0;
        }
        (self.widths[index] - smallest) as f64 / (self.channels - smallest) as f64
    }
}

/// Rule for admissible widths: multiples of `multiple` from `min_keep` on, and the full width.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WidthGrid {
    /// Smallest keep ratio, in (0, 1].
    pub min_keep: f64,
    /// Widths are multiples of this, which suits the kernels of inference runtimes. It is halved
    /// for a narrow group until the group has two multiples.
    pub multiple: usize,
    /// Most widths per group, evenly spread from the smallest to the full one.
    pub max_choices: usize,
    /// Whether the group inside a residual branch may be emptied, which removes the branch. A
    /// branch with more than half of the groups stays.
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

    /// Returns the admissible widths of a group of `channels`, ascending, ending with `channels`;
    /// none for no channels.
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

    /// Returns a group with the widths of this grid.
    pub fn group(&self, name: impl Into<String>, channels: usize) -> GroupSpace {
        GroupSpace {
            name: name.into(),
            channels,
            widths: self.widths(channels),
            uniform: None,
        }
    }

    /// As [`WidthGrid::group`] for a removable group: adds the width 0 if [`WidthGrid::remove`]
    /// is set.
    pub fn removable_group(&self, name: impl Into<String>, channels: usize) -> GroupSpace {
        let mut group = self.group(name, channels);
        if self.remove {
            group.widths.insert(0, 0);
        }
        group
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
    fn invalid_grids_are_refused() {
        let default = WidthGrid::default;
        for grid in [
            WidthGrid {
                min_keep: 0.0,
                ..default()
            },
            WidthGrid {
                min_keep: f64::NAN,
                ..default()
            },
            WidthGrid {
                multiple: 0,
                ..default()
            },
            WidthGrid {
                max_choices: 1,
                ..default()
            },
        ] {
            let error = grid.check();
            assert!(
                matches!(error, Err(SearchError::InvalidOption { .. })),
                "{grid:?}"
            );
        }
    }
}
