//! Evolutionary search as in MetaPruning (Liu et al., ICCV 2019, arXiv 1903.10258).

use crate::strategy::plain_state;
use crate::{
    Band, BudgetTracker, Environment, SearchError, SeededRng, Strategy, TrackerConfig, Widths,
    candidates, knapsack,
};
use serde::{Deserialize, Serialize};

const NAME: &str = "evolution";

/// Settings of [`Evolution`]; the defaults are MetaPruning's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvolutionConfig {
    /// Seed.
    pub seed: u64,
    /// Number of initial candidates: random ones, the first the best uniform one; where the
    /// environment has losses, those of a knapsack.
    pub population: usize,
    /// Number of parents: the best of all evaluated candidates.
    pub top: usize,
    /// Probability that a gene mutates.
    pub mutation: f64,
    /// Share of children made by crossover; the others are mutations.
    pub crossover: f64,
    /// Share of mutated genes that move to a neighbouring width instead of any width.
    pub local: f64,
    /// Settings for keeping candidates near the budget.
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
    /// Returns the defaults with an initial population of at most a quarter of `episodes`.
    /// MetaPruning evaluates a thousand candidates; its 50 random ones hardly count there.
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
/// Differs from the paper in two ways: children are made one by one from the best of all
/// evaluated candidates instead of in generations, so every outcome is used at once; and a child
/// outside the band is repaired after some rejections instead of drawn again without end.
#[derive(Clone, Debug)]
pub struct Evolution {
    state: EvolutionState,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct EvolutionState {
    strategy: String,
    config: EvolutionConfig,
    tracker: BudgetTracker,
    rng: SeededRng,
}

impl Evolution {
    /// Creates an evolutionary search.
    ///
    /// # Errors
    /// [`SearchError::InvalidOption`] for invalid settings.
    pub fn new(config: EvolutionConfig) -> Result<Self, SearchError> {
        config.check()?;
        let tracker = BudgetTracker::new(config.tracker.clone());
        let rng = SeededRng::new(config.seed, 2);
        Ok(Self {
            state: EvolutionState {
                strategy: NAME.into(),
                config,
                tracker,
                rng,
            },
        })
    }
}

impl EvolutionState {
    fn propose(&mut self, env: &dyn Environment) -> Result<Widths, SearchError> {
        let band = self.tracker.band(env)?;
        let tried = self.tracker.tried();
        let seeded = tried < self.config.population;
        if seeded && let Some(seed) = knapsack::seed(env, &band, tried, &mut self.rng)? {
            return candidates::unseen(env, &band, &self.tracker, seed, &mut self.rng);
        }
        if tried == 0 {
            let levels = env.space().uniform_levels();
            return Ok(levels[candidates::best_uniform(env, &band, &levels)]
                .1
                .clone());
        }
        let parents: Vec<Widths> = self
            .tracker
            .ranked()
            .iter()
            .take(self.config.top)
            .map(|e| e.widths.clone())
            .collect();
        let initial = tried < self.config.population || parents.is_empty();
        let mut last = None;
        for _ in 0..20 {
            let candidate = if initial {
                let spread = 0.2 + 0.8 * self.rng.unit();
                candidates::draw(env, &band, spread, &mut self.rng)
            } else {
                self.settled_child(env, &band, &parents)
            };
            let candidate = candidates::widen(env, &band, candidate, &mut self.rng);
            if !self.tracker.seen(&candidate) {
                return Ok(candidate);
            }
            last = Some(candidate);
        }
        let base = last.unwrap_or_else(|| env.space().smallest());
        candidates::unseen(env, &band, &self.tracker, base, &mut self.rng)
    }

    /// Makes a child in the band: the last of up to five is repaired.
    fn settled_child(&mut self, env: &dyn Environment, band: &Band, parents: &[Widths]) -> Widths {
        let mut child = self.child(env, parents);
        for _ in 0..4 {
            if band.contains(env.cost(&child)) {
                break;
            }
            child = self.child(env, parents);
        }
        candidates::settle(env, band, child, &mut self.rng)
    }

    fn child(&mut self, env: &dyn Environment, parents: &[Widths]) -> Widths {
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
        // At least one gene moves, so that a mutation is not a copy by chance.
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
    plain_state!(NAME, EvolutionState);

    fn ask(&mut self, env: &mut dyn Environment) -> Result<Widths, SearchError> {
        let widths = self.state.propose(env)?;
        self.state.tracker.exclude(&widths);
        Ok(widths)
    }
}
