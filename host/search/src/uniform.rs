//! The uniform baseline: one keep ratio for the whole network.

use crate::strategy::{from_json, to_json};
use crate::{
    BudgetTracker, Config, Environment, Outcome, SearchError, Strategy, TrackerConfig, candidates,
};
use serde::{Deserialize, Serialize};

const NAME: &str = "uniform";

/// Settings of [`Uniform`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UniformConfig {
    /// How the budget is followed.
    pub tracker: TrackerConfig,
}

/// Asks for the largest uniform configuration within the budget, found by bisection over the different ones, then
/// for its neighbours: the next wider one after a feasible answer, the next narrower one after an infeasible one,
/// so that the largest feasible one by measurement is found after a few tells.
#[derive(Clone, Debug)]
pub struct Uniform {
    state: State,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    strategy: String,
    tracker: BudgetTracker,
}

impl Uniform {
    /// A uniform search.
    ///
    /// # Errors
    /// [`SearchError::InvalidOption`] if the settings make no sense.
    pub fn new(config: UniformConfig) -> Result<Self, SearchError> {
        config.tracker.check()?;
        Ok(Self {
            state: State {
                strategy: NAME.into(),
                tracker: BudgetTracker::new(config.tracker),
            },
        })
    }
}

impl Strategy for Uniform {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ask(&mut self, env: &mut dyn Environment) -> Result<Config, SearchError> {
        let tracker = &mut self.state.tracker;
        let band = tracker.band(env)?;
        let levels = env.space().uniform_levels();
        let predicted = candidates::best_uniform(env, &band, &levels);
        // Measurements say more than predictions: start from the boundary between feasible and infeasible tells.
        let answer = |config: &Config| {
            tracker
                .told()
                .iter()
                .find(|t| t.config == *config)
                .map(|t| t.feasible)
        };
        let highest_feasible = levels
            .iter()
            .rposition(|(_, config)| answer(config) == Some(true));
        let lowest_infeasible = levels
            .iter()
            .position(|(_, config)| answer(config) == Some(false));
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
        let config = levels[next].1.clone();
        tracker.mark(&config);
        Ok(config)
    }

    fn tell(&mut self, config: &Config, outcome: &Outcome) -> Result<(), SearchError> {
        self.state.tracker.tell(config, outcome)
    }

    fn abandon(&mut self, config: &Config) {
        self.state.tracker.mark(config);
    }

    fn snapshot(&self) -> Result<Vec<u8>, SearchError> {
        to_json(NAME, &self.state)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), SearchError> {
        let state: State = from_json(NAME, bytes)?;
        if state.strategy != NAME {
            return Err(SearchError::Snapshot {
                strategy: NAME,
                reason: format!("it is of a {} search", state.strategy),
            });
        }
        self.state = state;
        Ok(())
    }
}
