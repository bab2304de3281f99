//! The order in which the weights are visited.

/// A pseudo-random order of `n` weights: multiples of a number without a common divisor. Encoder
/// and decoder draw it from the seed, without a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    n: u64,
    stride: u64,
    start: u64,
}

impl Walk {
    pub fn new(n: u64, seed: u64) -> Self {
        let n = n.max(1);
        let mut state = seed;
        let start = split_mix(&mut state) % n;
        // Neighbours should come apart: neither near to 0 nor to n.
        let quarter = n / 4;
        let mut stride = quarter + split_mix(&mut state) % (n / 2 + 1);
        while common_divisor(stride, n) != 1 {
            stride += 1;
        }
        Self { n, stride, start }
    }

    /// Weight at a place of the order.
    pub fn weight(&self, place: u64) -> usize {
        let product = u128::from(place) * u128::from(self.stride) + u128::from(self.start);
        (product % u128::from(self.n)) as usize
    }

    /// Place so many places behind another.
    pub fn behind(&self, place: u64, gap: u64) -> u64 {
        (place + gap) % self.n
    }

    /// Places from one to another, forwards.
    pub fn gap(&self, from: u64, to: u64) -> u64 {
        if to >= from {
            to - from
        } else {
            to + self.n - from
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

fn common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_weight_has_one_place() {
        for n in [1, 2, 3, 4, 5, 6, 30, 97, 1000, 30030] {
            for seed in 0..5 {
                let walk = Walk::new(n, seed);
                let mut seen = vec![false; n as usize];
                for place in 0..n {
                    let weight = walk.weight(place);
                    assert!(!std::mem::replace(&mut seen[weight], true));
                }
                assert_eq!(walk.behind(n - 1, 1), 0);
                assert_eq!(walk.gap(n - 1, 0), 1 % n);
            }
        }
    }
}
