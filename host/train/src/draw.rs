//! Which networks the joint training draws.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// How the widths of a random network are drawn, each group by itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DrawConfig {
    /// Preference for wide groups: the position among a group's widths is the `wide`-th root of a uniform number, so 1
    /// draws uniformly and 2 takes the wider of two. When absent, it is fitted so that the networks' mean cost is what the
    /// budget allows, and training spends its time where the search will look.
    pub wide: Option<f64>,
    /// Probability with which a group that may be emptied is.
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

/// The range in which `wide` is fitted.
const WIDE: (f64, f64) = (0.5, 8.0);
/// Networks over which a mean cost is taken.
const DRAWS: usize = 200;

impl DrawConfig {
    /// Checks the fields.
    ///
    /// # Errors
    /// [`TrainError::Widths`] for a probability beyond 0..=1 or a preference that is not above 0.
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

    /// Widths from `grids`, each of them ascending and not empty.
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

    /// With `wide` fitted, where it is absent, so that the mean of `cost` over networks drawn from `grids` is `target` or as
    /// near to it as the preference can bring it.
    #[must_use]
    pub fn fitted(self, grids: &[Vec<usize>], cost: impl Fn(&[usize]) -> f64, target: f64) -> Self {
        if self.wide.is_some() {
            return self;
        }
        let mean = |wide: f64| {
            // The same random numbers for every preference, so that the mean rises with it.
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
    fn a_group_goes_as_often_as_asked_and_the_others_never() {
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
    fn the_fitted_preference_meets_the_target_or_ends_at_its_bounds() {
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
    fn senseless_settings_are_refused() {
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
