//! Random width configurations of the joint training.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// Distribution of the widths of a random network; groups are independent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DrawConfig {
    /// Preference for wide groups: the position among a group's widths is the `wide`-th root of a
    /// uniform number, so 1 draws uniformly and 2 takes the wider of two. If absent, it is fitted
    /// so that the networks' mean cost equals the budget and training covers the region of the
    /// search.
    pub wide: Option<f64>,
    /// Probability of emptying a removable group.
    pub removal: f64,
}

impl Default for DrawConfig {
    fn default() -> Self {
        Self {
            wide: None,
            removal: 0.15,
        }
    }
}

/// Range of a fitted `wide`.
const WIDE: (f64, f64) = (0.5, 8.0);
/// Number of networks of a mean cost.
const DRAWS: usize = 200;

impl DrawConfig {
    /// Checks the fields.
    ///
    /// # Errors
    /// [`TrainError::Widths`] for a probability outside 0..=1 or a non-positive preference.
    pub fn check(&self) -> Result<(), TrainError> {
        let bad = |reason: &str| {
            Err(TrainError::Widths {
                reason: reason.into(),
            })
        };
        if !(0.0..=1.0).contains(&self.removal) {
            return bad("joint.draw.removal is a probability, from 0 to 1");
        }
        if self.wide.is_some_and(|w| !(w > 0.0 && w.is_finite())) {
            return bad("joint.draw.wide must be above 0");
        }
        Ok(())
    }

    /// Draws widths from `grids`, each ascending and not empty.
    pub(crate) fn draw(&self, grids: &[Vec<usize>], rng: &mut ChaCha8Rng) -> Vec<usize> {
        let wide = self.wide.unwrap_or(1.0);
        let draw = |grid: &Vec<usize>| {
            let (chance, position) = (rng.random::<f64>(), rng.random::<f64>());
            let kept = match grid.as_slice() {
                [0, ..] if chance < self.removal => return 0,
                [0, kept @ ..] if !kept.is_empty() => kept,
                all => all,
            };
            let index = (position.powf(1.0 / wide) * kept.len() as f64) as usize;
            kept[index.min(kept.len() - 1)]
        };
        grids.iter().map(draw).collect()
    }

    /// Fits an absent `wide` so that the mean of `cost` over networks drawn from `grids` is as
    /// close to `target` as the range of the preference allows.
    #[must_use]
    pub fn fitted(self, grids: &[Vec<usize>], cost: impl Fn(&[usize]) -> f64, target: f64) -> Self {
        if self.wide.is_some() {
            return self;
        }
        let mean = |wide: f64| {
            // Common random numbers make the mean rise monotonically with the preference.
            let mut rng = ChaCha8Rng::seed_from_u64(0);
            let draw = Self {
                wide: Some(wide),
                ..self
            };
            let sum: f64 = (0..DRAWS).map(|_| cost(&draw.draw(grids, &mut rng))).sum();
            sum / DRAWS as f64
        };
        let (mut low, mut high) = WIDE;
        for _ in 0..20 {
            let middle = (low * high).sqrt();
            if mean(middle) < target {
                low = middle;
            } else {
                high = middle;
            }
        }
        Self {
            wide: Some((low * high).sqrt()),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grids() -> Vec<Vec<usize>> {
        vec![vec![0, 4, 8, 12, 16], vec![4, 8, 12, 16], vec![8]]
    }

    fn mean(draw: DrawConfig, group: usize) -> f64 {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let widths = (0..4000).map(|_| draw.draw(&grids(), &mut rng)[group] as f64);
        widths.sum::<f64>() / 4000.0
    }

    #[test]
    fn removable_groups_are_emptied_with_the_given_probability() {
        let draw = DrawConfig {
            wide: Some(1.0),
            removal: 0.3,
        };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let drawn: Vec<_> = (0..4000).map(|_| draw.draw(&grids(), &mut rng)).collect();
        let gone = |g: usize| drawn.iter().filter(|w| w[g] == 0).count() as f64 / 4000.0;
        assert!((gone(0) - 0.3).abs() < 0.03, "{}", gone(0));
        assert_eq!((gone(1), gone(2)), (0.0, 0.0));
        assert!(drawn.iter().all(|w| w[2] == 8));
    }

    #[test]
    fn the_fitted_preference_meets_the_target_or_its_bounds() {
        let cost = |w: &[usize]| w[1] as f64 / 16.0;
        for target in [0.6, 0.7, 0.85] {
            let draw = DrawConfig::default().fitted(&grids(), cost, target);
            assert!((mean(draw, 1) / 16.0 - target).abs() < 0.03, "{draw:?}");
        }
        let far = DrawConfig::default().fitted(&grids(), cost, 0.01);
        assert!((far.wide.unwrap() - WIDE.0).abs() < 0.01, "{far:?}");
        let own = DrawConfig {
            wide: Some(3.0),
            ..DrawConfig::default()
        };
        assert_eq!(own.fitted(&grids(), cost, 0.6), own);
    }

    #[test]
    fn invalid_settings_are_refused() {
        for (wide, removal) in [
            (Some(0.0), 0.1),
            (Some(f64::NAN), 0.1),
            (None, 1.5),
            (None, -0.1),
        ] {
            assert!(
                DrawConfig { wide, removal }.check().is_err(),
                "{wide:?} {removal}"
            );
        }
        DrawConfig::default().check().unwrap();
    }
}
