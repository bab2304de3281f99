//! The random baseline: random configurations close under the budget.

use crate::strategy::{from_json, to_json};
use crate::{
    BudgetTracker, Config, Environment, Outcome, SearchError, SeededRng, Strategy, TrackerConfig,
    candidates,
};
use serde::{Deserialize, Serialize};

const NAME: &str = "random";

/// Settings of [`Random`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomConfig {
    /// Seed.
    pub seed: u64,
    /// How far groups differ: 1 draws every group's width independently and uniformly, 0 is a uniform network.
    pub spread: f64,
    /// How the budget is followed.
    pub tracker: TrackerConfig,
}

impl Default for RandomConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            spread: 1.0,
            tracker: TrackerConfig::default(),
        }
    }
}

/// Draws every group's width at random; a draw outside the band is shifted as a whole into it and repaired by single
/// steps, because most plain draws are either beyond the budget or wastefully below it.
#[derive(Clone, Debug)]
pub struct Random {
    state: State,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    strategy: String,
    config: RandomConfig,
    tracker: BudgetTracker,
    rng: SeededRng,
}

impl Random {
    /// A random search.
    ///
    /// # Errors
    /// [`SearchError::InvalidOption`] if the settings make no sense.
    pub fn new(config: RandomConfig) -> Result<Self, SearchError> {
        config.tracker.check()?;
        if !(0.0..=1.0).contains(&config.spread) {
            return Err(SearchError::InvalidOption {
                option: "spread",
                reason: format!("must be between 0 and 1, not {}", config.spread),
            });
        }
        let tracker = BudgetTracker::new(config.tracker.clone());
        let rng = SeededRng::new(config.seed, 1);
        Ok(Self {
            state: State {
                strategy: NAME.into(),
                config,
                tracker,
                rng,
            },
        })
    }
}

impl Strategy for Random {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ask(&mut self, env: &mut dyn Environment) -> Result<Config, SearchError> {
        let State {
            config,
            tracker,
            rng,
            ..
        } = &mut self.state;
        let band = tracker.band(env)?;
        for _ in 0..20 {
            let drawn = candidates::draw(env, &band, 0.5, config.spread, rng);
            let drawn = candidates::widen(env, &band, drawn, rng);
            if !tracker.seen(&drawn) {
                tracker.mark(&drawn);
                return Ok(drawn);
            }
        }
        let drawn = candidates::draw(env, &band, 0.5, config.spread, rng);
        let fresh = candidates::unseen(env, &band, tracker, drawn, rng)?;
        tracker.mark(&fresh);
        Ok(fresh)
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
