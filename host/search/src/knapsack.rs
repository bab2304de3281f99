//! Knapsack: the widths that lose the least importance within the budget, as in HALP (Shen et al.,
//! NeurIPS 2022) and MDP (Sun et al., CVPR 2025).
//!
//! Each group takes one of its widths, with a loss ([`Environment::losses`]) and a cost. Where the
//! cost is a sum over groups, dynamic programming finds the best choice. It is a sum where no layer
//! lies between two groups; elsewhere the cost of a layer depends on both. So costs are taken as
//! changes from one configuration, the problem is solved, and the costs are taken again around its
//! solution. Steps of single groups and of pairs, judged by the whole configuration's cost, use
//! what is left of the budget.
//!
//! The first proposal is the best of the given losses. The next ones solve the same problem with
//! perturbed losses: importance orders the good configurations, and their evaluation chooses.

mod solve;

use crate::strategy::plain_state;
use crate::{
    Band, BudgetTracker, Environment, SearchError, SeededRng, Strategy, TrackerConfig, Widths,
    candidates,
};
use serde::{Deserialize, Serialize};
use solve::{perturbed, solve};

const NAME: &str = "knapsack";
/// Draws of perturbed losses before a neighbour of a known configuration is proposed.
const DRAWS: usize = 12;

/// Settings of [`Knapsack`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KnapsackConfig {
    /// Seed.
    pub seed: u64,
    /// Standard deviation of the logarithm of the factors that perturb losses.
    pub perturbation: f64,
    /// Settings for keeping candidates near the budget.
    pub tracker: TrackerConfig,
}

impl Default for KnapsackConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            perturbation: 0.4,
            tracker: TrackerConfig::default(),
        }
    }
}

/// Proposes the configurations that lose the least importance within the budget.
#[derive(Clone, Debug)]
pub struct Knapsack {
    state: State,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    strategy: String,
    config: KnapsackConfig,
    tracker: BudgetTracker,
    rng: SeededRng,
    asked: usize,
}

impl Knapsack {
    /// Creates the strategy.
    ///
    /// # Errors
    /// [`SearchError::InvalidOption`] for invalid settings.
    pub fn new(config: KnapsackConfig) -> Result<Self, SearchError> {
        config.tracker.check()?;
        if !(config.perturbation >= 0.0 && config.perturbation.is_finite()) {
            return Err(SearchError::InvalidOption {
                option: "perturbation",
                reason: format!("must be at least 0, not {}", config.perturbation),
            });
        }
        Ok(Self {
            state: State {
                strategy: NAME.into(),
                tracker: BudgetTracker::new(config.tracker.clone()),
                rng: SeededRng::new(config.seed, 5),
                asked: 0,
                config,
            },
        })
    }
}

impl Strategy for Knapsack {
    plain_state!(NAME, State);

    fn ask(&mut self, env: &mut dyn Environment) -> Result<Widths, SearchError> {
        let State {
            config,
            tracker,
            rng,
            asked,
            ..
        } = &mut self.state;
        let band = tracker.band(env)?;
        let losses = checked_losses(env)?;
        let mut candidate = solve(env, &losses, band.limit);
        if *asked > 0 || tracker.seen(&candidate) {
            for _ in 0..DRAWS {
                candidate = perturbed(env, &losses, &band, (config.perturbation, &mut *rng));
                if !tracker.seen(&candidate) {
                    break;
                }
            }
        }
        let candidate = candidates::unseen(env, &band, tracker, candidate, rng)?;
        *asked += 1;
        tracker.exclude(&candidate);
        Ok(candidate)
    }
}

/// Returns candidate `number` of another strategy's first ones, where the environment has losses:
/// the best by them, then those of perturbed losses.
pub(crate) fn seed(
    env: &dyn Environment,
    band: &Band,
    number: usize,
    rng: &mut SeededRng,
) -> Result<Option<Widths>, SearchError> {
    if env.losses().is_none() {
        return Ok(None);
    }
    let losses = checked_losses(env)?;
    let perturbation = KnapsackConfig::default().perturbation;
    Ok(Some(match number {
        0 => solve(env, &losses, band.limit),
        _ => perturbed(env, &losses, band, (perturbation, rng)),
    }))
}

/// Returns the environment's losses.
///
/// # Errors
/// [`SearchError::Environment`] if it has none, or if they are not one number per width.
fn checked_losses(env: &dyn Environment) -> Result<Vec<Vec<f64>>, SearchError> {
    let unusable = |reason: String| SearchError::Environment {
        what: "losses",
        reason,
    };
    let losses = env.losses().ok_or_else(|| {
        unusable("there are none; this strategy needs the importance of every group".into())
    })?;
    let groups = &env.space().groups;
    if losses.len() != groups.len() {
        let count = losses.len();
        return Err(unusable(format!("{count} for {} groups", groups.len())));
    }
    for (group, losses) in groups.iter().zip(losses) {
        if losses.len() != group.widths.len() || losses.iter().any(|of| !of.is_finite()) {
            let (name, widths) = (&group.name, &group.widths);
            return Err(unusable(format!(
                "those of group {name} are {losses:?} for the widths {widths:?}"
            )));
        }
    }
    Ok(losses.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knapsack::solve::tests::layers;

    #[test]
    fn losses_that_do_not_fit_the_space_are_refused_by_group() {
        let mut env = layers(&[16, 32], 1, 0.0);
        env.losses[1].pop();
        let mut knapsack = Knapsack::new(KnapsackConfig::default()).unwrap();
        let error = knapsack.ask(&mut env).unwrap_err().to_string();
        assert!(error.contains("losses") && error.contains("g1"), "{error}");
    }

    #[test]
    fn proposals_are_new_and_within_the_budget() {
        let mut env = layers(&[32, 64, 64, 32], 3, 1.0);
        env.full = 1.0 / 0.6;
        let mut knapsack = Knapsack::new(KnapsackConfig::default()).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let widths = knapsack.ask(&mut env).unwrap();
            assert!(env.cost(&widths) <= 1.0);
            assert!(seen.insert(widths));
        }
        let bytes = knapsack.snapshot().unwrap();
        let mut restored = Knapsack::new(KnapsackConfig::default()).unwrap();
        restored.restore(&bytes).unwrap();
        assert_eq!(
            knapsack.ask(&mut env).unwrap(),
            restored.ask(&mut env).unwrap()
        );
    }
}
