//! Episodes, and the running mean and standard deviation of their states.

use crate::{SeededRng, Widths};
use serde::{Deserialize, Serialize};

/// A sequence of decisions about all groups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Episode {
    /// The resulting configuration.
    #[serde(rename = "config")]
    pub widths: Widths,
    /// State before each action, one row per group.
    pub states: Vec<Vec<f32>>,
    /// Chosen position in each group's range of keep ratios, 0 to 1.
    pub actions: Vec<f32>,
    /// Reward at the end; 0 before it is reported.
    pub reward: f64,
    /// Whether it was reported to be within the budget.
    pub feasible: bool,
}

/// Mean and standard deviation of every state component (Welford 1962).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Normaliser {
    count: f64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Normaliser {
    pub(super) fn observe(&mut self, state: &[f32]) {
        if self.mean.is_empty() {
            self.mean = vec![0.0; state.len()];
            self.squares = vec![0.0; state.len()];
        }
        self.count += 1.0;
        for ((mean, squares), &value) in self.mean.iter_mut().zip(&mut self.squares).zip(state) {
            let value = f64::from(value);
            let delta = value - *mean;
            *mean += delta / self.count;
            *squares += delta * (value - *mean);
        }
    }

    /// Appends the normalised state, clamped to ±5; constant components become 0.
    pub(super) fn apply(&self, state: &[f32], out: &mut Vec<f32>) {
        if self.count < 2.0 {
            out.extend_from_slice(state);
            return;
        }
        out.extend(state.iter().zip(&self.mean).zip(&self.squares).map(
            |((&value, mean), squares)| {
                let deviation = (squares / self.count).sqrt();
                let centred = f64::from(value) - mean;
                if deviation > 1e-6 {
                    (centred / deviation).clamp(-5.0, 5.0) as f32
                } else {
                    0.0
                }
            },
        ));
    }
}

/// Rows of a training batch.
pub(super) struct Batch {
    /// Normalised states.
    pub states: Vec<f32>,
    /// Actions.
    pub actions: Vec<f32>,
    /// Normalised states of the next group; at the end of an episode the own state.
    pub next: Vec<f32>,
    /// 1 at the end of an episode.
    pub ends: Vec<f32>,
    /// Scaled reward of the episode.
    pub returns: Vec<f32>,
}

/// Episodes to sample steps from.
pub(super) struct Replay<'a> {
    pub episodes: &'a [Episode],
    /// Scaled reward of each episode.
    pub returns: &'a [f32],
    pub normaliser: &'a Normaliser,
}

impl Replay<'_> {
    /// Draws a batch of steps uniformly from all steps of the episodes `from`.
    pub(super) fn sample(&self, from: &[usize], size: usize, rng: &mut SeededRng) -> Batch {
        let mut batch = Batch {
            states: vec![],
            actions: vec![],
            next: vec![],
            ends: vec![],
            returns: vec![],
        };
        for _ in 0..size {
            // All episodes have one step per group, so that this is uniform over steps.
            let e = from[rng.below(from.len())];
            let episode = &self.episodes[e];
            let t = rng.below(episode.states.len());
            let last = t + 1 == episode.states.len();
            self.normaliser.apply(&episode.states[t], &mut batch.states);
            self.normaliser.apply(
                &episode.states[if last { t } else { t + 1 }],
                &mut batch.next,
            );
            batch.actions.push(episode.actions[t]);
            batch.ends.push(f32::from(u8::from(last)));
            batch.returns.push(self.returns[e]);
        }
        batch
    }
}
