//! What was tried, and how far measured cost lies from predicted cost.

use crate::{Config, Environment, Outcome, SearchError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How the budget is followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrackerConfig {
    /// So many of the last told candidates near the budget say how measured relates to predicted cost.
    pub window: usize,
    /// Which quantile of measured / predicted is taken for the truth: 0.8 lets about four of five candidates that are
    /// predicted at the limit be within the budget.
    pub quantile: f64,
    /// Lower end of the band that candidates should fall into, as a share of the limit. A candidate far below the
    /// budget wastes a measurement because a wider one is hardly ever less accurate.
    pub fill: f64,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self {
            window: 24,
            quantile: 0.8,
            fill: 0.92,
        }
    }
}

impl TrackerConfig {
    /// Checks the fields.
    ///
    /// # Errors
    /// [`SearchError::InvalidOption`] that names the field.
    pub fn check(&self) -> Result<(), SearchError> {
        for (option, value) in [("quantile", self.quantile), ("fill", self.fill)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(SearchError::InvalidOption {
                    option,
                    reason: format!("must be between 0 and 1, not {value}"),
                });
            }
        }
        Ok(())
    }
}

/// A candidate with what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// The configuration.
    pub config: Config,
    /// Upper end of its cost divided by the budget.
    pub load: f64,
    /// Its accuracy.
    pub accuracy: f64,
    /// Its reward.
    pub reward: f64,
    /// True if within the budget.
    pub feasible: bool,
    /// False if its latency was predicted instead of measured.
    #[serde(default = "measured")]
    pub measured: bool,
}

/// What was told before predictions could be.
fn measured() -> bool {
    true
}

/// Predicted costs that a candidate should have, in the environment's unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    /// Below this a candidate is wasteful.
    pub floor: f64,
    /// Above this it is expected to be beyond the budget. Infinite without a hard budget.
    pub limit: f64,
    /// False if even the smallest configuration is predicted to be beyond the budget.
    pub reachable: bool,
}

impl Band {
    /// True if `cost` lies in the band.
    pub fn holds(&self, cost: f64) -> bool {
        self.floor <= cost && cost <= self.limit
    }
}

/// Memory of a search: everything told, everything asked, and the correction from predicted to measured cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BudgetTracker {
    config: TrackerConfig,
    told: Vec<Told>,
    seen: BTreeSet<Config>,
}

impl BudgetTracker {
    /// An empty memory.
    pub fn new(config: TrackerConfig) -> Self {
        Self {
            config,
            told: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    /// Everything told, in order; a configuration told twice counts with its last outcome.
    pub fn told(&self) -> &[Told] {
        &self.told
    }

    /// True if `config` was asked for, told or abandoned before.
    pub fn seen(&self, config: &Config) -> bool {
        self.seen.contains(config)
    }

    /// Number of configurations seen.
    pub fn tried(&self) -> usize {
        self.seen.len()
    }

    /// Marks `config` as not to be asked for (again).
    pub fn mark(&mut self, config: &Config) {
        self.seen.insert(config.clone());
    }

    /// Records an outcome.
    ///
    /// # Errors
    /// [`SearchError::InvalidOption`] if the reward or load is not finite.
    pub fn tell(&mut self, config: &Config, outcome: &Outcome) -> Result<(), SearchError> {
        for (option, value) in [("reward", outcome.reward), ("load", outcome.load)] {
            if !value.is_finite() {
                return Err(SearchError::InvalidOption {
                    option,
                    reason: format!("{value} of {config} is not a number"),
                });
            }
        }
        self.seen.insert(config.clone());
        self.told.retain(|t| t.config != *config);
        self.told.push(Told {
            config: config.clone(),
            load: outcome.load,
            accuracy: outcome.accuracy,
            reward: outcome.reward,
            feasible: outcome.feasible,
            measured: outcome.measured,
        });
        Ok(())
    }

    /// Told candidates, best reward first, ties by lower load and then by age.
    pub fn ranked(&self) -> Vec<&Told> {
        let mut ranked: Vec<&Told> = self.told.iter().collect();
        ranked.sort_by(|a, b| {
            b.reward
                .total_cmp(&a.reward)
                .then(a.load.total_cmp(&b.load))
        });
        ranked
    }

    /// Measured over predicted cost: the configured quantile over the last told candidates near the budget.
    ///
    /// Only measured candidates count. Predictions are made anew, so that a latency model that has learned from the measurements since is not
    /// corrected for what it no longer gets wrong. Two imaginary candidates with a ratio of 1 damp the first tells.
    pub fn correction(&self, env: &dyn Environment) -> f64 {
        let near = |load: f64| (0.6..=1.6).contains(&load);
        let latest = || self.told.iter().rev().filter(|t| t.measured);
        let mut chosen: Vec<&Told> = latest()
            .filter(|t| near(t.load))
            .take(self.config.window)
            .collect();
        if chosen.is_empty() {
            chosen = latest().take(self.config.window).collect();
        }
        let mut ratios: Vec<f64> = chosen
            .iter()
            .map(|t| t.load * env.budget() / env.cost(&t.config))
            .filter(|r| r.is_finite() && *r > 0.0)
            .chain([1.0, 1.0])
            .collect();
        ratios.sort_by(f64::total_cmp);
        let position = self.config.quantile.clamp(0.0, 1.0) * (ratios.len() - 1) as f64;
        let (below, part) = (position.floor() as usize, position.fract());
        let above = (below + 1).min(ratios.len() - 1);
        (ratios[below] * (1.0 - part) + ratios[above] * part).clamp(0.2, 5.0)
    }

    /// The predicted costs that the next candidate should have.
    ///
    /// Where even the smallest configuration is predicted to be beyond the budget, the band ends at its cost while
    /// it was not told, so that it is measured first, and at the most expensive candidate that proved feasible after.
    ///
    /// # Errors
    /// [`SearchError::BudgetUnreachable`] if the smallest configuration is predicted and was told to be beyond the
    /// budget and no candidate was feasible; [`SearchError::Environment`] if a cost or the budget is not a number.
    pub fn band(&self, env: &dyn Environment) -> Result<Band, SearchError> {
        if !env.enforces_budget() {
            return Ok(Band {
                floor: 0.0,
                limit: f64::INFINITY,
                reachable: true,
            });
        }
        let smallest_config = env.space().smallest();
        let smallest = env.cost(&smallest_config);
        let budget = env.budget();
        if !(smallest.is_finite() && budget.is_finite() && budget > 0.0) {
            return Err(SearchError::Environment {
                what: "costs",
                reason: format!("cost {smallest} of the smallest configuration, budget {budget}"),
            });
        }
        let limit = budget / self.correction(env);
        if smallest <= limit {
            return Ok(Band {
                floor: self.config.fill * limit,
                limit,
                reachable: true,
            });
        }
        let proven = self
            .told
            .iter()
            .filter(|t| t.feasible)
            .map(|t| env.cost(&t.config))
            .fold(f64::NAN, f64::max);
        let told = self.told.iter().find(|t| t.config == smallest_config);
        match told {
            Some(told) if proven.is_nan() => {
                Err(SearchError::BudgetUnreachable { load: told.load })
            }
            _ => Ok(Band {
                floor: 0.0,
                limit: proven.max(smallest),
                reachable: false,
            }),
        }
    }
}
