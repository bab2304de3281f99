//! Evaluated candidates and the relation of measured to predicted cost.

use crate::{Environment, Outcome, SearchError, Widths};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Settings for keeping candidates near the budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrackerConfig {
    /// Number of latest candidates near the budget that relate measured to predicted cost.
    pub window: usize,
    /// Quantile of measured over predicted cost that predictions are multiplied by. With 0.8,
    /// about four of five candidates predicted at the limit are within the budget.
    pub quantile: f64,
    /// Lower end of the band for candidates, as a share of the limit. A candidate far below the
    /// budget wastes a measurement, because a wider one is hardly ever less accurate.
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
    /// [`SearchError::InvalidOption`] with the field.
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

/// A candidate with its outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Evaluated {
    #[serde(rename = "config")]
    pub widths: Widths,
    /// Upper end of its cost divided by the budget.
    pub load: f64,
    pub accuracy: f64,
    pub reward: f64,
    /// Whether it is within the budget.
    pub feasible: bool,
    /// Whether its latency was measured, not predicted. Snapshots from before predictions lack
    /// it.
    #[serde(default = "measured")]
    pub measured: bool,
}

fn measured() -> bool {
    true
}

/// Predicted costs that a candidate should have, in the environment's unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Band {
    /// Candidates below this waste a measurement.
    pub floor: f64,
    /// Candidates above this are expected to exceed the budget. Infinite without a hard budget.
    pub limit: f64,
}

impl Band {
    /// Whether `cost` lies in the band.
    pub fn contains(&self, cost: f64) -> bool {
        self.floor <= cost && cost <= self.limit
    }
}

/// History of a search and the correction from predicted to measured cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct BudgetTracker {
    config: TrackerConfig,
    #[serde(rename = "told")]
    evaluated: Vec<Evaluated>,
    /// Configurations that were proposed, evaluated or abandoned.
    seen: BTreeSet<Widths>,
}

impl BudgetTracker {
    pub fn new(config: TrackerConfig) -> Self {
        Self {
            config,
            evaluated: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    /// Returns whether a configuration is known to be feasible; `None` before its outcome.
    pub fn feasible(&self, widths: &Widths) -> Option<bool> {
        let outcome = self.evaluated.iter().find(|e| e.widths == *widths);
        outcome.map(|e| e.feasible)
    }

    /// Whether a configuration was proposed, evaluated or abandoned.
    pub fn seen(&self, widths: &Widths) -> bool {
        self.seen.contains(widths)
    }

    /// Number of configurations seen.
    pub fn tried(&self) -> usize {
        self.seen.len()
    }

    /// Excludes a configuration from later proposals.
    pub fn exclude(&mut self, widths: &Widths) {
        self.seen.insert(widths.clone());
    }

    /// Records an outcome; a repeated configuration counts with its last one.
    ///
    /// # Errors
    /// [`SearchError::InvalidOption`] if the reward or load is not finite.
    pub fn record(&mut self, widths: &Widths, outcome: &Outcome) -> Result<(), SearchError> {
        for (option, value) in [("reward", outcome.reward), ("load", outcome.load)] {
            if !value.is_finite() {
                return Err(SearchError::InvalidOption {
                    option,
                    reason: format!("{value} of {widths} is not a number"),
                });
            }
        }
        self.seen.insert(widths.clone());
        self.evaluated.retain(|e| e.widths != *widths);
        self.evaluated.push(Evaluated {
            widths: widths.clone(),
            load: outcome.load,
            accuracy: outcome.accuracy,
            reward: outcome.reward,
            feasible: outcome.feasible,
            measured: outcome.measured,
        });
        Ok(())
    }

    /// Returns the evaluated candidates, best reward first, ties by lower load and then by age.
    pub fn ranked(&self) -> Vec<&Evaluated> {
        let mut ranked: Vec<&Evaluated> = self.evaluated.iter().collect();
        ranked.sort_by(|a, b| {
            b.reward
                .total_cmp(&a.reward)
                .then(a.load.total_cmp(&b.load))
        });
        ranked
    }

    /// Returns measured over predicted cost: the configured quantile over the latest measured
    /// candidates near the budget.
    ///
    /// Predictions are made anew, so errors that the latency model has learned to avoid are not
    /// corrected twice. Two imaginary candidates with a ratio of 1 damp the first outcomes.
    pub fn correction(&self, env: &dyn Environment) -> f64 {
        let near = |load: f64| (0.6..=1.6).contains(&load);
        let latest = || self.evaluated.iter().rev().filter(|e| e.measured);
        let mut chosen: Vec<&Evaluated> = latest()
            .filter(|e| near(e.load))
            .take(self.config.window)
            .collect();
        if chosen.is_empty() {
            chosen = latest().take(self.config.window).collect();
        }
        let mut ratios: Vec<f64> = chosen
            .iter()
            .map(|e| e.load * env.budget() / env.cost(&e.widths))
            .filter(|r| r.is_finite() && *r > 0.0)
            .chain([1.0, 1.0])
            .collect();
        ratios.sort_by(f64::total_cmp);
        let position = self.config.quantile.clamp(0.0, 1.0) * (ratios.len() - 1) as f64;
        let (below, part) = (position.floor() as usize, position.fract());
        let above = (below + 1).min(ratios.len() - 1);
        (ratios[below] * (1.0 - part) + ratios[above] * part).clamp(0.2, 5.0)
    }

    /// Returns the predicted costs that the next candidate should have.
    ///
    /// If the smallest configuration is predicted to exceed the budget, the band ends at its cost
    /// until it was measured, and then at the cost of the most expensive feasible candidate.
    ///
    /// # Errors
    /// [`SearchError::BudgetUnreachable`] if the smallest configuration is predicted and measured
    /// to exceed the budget and no candidate was feasible; [`SearchError::Environment`] if a cost
    /// or the budget is not a number.
    pub fn band(&self, env: &dyn Environment) -> Result<Band, SearchError> {
        if !env.enforces_budget() {
            return Ok(Band {
                floor: 0.0,
                limit: f64::INFINITY,
            });
        }
        let smallest = env.space().smallest();
        let least = env.cost(&smallest);
        let budget = env.budget();
        if !(least.is_finite() && budget.is_finite() && budget > 0.0) {
            return Err(SearchError::Environment {
                what: "costs",
                reason: format!("cost {least} of the smallest configuration, budget {budget}"),
            });
        }
        let limit = budget / self.correction(env);
        if least <= limit {
            return Ok(Band {
                floor: self.config.fill * limit,
                limit,
            });
        }
        let proven = self
            .evaluated
            .iter()
            .filter(|e| e.feasible)
            .map(|e| env.cost(&e.widths))
            .fold(f64::NAN, f64::max);
        match self.evaluated.iter().find(|e| e.widths == smallest) {
            Some(e) if proven.is_nan() => Err(SearchError::BudgetUnreachable { load: e.load }),
            _ => Ok(Band {
                floor: 0.0,
                limit: proven.max(least),
            }),
        }
    }
}
