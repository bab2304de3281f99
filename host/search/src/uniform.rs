//! The uniform baseline: one keep ratio for the whole network.

use crate::strategy::plain_state;
use crate::{BudgetTracker, Environment, SearchError, Strategy, TrackerConfig, Widths, candidates};
use serde::{Deserialize, Serialize};

const NAME: &str = "uniform";

/// Settings of [`Uniform`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UniformConfig {
    /// Settings for keeping candidates near the budget.
    pub tracker: TrackerConfig,
}

/// Proposes the largest uniform configuration within the budget, found by bisection, then its
/// neighbours: the next wider one after a feasible outcome, the next narrower one after an
/// infeasible one. A few outcomes yield the largest feasible one by measurement.
#[derive(Clone, Debug)]
pub struct Uniform {
    state: UniformState,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct UniformState {
    strategy: String,
    tracker: BudgetTracker,
}

impl Uniform {
    /// Creates a uniform search.
    ///
    /// # Errors
    /// [`SearchError::InvalidOption`] for invalid settings.
    pub fn new(config: UniformConfig) -> Result<Self, SearchError> {
        config.tracker.check()?;
        Ok(Self {
            state: UniformState {
                strategy: NAME.into(),
                tracker: BudgetTracker::new(config.tracker),
            },
        })
    }
}

impl Strategy for Uniform {
    plain_state!(NAME, UniformState);

    fn ask(&mut self, env: &mut dyn Environment) -> Result<Widths, SearchError> {
        let tracker = &mut self.state.tracker;
        let band = tracker.band(env)?;
        let levels = env.space().uniform_levels();
        let predicted = candidates::best_uniform(env, &band, &levels);
        // Start at the boundary between feasible and infeasible measurements, if there is one.
        let highest_feasible = levels
            .iter()
            .rposition(|(_, level)| tracker.feasible(level) == Some(true));
        let lowest_infeasible = levels
            .iter()
            .position(|(_, level)| tracker.feasible(level) == Some(false));
        let start = match (highest_feasible, lowest_infeasible) {
            _ if !env.enforces_budget() => predicted,
            (Some(feasible), _) => (feasible + 1).min(levels.len() - 1),
            (None, Some(infeasible)) => predicted.min(infeasible.saturating_sub(1)),
            (None, None) => predicted,
        };
        let next = (0..levels.len())
            .flat_map(|distance| [start.checked_sub(distance), start.checked_add(distance)])
            .flatten()
            .filter(|&i| i < levels.len())
            .find(|&i| !tracker.seen(&levels[i].1))
            .ok_or(SearchError::Exhausted {
                tried: tracker.tried(),
            })?;
        let widths = levels[next].1.clone();
        tracker.exclude(&widths);
        Ok(widths)
    }
}
