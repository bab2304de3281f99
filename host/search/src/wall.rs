//! The action wall of AMC (He et al., ECCV 2018), with a floor.

use crate::{Band, Config, Environment};

/// Caps each group's width, group after group, so that the finished configuration meets the band.
///
/// The ceiling holds however the predicted cost behaves: a width is admitted only if the decided groups, this one, and
/// the rest at smallest together are within the limit, and that very configuration is the fallback of the next group.
/// The floor is our addition: where even the rest at full width would end below the band, the width is raised.
#[derive(Clone, Debug)]
pub struct Wall {
    band: Band,
    decided: Vec<usize>,
    smallest: Vec<usize>,
    full: Vec<usize>,
    capped: usize,
}

impl Wall {
    /// A wall for one episode.
    pub fn new(env: &dyn Environment, band: Band) -> Self {
        Self {
            band,
            decided: Vec::new(),
            smallest: env.space().smallest().0,
            full: env.space().full().0,
            capped: 0,
        }
    }

    fn with_tail(&self, width: Option<usize>, tail: &[usize]) -> Config {
        let mut config = self.decided.clone();
        config.extend(width);
        config.extend_from_slice(&tail[config.len()..]);
        Config(config)
    }

    /// Decided groups at their width, the others at full.
    pub fn partial(&self) -> Config {
        self.with_tail(None, &self.full)
    }

    /// Predicted cost with the undecided groups at smallest and at full width.
    pub fn reach(&self, env: &dyn Environment) -> (f64, f64) {
        (
            env.cost(&self.with_tail(None, &self.smallest)),
            env.cost(&self.with_tail(None, &self.full)),
        )
    }

    /// Number of groups whose wish was not granted so far.
    pub fn capped(&self) -> usize {
        self.capped
    }

    /// Decides the next group: the admissible width next to `wish` (an index into the group's widths) that keeps the
    /// band within reach. Gives the width's index.
    pub fn decide(&mut self, env: &dyn Environment, wish: usize) -> usize {
        let widths = &env.space().groups[self.decided.len()].widths;
        let mut index = wish.min(widths.len() - 1);
        if self.band.floor > 0.0 {
            while index + 1 < widths.len()
                && env.cost(&self.with_tail(Some(widths[index]), &self.full)) < self.band.floor
            {
                index += 1;
            }
        }
        if self.band.limit.is_finite() {
            while index > 0
                && env.cost(&self.with_tail(Some(widths[index]), &self.smallest)) > self.band.limit
            {
                index -= 1;
            }
        }
        self.capped += usize::from(index != wish);
        self.decided.push(widths[index]);
        index
    }

    /// The finished configuration; undecided groups at smallest.
    pub fn finish(self) -> Config {
        self.with_tail(None, &self.smallest)
    }
}
