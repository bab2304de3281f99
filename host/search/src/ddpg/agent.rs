//! Actor and critic, and the other state of the strategy.

use super::config::DdpgConfig;
use super::net::{Learner, matrix};
use super::replay::{Batch, Episode, Normaliser};
use crate::error::SearchError;
use crate::rng::SeededRng;
use crate::tracker::BudgetTracker;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Name of the strategy in records and snapshots.
pub(super) const NAME: &str = "ddpg";

/// The state without the networks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Memory {
    pub strategy: String,
    pub config: DdpgConfig,
    pub tracker: BudgetTracker,
    pub rng: SeededRng,
    pub asked: usize,
    pub pending: Vec<Episode>,
    pub normaliser: Normaliser,
    pub baseline: Option<f64>,
}

/// Actor and critic.
#[derive(Debug)]
pub(super) struct Agent {
    pub actor: Learner,
    pub critic: Learner,
    pub state_len: usize,
}

/// Returns the layer sizes of actor and critic.
pub(super) fn agent_dims(state_len: usize, hidden: usize) -> ([usize; 4], [usize; 4]) {
    (
        [state_len, hidden, hidden, 1],
        [state_len + 1, hidden, hidden, 1],
    )
}

impl Agent {
    pub fn new(
        state_len: usize,
        config: &DdpgConfig,
        start: f64,
        rng: &mut SeededRng,
    ) -> Result<Self, SearchError> {
        let (actor, critic) = agent_dims(state_len, config.hidden);
        let start = start.clamp(0.05, 0.95);
        Ok(Self {
            actor: Learner::new(&actor, true, (start / (1.0 - start)).ln(), rng)?,
            critic: Learner::new(&critic, false, 0.0, rng)?,
            state_len,
        })
    }

    pub fn act(&self, state: &[f32]) -> Result<f64, SearchError> {
        tch::no_grad(|| {
            Ok(self
                .actor
                .net
                .forward(&matrix(state, self.state_len)?)
                .double_value(&[0, 0]))
        })
    }

    pub fn update(
        &mut self,
        batch: &Batch,
        good: &Batch,
        config: &DdpgConfig,
    ) -> Result<(), SearchError> {
        let states = matrix(&batch.states, self.state_len)?;
        let next = matrix(&batch.next, self.state_len)?;
        let actions = matrix(&batch.actions, 1)?;
        let ends = matrix(&batch.ends, 1)?;
        let returns = matrix(&batch.returns, 1)?;
        let target: Tensor = tch::no_grad(|| {
            let estimate = self
                .critic
                .target
                .forward(&join(&next, &self.actor.target.forward(&next)));
            let own = &ends + (1.0 - &ends) * config.return_share;
            &own * &returns + (1.0 - &own) * estimate
        });
        let error: Tensor = self.critic.net.forward(&join(&states, &actions)) - target;
        let loss = error.square().mean(None::<Kind>);
        self.critic.step(&loss, config.critic_rate, config.tau)?;
        let states = matrix(&good.states, self.state_len)?;
        let actions = matrix(&good.actions, 1)?;
        let chosen = self.actor.net.forward(&states);
        let value = self.critic.net.forward(&join(&states, &chosen));
        // The weight of the imitation must not depend on the scale of the value (TD3+BC, Fujimoto
        // & Gu, NeurIPS 2021).
        let scale = value.abs().mean(None::<Kind>).detach() + 1e-3;
        let difference: Tensor = (chosen - actions) * 3.5;
        let loss: Tensor = difference.square().mean(None::<Kind>) * config.imitation
            - value.mean(None::<Kind>) / scale;
        self.actor.step(&loss, config.actor_rate, config.tau)
    }
}

/// Concatenates states and actions; actions, 0 to 1, are brought to the scale of normalised
/// states.
fn join(states: &Tensor, actions: &Tensor) -> Tensor {
    Tensor::cat(&[states, &((actions - 0.5) * 3.5)], 1)
}
