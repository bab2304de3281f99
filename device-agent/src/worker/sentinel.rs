//! A workload that is always the same: what its time tells is the pace of the device.

use std::hint::black_box;
use std::time::Instant;

use agent_protocol::stats;

use super::model::nanoseconds;
use super::sample::preemptions;

/// Numbers multiplied and added; they fit into a first-level cache.
const FLOATS: usize = 4 * 1024;
/// Passes over them.
const PASSES: usize = 2600;
/// Words walked through; they fit into no first-level and hardly a second-level cache.
const WORDS: usize = 512 * 1024;
/// Steps of the walk, each of which depends on the one before.
const STEPS: usize = 120_000;
/// Runs that count; the time is their median.
const RUNS: usize = 7;
/// The most runs that are repeated because another process got the core in between.
const MAX_REPEATS: usize = 14;

/// The workload with its memory, all of it touched before anything is timed.
pub struct Sentinel {
    floats: Vec<f32>,
    words: Vec<u32>,
}

impl Sentinel {
    /// Makes up the memory.
    pub fn new() -> Self {
        let floats = (0..FLOATS).map(|i| (i % 17) as f32 * 0.01).collect();
        // A full cycle through all words (Hull and Dobell: the step is odd, the factor one more than a multiple of four).
        let words = (0..WORDS as u32)
            .map(|i| i.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) % WORDS as u32)
            .collect();
        Self { floats, words }
    }

    /// The workload's time now, ns: the median of several runs.
    pub fn time(&self) -> u64 {
        let mut times = Vec::with_capacity(RUNS);
        let mut repeats = MAX_REPEATS;
        black_box(self.work());
        while times.len() < RUNS {
            let before = preemptions();
            let begun = Instant::now();
            black_box(self.work());
            let ns = nanoseconds(begun) as f64;
            if repeats > 0 && preemptions() != before {
                repeats -= 1;
            } else {
                times.push(ns);
            }
        }
        stats::median(&times).map_or(1, |ns| (ns as u64).max(1))
    }

    fn work(&self) -> (f32, u32) {
        let mut sums = [0.0f32; 8];
        for _ in 0..PASSES {
            for lane in black_box(self.floats.as_slice()).as_chunks::<8>().0 {
                for (sum, value) in sums.iter_mut().zip(lane) {
                    *sum = *sum * 0.999 + value;
                }
            }
        }
        let mut at = 0u32;
        for _ in 0..STEPS {
            at = self.words[at as usize];
        }
        (sums.iter().sum(), at)
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
        let mut at = 0;
        for _ in 0..WORDS {
            seen[at as usize] = true;
            at = one.words[at as usize];
        }
        assert!(at == 0 && seen.into_iter().all(|seen| seen));
    }

    #[test]
    fn the_time_is_one_of_a_run() {
        let sentinel = Sentinel::new();
        let begun = Instant::now();
        let median = sentinel.time();
        // Seven runs that count and one that does not took at least four times the median.
        assert!(median > 0 && median * 4 <= nanoseconds(begun));
    }
}
