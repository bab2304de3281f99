//! The built-in strategies and the rules that differ between them.

use std::str::FromStr;

use crate::{
    Ddpg, DdpgConfig, Evolution, EvolutionConfig, Knapsack, KnapsackConfig, Random, RandomConfig,
    SearchError, Strategy, TrackerConfig, Trajectory, Uniform, UniformConfig,
};
use serde::{Deserialize, Serialize};

/// Proposals of the uniform search: the bisection ends after a few.
const UNIFORM_EPISODES: u64 = 8;

/// A built-in strategy.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum StrategyKind {
    /// Deep deterministic policy gradient on the node embeddings.
    Ddpg,
    /// The evolutionary search of MetaPruning.
    Evolution,
    /// The configurations that a network passes while it is pruned by Group Fisher importance.
    Fisher,
    /// The least loss of importance within the budget.
    Knapsack,
    /// Random configurations near the budget.
    Random,
    /// One keep ratio for all groups: a baseline defined by a rule.
    Uniform,
}

impl StrategyKind {
    /// All strategies.
    pub const ALL: [Self; 6] = [
        Self::Ddpg,
        Self::Evolution,
        Self::Fisher,
        Self::Knapsack,
        Self::Random,
        Self::Uniform,
    ];

    /// The name in configurations and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ddpg => "ddpg",
            Self::Evolution => "evolution",
            Self::Fisher => "fisher",
            Self::Knapsack => "knapsack",
            Self::Random => "random",
            Self::Uniform => "uniform",
        }
    }

    /// Creates the strategy for a search of `episodes` candidates.
    ///
    /// # Errors
    /// As the constructors of the strategies; none for their default settings.
    pub fn build(self, seed: u64, episodes: u64) -> Result<Box<dyn Strategy>, SearchError> {
        let episodes = usize::try_from(episodes).unwrap_or(usize::MAX);
        Ok(match self {
            Self::Ddpg => Box::new(Ddpg::new(DdpgConfig {
                seed,
                ..DdpgConfig::for_episodes(episodes)
            })?),
            Self::Evolution => Box::new(Evolution::new(EvolutionConfig {
                seed,
                ..EvolutionConfig::for_episodes(episodes)
            })?),
            Self::Fisher => Box::new(Trajectory::new(TrackerConfig::default())?),
            Self::Knapsack => Box::new(Knapsack::new(KnapsackConfig {
                seed,
                ..KnapsackConfig::default()
            })?),
            Self::Random => Box::new(Random::new(RandomConfig {
                seed,
                ..RandomConfig::default()
            })?),
            Self::Uniform => Box::new(Uniform::new(UniformConfig::default())?),
        })
    }

    /// Whether several proposals can precede the first outcome at little loss, so that the
    /// devices of a fleet measure them in parallel. DDPG learns from every episode before the
    /// next, and the bisection of the uniform search needs each outcome for its next proposal.
    pub fn asks_ahead(self) -> bool {
        matches!(
            self,
            Self::Evolution | Self::Fisher | Self::Knapsack | Self::Random
        )
    }

    /// Number of candidates of a search by default. The first proposals of a knapsack are the best
    /// by importance, and those of perturbed losses add little after some twenty.
    pub fn usual_episodes(self) -> u64 {
        match self {
            Self::Fisher | Self::Knapsack => 24,
            Self::Ddpg | Self::Evolution | Self::Random | Self::Uniform => 240,
        }
    }

    /// Number of candidates as a baseline of a search with `episodes` candidates.
    pub fn baseline_episodes(self, episodes: u64) -> u64 {
        if self.is_rule() {
            UNIFORM_EPISODES
        } else {
            episodes
        }
    }

    /// Whether the strategy weighs [`crate::Environment::losses`].
    pub fn weighs_losses(self) -> bool {
        self == Self::Knapsack
    }

    /// Whether the strategy reads [`crate::Environment::proposals`].
    pub fn reads_proposals(self) -> bool {
        self == Self::Fisher
    }

    /// Whether the strategy reads [`crate::Environment::embeddings`].
    pub fn reads_embeddings(self) -> bool {
        self == Self::Ddpg
    }

    /// Whether the search uses all admissible widths instead of those at the edges of latency
    /// steps.
    pub fn uses_all_widths(self) -> bool {
        self.is_rule()
    }

    /// Whether predicted latency can replace a measurement. The few candidates of the uniform
    /// search are all measured.
    pub fn is_screened(self) -> bool {
        !self.is_rule()
    }

    /// Whether the largest feasible candidate wins under a hard budget instead of the most
    /// rewarded one. Uniform widths are defined as the widest within the budget; the shared
    /// evaluation network was trained on other widths.
    pub fn prefers_size(self) -> bool {
        self.is_rule()
    }

    /// Whether short fine-tunings (successive halving) select among the best candidates.
    pub fn uses_halving(self) -> bool {
        !self.is_rule()
    }

    /// Whether the nearest candidate may be narrowed if none is feasible. Narrowed uniform widths
    /// would not be uniform.
    pub fn may_narrow(self) -> bool {
        !self.is_rule()
    }

    /// Whether the candidates follow from a rule, so that no reward is optimised.
    fn is_rule(self) -> bool {
        self == Self::Uniform
    }
}

/// A name that no built-in strategy has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{name}' is not one of {}", StrategyKind::ALL.map(StrategyKind::name).join(", "))]
pub struct UnknownStrategy {
    name: String,
}

impl FromStr for StrategyKind {
    type Err = UnknownStrategy;

    fn from_str(name: &str) -> Result<Self, UnknownStrategy> {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.name() == name)
            .ok_or_else(|| UnknownStrategy { name: name.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_is_found_by_the_name_that_it_records() {
        for kind in StrategyKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(kind.build(1, 40).unwrap().name(), kind.name());
        }
        let error = "luck".parse::<StrategyKind>().unwrap_err().to_string();
        assert_eq!(
            error,
            "'luck' is not one of ddpg, evolution, fisher, knapsack, random, uniform"
        );
    }
}
