//! Weights of random layers.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Weights whose channels differ in size.
pub fn weights(channels: usize, inputs: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut weights = Vec::with_capacity(channels * inputs);
    for _ in 0..channels {
        let size: f32 = rng.random_range(0.05..0.3);
        for _ in 0..inputs {
            let normal: f32 = rng.sample(rand_distr::StandardNormal);
            weights.push(normal * size);
        }
    }
    weights
}
