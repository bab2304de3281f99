//! Settings of the agent.

use crate::{SearchError, TrackerConfig};
use serde::{Deserialize, Serialize};

/// Settings of [`crate::Ddpg`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DdpgConfig {
    /// Seed of initial weights, exploration and replay.
    pub seed: u64,
    /// Episodes before the actor decides: the best uniform configuration, then random ones within
    /// the budget.
    pub warmup: usize,
    /// Width of both hidden layers of actor and critic.
    pub hidden: usize,
    /// Learning rate of the actor.
    pub actor_rate: f64,
    /// Learning rate of the critic.
    pub critic_rate: f64,
    /// Rate at which the target networks follow.
    pub tau: f64,
    /// Steps per batch.
    pub batch: usize,
    /// Standard deviation of the exploration noise in the first episode after the warm-up, on
    /// actions from 0 to 1.
    pub noise: f64,
    /// Factor on the noise per episode.
    pub noise_decay: f64,
    /// Lower bound of the noise.
    pub noise_floor: f64,
    /// Probability that a group explores in an episode; the others follow the actor.
    pub explore: f64,
    /// Updates of actor and critic after each reported episode.
    pub updates: usize,
    /// Weight of imitating the best episodes in the actor's loss; 0 is plain DDPG.
    pub imitation: f64,
    /// Number of the best episodes to imitate.
    pub elite: usize,
    /// Whether an episode's actions are shifted towards the budget as a whole before the action
    /// bound.
    pub project: bool,
    /// Share of the episode's return in the critic's target; the rest is the target critic's
    /// estimate of the next step. 0 is plain DDPG.
    pub return_share: f64,
    /// Decay of the moving-average reward baseline.
    pub baseline_decay: f64,
    /// Settings for keeping candidates near the budget.
    pub tracker: TrackerConfig,
}

impl Default for DdpgConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            warmup: 30,
            hidden: 300,
            actor_rate: 1e-4,
            critic_rate: 1e-3,
            tau: 0.01,
            batch: 64,
            noise: 0.5,
            noise_decay: 0.95,
            noise_floor: 0.1,
            explore: 0.3,
            updates: 20,
            imitation: 2.0,
            elite: 5,
            project: true,
            return_share: 1.0,
            baseline_decay: 0.95,
            tracker: TrackerConfig::default(),
        }
    }
}

impl DdpgConfig {
    /// Returns the defaults with a warm-up of at most a quarter of `episodes`.
    pub fn for_episodes(episodes: usize) -> Self {
        Self {
            warmup: (episodes / 4).clamp(4, 40),
            ..Self::default()
        }
    }

    pub(super) fn check(&self) -> Result<(), SearchError> {
        self.tracker.check()?;
        let invalid = |option, reason: &str| {
            Err(SearchError::InvalidOption {
                option,
                reason: reason.into(),
            })
        };
        for (option, value) in [
            ("hidden", self.hidden),
            ("batch", self.batch),
            ("elite", self.elite),
        ] {
            if value == 0 {
                return invalid(option, "must be at least 1");
            }
        }
        for (option, value) in [
            ("actor_rate", self.actor_rate),
            ("critic_rate", self.critic_rate),
            ("noise", self.noise),
            ("noise_floor", self.noise_floor),
            ("imitation", self.imitation),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return invalid(option, "must be a number from 0 on");
            }
        }
        for (option, value) in [
            ("tau", self.tau),
            ("explore", self.explore),
            ("noise_decay", self.noise_decay),
            ("return_share", self.return_share),
            ("baseline_decay", self.baseline_decay),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return invalid(option, "must be between 0 and 1");
            }
        }
        Ok(())
    }
}
