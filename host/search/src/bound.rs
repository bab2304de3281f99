//! The action bound of AMC (He et al., ECCV 2018), with a floor.

use crate::{Band, Environment, Widths};

/// Bounds each group's width, group after group, so that the complete configuration meets the
/// band.
///
/// The limit holds for any predicted cost: a width is admitted only if the configuration of the
/// decided groups, this width and the smallest widths of the rest is within the limit, and that
/// configuration is the fallback for the next group. The floor is our addition: if even full
/// widths of the rest end below the band, the width is raised.
#[derive(Clone, Debug)]
pub(crate) struct ActionBound {
    band: Band,
    decided: Vec<usize>,
    smallest: Vec<usize>,
    full: Vec<usize>,
}

impl ActionBound {
    /// Creates a bound for one episode.
    pub fn new(env: &dyn Environment, band: Band) -> Self {
        Self {
            band,
            decided: Vec::new(),
            smallest: env.space().smallest().0,
            full: env.space().full().0,
        }
    }

    fn with_rest(&self, width: Option<usize>, rest: &[usize]) -> Widths {
        let mut widths = self.decided.clone();
        widths.extend(width);
        widths.extend_from_slice(&rest[widths.len()..]);
        Widths(widths)
    }

    /// Returns the decided groups at their widths and the others at full width.
    pub fn partial(&self) -> Widths {
        self.with_rest(None, &self.full)
    }

    /// Returns the predicted costs with the undecided groups at smallest and at full width.
    pub fn cost_range(&self, env: &dyn Environment) -> (f64, f64) {
        (
            env.cost(&self.with_rest(None, &self.smallest)),
            env.cost(&self.with_rest(None, &self.full)),
        )
    }

    /// Decides the next group: the admissible width nearest to `action` (an index into the
    /// group's widths) that can still meet the band. Returns the index of the width.
    pub fn decide(&mut self, env: &dyn Environment, action: usize) -> usize {
        let widths = &env.space().groups[self.decided.len()].widths;
        let mut index = action.min(widths.len() - 1);
        if self.band.floor > 0.0 {
            while index + 1 < widths.len()
                && env.cost(&self.with_rest(Some(widths[index]), &self.full)) < self.band.floor
            {
                index += 1;
            }
        }
        if self.band.limit.is_finite() {
            while index > 0
                && env.cost(&self.with_rest(Some(widths[index]), &self.smallest)) > self.band.limit
            {
                index -= 1;
            }
        }
        self.decided.push(widths[index]);
        index
    }

    /// Returns the complete configuration; undecided groups get their smallest width.
    pub fn finish(self) -> Widths {
        self.with_rest(None, &self.smallest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SearchError, Space, WidthGrid};
    use proptest::prelude::*;

    /// Costs in arbitrary order: neither linear nor monotone.
    struct Rugged {
        space: Space,
        budget: f64,
        salt: u64,
    }

    impl Environment for Rugged {
        fn space(&self) -> &Space {
            &self.space
        }

        fn embeddings(&mut self, _: &Widths) -> Result<Vec<Vec<f32>>, SearchError> {
            Ok(vec![vec![0.0]; self.space.len()])
        }

        fn cost(&self, widths: &Widths) -> f64 {
            let mut hash = self.salt;
            for &width in &widths.0 {
                hash = (hash ^ width as u64)
                    .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                    .rotate_left(23);
            }
            let sum: usize = widths.0.iter().sum();
            let full: usize = self.space.full().0.iter().sum();
            sum as f64 / full as f64 + (hash % 1000) as f64 / 2000.0
        }

        fn budget(&self) -> f64 {
            self.budget
        }
    }

    proptest! {
        #[test]
        fn no_episode_ends_beyond_the_budget(
            channels in prop::collection::vec(1usize..200, 1..12),
            actions in prop::collection::vec(0usize..16, 12),
            salt in any::<u64>(),
            budget in 0.1f64..1.5,
            fill in 0.0f64..1.0,
        ) {
            let grid = WidthGrid::default();
            let group = |(i, &c)| grid.group(format!("g{i}"), c);
            let space = Space::new(channels.iter().enumerate().map(group).collect()).unwrap();
            let env = Rugged { space, budget, salt };
            let smallest = env.space.smallest();
            let reachable = env.cost(&smallest) <= budget;
            let band = Band { floor: fill * budget, limit: budget };
            let mut bound = ActionBound::new(&env, band);
            for action in &actions[..channels.len()] {
                bound.decide(&env, *action);
            }
            let widths = bound.finish();
            prop_assert!(env.space.check(&widths).is_ok());
            // If the smallest configuration is beyond the budget, another one can be within it.
            prop_assert!(!reachable || env.cost(&widths) <= budget);
        }
    }
}
