//! Evolutionary search as in MetaPruning (Liu et al., ICCV 2019, arXiv 1903.10258).

use crate::strategy::{from_json, to_json};
use crate::{
    BudgetTracker, Config, Environment, Outcome, SearchError, SeededRng, Strategy, TrackerConfig,
    candidates,
};
use serde::{Deserialize, Serialize};

const NAME: &str = "evolution";

/// Settings of [`Evolution`]; the defaults are MetaPruning's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvolutionConfig {
    /// Seed.
    pub seed: u64,
    /// Random candidates to begin with, the first of which is the best uniform one.
    pub population: usize,
    /// Parents: the best so many of all told.
    pub top: usize,
    /// Probability that a gene mutates.
    pub mutation: f64,
    /// Share of children made by crossover; the others are mutated.
    pub crossover: f64,
    /// Share of mutated genes that move to a neighbouring width rather than to any.
    pub local: f64,
    /// How the budget is followed.
    pub tracker: TrackerConfig,
}

impl Default for EvolutionConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            population: 50,
            top: 10,
            mutation: 0.1,
            crossover: 0.5,
            local: 0.5,
            tracker: TrackerConfig::default(),
        }
    }
}

impl EvolutionConfig {
    /// The defaults, with the random beginning cut to a quarter of a search of `episodes` candidates: MetaPruning
    /// evaluates a thousand, where 50 random ones do not matter.
    pub fn for_episodes(episodes: usize) -> Self {
        Self {
            population: (episodes / 4).clamp(4, 50),
            ..Self::default()
        }
    }

    fn check(&self) -> Result<(), SearchError> {
        self.tracker.check()?;
        for (option, value) in [
            ("mutation", self.mutation),
            ("crossover", self.crossover),
            ("local", self.local),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return Err(SearchError::InvalidOption {
                    option,
                    reason: format!("must be between 0 and 1, not {value}"),
                });
            }
        }
        for (option, value) in [("population", self.population), ("top", self.top)] {
            if value == 0 {
                return Err(SearchError::InvalidOption {
                    option,
                    reason: "must be at least 1".into(),
                });
            }
        }
        Ok(())
    }
}

/// Evolution of width configurations.
///
/// Differs from the paper in two ways: children are made one by one from the best of everything told so far instead of
/// in generations (nothing learned is left unused until the generation ends), and a child outside the budget's band is
/// repaired after some rejections instead of being drawn again without end.
#[derive(Clone, Debug)]
pub struct Evolution {
    state: State,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    strategy: String,
    config: EvolutionConfig,
    tracker: BudgetTracker,
    rng: SeededRng,
}

impl Evolution {
    /// An evolutionary search.
    ///
    /// # Errors
    /// [`SearchError::InvalidOption`] if the settings make no sense.
    pub fn new(config: EvolutionConfig) -> Result<Self, SearchError> {
        config.check()?;
        let tracker = BudgetTracker::new(config.tracker.clone());
        let rng = SeededRng::new(config.seed, 2);
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

impl State {
    fn propose(&mut self, env: &dyn Environment) -> Result<Config, SearchError> {
        let band = self.tracker.band(env)?;
        let tried = self.tracker.tried();
        if tried == 0 {
            let levels = env.space().uniform_levels();
            return Ok(levels[candidates::best_uniform(env, &band, &levels)]
                .1
                .clone());
        }
        let parents: Vec<Config> = self
            .tracker
            .ranked()
            .iter()
            .take(self.config.top)
            .map(|t| t.config.clone())
            .collect();
        let mut last = None;
        for _ in 0..20 {
            let config = if tried < self.config.population || parents.is_empty() {
                let spread = 0.2 + 0.8 * self.rng.unit();
                candidates::draw(env, &band, 0.5, spread, &mut self.rng)
            } else {
                let mut child = self.child(env, &parents);
                for _ in 0..4 {
                    if band.holds(env.cost(&child)) {
                        break;
                    }
                    child = self.child(env, &parents);
                }
                candidates::settle(env, &band, child, &mut self.rng)
            };
            let config = candidates::widen(env, &band, config, &mut self.rng);
            if !self.tracker.seen(&config) {
                return Ok(config);
            }
            last = Some(config);
        }
        let base = last.unwrap_or_else(|| env.space().smallest());
        candidates::unseen(env, &band, &self.tracker, base, &mut self.rng)
    }

    fn child(&mut self, env: &dyn Environment, parents: &[Config]) -> Config {
        let rng = &mut self.rng;
        let space = env.space();
        let mut child = parents[rng.below(parents.len())].clone();
        if parents.len() > 1 && rng.chance(self.config.crossover) {
            let other = &parents[rng.below(parents.len())];
            for (gene, theirs) in child.0.iter_mut().zip(&other.0) {
                if rng.chance(0.5) {
                    *gene = *theirs;
                }
            }
            return child;
        }
        // One gene moves at least, so that a mutation is never a copy by chance alone.
        let forced = rng.below(space.len());
        for g in 0..space.len() {
            if g != forced && !rng.chance(self.config.mutation) {
                continue;
            }
            let widths = &space.groups[g].widths;
            let index = if rng.chance(self.config.local) {
                let index = space.index(&child, g);
                if rng.chance(0.5) {
                    index.saturating_sub(1)
                } else {
                    (index + 1).min(widths.len() - 1)
                }
            } else {
                rng.below(widths.len())
            };
            child.0[g] = widths[index];
        }
        child
    }
}

impl Strategy for Evolution {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ask(&mut self, env: &mut dyn Environment) -> Result<Config, SearchError> {
        let config = self.state.propose(env)?;
        self.state.tracker.mark(&config);
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
