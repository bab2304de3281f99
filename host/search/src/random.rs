//! The random baseline: random configurations close to the budget.

use crate::strategy::plain_state;
use crate::{
    BudgetTracker, Environment, SearchError, SeededRng, Strategy, TrackerConfig, Widths, candidates,
};
use serde::{Deserialize, Serialize};

const NAME: &str = "random";

/// Settings of [`Random`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomConfig {
    /// Seed.
    pub seed: u64,
    /// Difference between groups: 1 draws every width independently and uniformly, 0 yields
    /// uniform networks.
    pub spread: f64,
    /// Settings for keeping candidates near the budget.
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

/// Draws every group's width at random. A draw outside the band is shifted into it as a whole and
/// repaired by single steps, because most plain draws are beyond the budget or far below it.
#[derive(Clone, Debug)]
pub struct Random {
    state: RandomState,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct RandomState {
    strategy: String,
    config: RandomConfig,
    tracker: BudgetTracker,
    rng: SeededRng,
}

impl Random {
    /// Creates a random search.
    ///
    /// # Errors
    /// [`SearchError::InvalidOption`] for invalid settings.
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
            state: RandomState {
                strategy: NAME.into(),
                config,
                tracker,
                rng,
            },
        })
    }
}

impl Strategy for Random {
    plain_state!(NAME, RandomState);

    fn ask(&mut self, env: &mut dyn Environment) -> Result<Widths, SearchError> {
        let RandomState {
            config,
            tracker,
            rng,
            ..
        } = &mut self.state;
        let band = tracker.band(env)?;
        for _ in 0..20 {
            let drawn = candidates::draw(env, &band, config.spread, rng);
            let drawn = candidates::widen(env, &band, drawn, rng);
            if !tracker.seen(&drawn) {
                tracker.exclude(&drawn);
                return Ok(drawn);
            }
        }
        let drawn = candidates::draw(env, &band, config.spread, rng);
        let unseen = candidates::unseen(env, &band, tracker, drawn, rng)?;
        tracker.exclude(&unseen);
        Ok(unseen)
    }
}
