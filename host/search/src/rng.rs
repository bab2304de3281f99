//! A seeded random generator with a serialisable position.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// ChaCha8 whose position is serialisable, so that a search resumes with the same numbers.
///
/// The distributions are written out instead of taken from `rand_distr`: another version or
/// method would draw other numbers in searches that resume from a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "RngPosition", into = "RngPosition")]
pub struct SeededRng(ChaCha8Rng);

/// Key, stream and word position of a ChaCha generator. The position is split because JSON has no
/// 128-bit numbers.
#[derive(Serialize, Deserialize)]
struct RngPosition {
    key: [u8; 32],
    stream: u64,
    position_high: u64,
    position_low: u64,
}

impl From<RngPosition> for SeededRng {
    fn from(state: RngPosition) -> Self {
        let mut rng = ChaCha8Rng::from_seed(state.key);
        rng.set_stream(state.stream);
        rng.set_word_pos(u128::from(state.position_high) << 64 | u128::from(state.position_low));
        Self(rng)
    }
}

impl From<SeededRng> for RngPosition {
    fn from(rng: SeededRng) -> Self {
        let position = rng.0.get_word_pos();
        Self {
            key: rng.0.get_seed(),
            stream: rng.0.get_stream(),
            position_high: (position >> 64) as u64,
            position_low: position as u64,
        }
    }
}

impl SeededRng {
    /// Creates a generator for `seed`; `stream` separates the uses of one seed.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// Draws uniformly from [0, 1).
    pub fn unit(&mut self) -> f64 {
        self.0.random::<f64>()
    }

    /// Draws uniformly from 0..n; 0 for n = 0.
    pub fn below(&mut self, n: usize) -> usize {
        if n < 2 { 0 } else { self.0.random_range(0..n) }
    }

    /// Returns true with the given probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Draws from the standard normal distribution (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Draws from a normal distribution around `mean`, truncated to [low, high] by rejection: the
    /// exploration of AMC (He et al., ECCV 2018).
    pub fn truncated_normal(&mut self, mean: f64, deviation: f64, low: f64, high: f64) -> f64 {
        let mean = mean.clamp(low, high);
        if deviation <= 0.0 || high <= low {
            return mean;
        }
        // With the mean inside, a draw is accepted with a probability of about a half or more,
        // unless the deviation is much wider than the interval; the limit of that case is
        // uniform.
        for _ in 0..64 {
            let draw = mean + deviation * self.normal();
            if (low..=high).contains(&draw) {
                return draw;
            }
        }
        low + (high - low) * self.unit()
    }

    /// Shuffles `items` (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SeededRng;

    #[test]
    fn a_stored_generator_resumes_its_stream() {
        let mut rng = SeededRng::new(7, 3);
        for _ in 0..37 {
            rng.normal();
        }
        let stored = serde_json::to_string(&rng).unwrap();
        let mut restored: SeededRng = serde_json::from_str(&stored).unwrap();
        let ahead: Vec<f64> = (0..50).map(|_| rng.unit()).collect();
        let again: Vec<f64> = (0..50).map(|_| restored.unit()).collect();
        assert_eq!(ahead, again);
    }

    #[test]
    fn a_truncated_normal_draw_lies_in_the_interval() {
        let mut rng = SeededRng::new(1, 0);
        for deviation in [0.0, 0.01, 0.5, 100.0] {
            for _ in 0..200 {
                let draw = rng.truncated_normal(0.9, deviation, 0.2, 1.0);
                assert!((0.2..=1.0).contains(&draw));
            }
        }
    }
}
