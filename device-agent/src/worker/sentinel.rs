//! A fixed workload whose time shows the pace of the device.

use std::hint::black_box;
use std::time::Instant;

use super::model::nanoseconds;

/// Parallel sums, which fill the processor's vectors.
const LANES: usize = 8;
/// Numbers multiplied and added; they fit a first-level cache.
const FLOATS: usize = 4 * 1024;
/// Passes over them.
const PASSES: usize = 150;
/// Words walked through; they fit a second-level cache but no first-level one.
const WORDS: usize = 128 * 1024;
/// Steps of the walk. Each depends on the one before.
const STEPS: usize = 8_000;
/// Number of runs. The fastest counts: the others show neighbouring processes, while a throttled
/// device has no fast run. One run takes some tenths of a millisecond, far less than the slice
/// of a busy scheduler, so some are undisturbed.
const RUNS: usize = 100;

/// The workload with its memory, all of it touched before anything is timed.
pub struct Sentinel {
    floats: Vec<[f32; LANES]>,
    words: Vec<u32>,
}

impl Sentinel {
    /// Allocates and fills the memory.
    pub fn new() -> Self {
        let floats = (0..FLOATS / LANES)
            .map(|i| std::array::from_fn(|lane| ((i * LANES + lane) % 17) as f32 * 0.01))
            .collect();
        // A full cycle through all words (Hull and Dobell: the step is odd, the factor one more
        // than a multiple of four).
        let words = (0..WORDS as u32)
            .map(|i| i.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) % WORDS as u32)
            .collect();
        Self { floats, words }
    }

    /// Returns the workload's current time, ns.
    pub fn time(&self) -> u64 {
        let times = (0..RUNS).map(|_| {
            let begun = Instant::now();
            black_box(self.work());
            nanoseconds(begun)
        });
        times.min().unwrap_or(0).max(1)
    }

    // Plain loops: nearly the same machine code at every level of optimisation.
    fn work(&self) -> (f32, u32) {
        let mut sums = [0.0f32; LANES];
        for _ in 0..PASSES {
            for lanes in black_box(&self.floats) {
                for i in 0..LANES {
                    sums[i] = sums[i] * 0.999 + lanes[i];
                }
            }
        }
        let mut word = 0u32;
        for _ in 0..STEPS {
            word = self.words[word as usize];
        }
        (sums.iter().sum(), word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_is_the_same_every_time_and_walks_through_all_the_memory() {
        let (one, other) = (Sentinel::new(), Sentinel::new());
        assert_eq!(one.work(), other.work());
        assert_eq!(one.work(), one.work());
        let mut seen = vec![false; WORDS];
        let mut word = 0;
        for _ in 0..WORDS {
            seen[word as usize] = true;
            word = one.words[word as usize];
        }
        assert!(word == 0 && seen.into_iter().all(|seen| seen));
    }

    #[test]
    fn the_time_is_that_of_the_fastest_run() {
        let sentinel = Sentinel::new();
        let begun = Instant::now();
        let fastest = sentinel.time();
        assert!(fastest > 0 && fastest * RUNS as u64 <= nanoseconds(begun));
    }
}
