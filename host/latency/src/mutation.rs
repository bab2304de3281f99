//! Seeded mutations of valid input, for properties of parsers.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Generates inputs near valid ones.
pub struct Mutations {
    random: ChaCha8Rng,
    /// Fragments that are inserted: values at the edges of what a field accepts.
    fragments: &'static [&'static [u8]],
}

impl Mutations {
    /// Mutations with this seed.
    pub fn new(seed: u64, fragments: &'static [&'static [u8]]) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            fragments,
        }
    }

    fn position(&mut self, bytes: &[u8]) -> usize {
        self.random.random_range(0..=bytes.len())
    }

    /// Applies one to four mutations: a changed bit, a cut, a removed or repeated part, or an
    /// inserted fragment.
    pub fn of(&mut self, valid: &[u8]) -> Vec<u8> {
        let mut bytes = valid.to_vec();
        for _ in 0..self.random.random_range(1..=4) {
            let (a, b) = (self.position(&bytes), self.position(&bytes));
            let (from, to) = (a.min(b), a.max(b).min(a.min(b) + 64));
            match self.random.random_range(0..6) {
                0 if from < bytes.len() => bytes[from] ^= 1 << self.random.random_range(0..8),
                1 => bytes.truncate(a),
                2 => drop(bytes.drain(from..to)),
                3 => {
                    let part = bytes[from..to].to_vec();
                    bytes.splice(a..a, part);
                }
                _ => {
                    let choice = self.random.random_range(0..self.fragments.len());
                    let fragment = self.fragments[choice];
                    let end = self.random.random_range(from..=to);
                    bytes.splice(from..end, fragment.iter().copied());
                }
            }
        }
        bytes
    }
}
