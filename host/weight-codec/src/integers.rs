//! Entropy coding of quantised weights.
//!
//! An integer is coded as binary decisions, as in DeepCABAC (Wiedemann et al., 2020): whether it
//! is 0, its sign, the position of its highest bit one step at a time, and the bits below. The
//! highest two of these have a model each for every value, the others one per position: within a
//! quarter of an octave, weights are spread evenly. So few models suffice at 8 bits, and at up to
//! 4 every integer has its own probability.
//!
//! The models of zero and position depend on the sizes of the two integers before, since large
//! weights are neighbours.

use crate::Bits;
use crate::entropy::{Coder, Corrupt, Decoder, Encoder, Model};

/// Positions of the highest bit: 0 to 6 at 8 bits.
const POSITIONS: usize = 7;
/// Number of bits of `2 * previous + one before`, at most 381.
const CONTEXTS: usize = 10;

/// The models of one tensor.
struct Models {
    zero: [Model; CONTEXTS],
    negative: Model,
    /// Whether the highest bit is above a position, by context.
    above: [[Model; POSITIONS]; CONTEXTS],
    /// The two bits below the highest: the upper, and the lower by the upper.
    upper: [[Model; 3]; POSITIONS],
    /// The bits below these.
    lower: [[Model; POSITIONS]; POSITIONS],
    /// Sizes of the integer before and the one before that.
    before: [u32; 2],
}

impl Models {
    fn new() -> Self {
        Self {
            zero: [Model::NEW; CONTEXTS],
            negative: Model::NEW,
            above: [[Model::NEW; POSITIONS]; CONTEXTS],
            upper: [[Model::NEW; 3]; POSITIONS],
            lower: [[Model::NEW; POSITIONS]; POSITIONS],
            before: [0; 2],
        }
    }

    /// Codes an integer; a decoder ignores it.
    fn code(&mut self, coder: &mut impl Coder, integer: i8, bits: Bits) -> Result<i8, Corrupt> {
        let sum = 2 * self.before[0] + self.before[1];
        let context = (u32::BITS - sum.leading_zeros()) as usize;
        let size = u32::from(integer.unsigned_abs());
        let mut coded = 0;
        let mut negative = false;
        if !coder.decide(&mut self.zero[context], size == 0)? {
            negative = coder.decide(&mut self.negative, integer < 0)?;
            coded = self.size(coder, context, (size.max(1), bits))?;
        }
        self.before = [coded, self.before[0]];
        // At most 127, because the highest bit is at most bit 6.
        let coded = coded as i8;
        Ok(if negative { -coded } else { coded })
    }

    /// Codes the size of an integer that is not 0.
    fn size(
        &mut self,
        coder: &mut impl Coder,
        context: usize,
        (size, bits): (u32, Bits),
    ) -> Result<u32, Corrupt> {
        let wanted = size.ilog2() as usize;
        let mut position = 0;
        while position < usize::from(bits.get()) - 2
            && coder.decide(&mut self.above[context][position], wanted > position)?
        {
            position += 1;
        }
        let mut coded = 1;
        for below in (0..position).rev() {
            let bit = size >> below & 1 == 1;
            let model = match position - below {
                1 => &mut self.upper[position][0],
                2 => &mut self.upper[position][1 + (coded & 1) as usize],
                _ => &mut self.lower[position][below],
            };
            coded = coded << 1 | u32::from(coder.decide(model, bit)?);
        }
        Ok(coded)
    }
}

/// Encodes integers of so many bits.
pub(crate) fn encode(integers: &[i8], bits: Bits) -> Vec<u8> {
    let mut encoder = Encoder::default();
    let mut models = Models::new();
    for integer in integers {
        // Writing does not fail: every decision has a probability.
        if models.code(&mut encoder, *integer, bits).is_err() {
            break;
        }
    }
    encoder.finish()
}

/// Decodes integers of so many bits, without an end: the caller knows how many there are.
pub(crate) fn decode(bytes: &[u8], bits: Bits) -> impl Iterator<Item = Result<i8, Corrupt>> {
    let mut decoder = Decoder::new(bytes);
    let mut models = Models::new();
    std::iter::from_fn(move || Some(models.code(&mut decoder, 0, bits)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use std::collections::HashMap;

    fn restored(bytes: &[u8], count: usize, bits: Bits) -> Vec<i8> {
        let integers = decode(bytes, bits).take(count);
        integers.map(|integer| integer.unwrap()).collect()
    }

    /// Bytes by the frequency of each integer, without the table of the frequencies.
    fn order_0(integers: &[i8]) -> f64 {
        let mut counts = HashMap::new();
        for integer in integers {
            *counts.entry(integer).or_insert(0.0) += 1.0;
        }
        let total = integers.len() as f64;
        let bits = counts
            .values()
            .map(|count: &f64| -count * (count / total).log2());
        bits.sum::<f64>() / 8.0
    }

    proptest! {
        #[test]
        fn integers_come_back(
            bits in 2_u8..=8,
            bytes in proptest::collection::vec(any::<u8>(), 0..500),
        ) {
            let bits = Bits::new(bits).unwrap();
            let largest = i16::from(bits.largest());
            let fold = |byte: u8| (i16::from(byte) % (2 * largest + 1) - largest) as i8;
            let integers: Vec<i8> = bytes.into_iter().map(fold).collect();
            let code = encode(&integers, bits);
            prop_assert_eq!(restored(&code, integers.len(), bits), integers);
        }

        #[test]
        fn any_bytes_decode_to_integers_in_range_or_not_at_all(
            bits in 2_u8..=8,
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let bits = Bits::new(bits).unwrap();
            for integer in decode(&bytes, bits).take(2000).map_while(Result::ok) {
                prop_assert!(integer.unsigned_abs() <= bits.largest() as u8);
            }
        }
    }

    #[test]
    fn integers_take_little_more_than_their_entropy() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        // Standard deviation of the weights in steps.
        for (bits, deviation) in [(2, 0.6), (3, 1.2), (4, 2.5), (5, 5.0), (6, 9.0), (8, 35.0)] {
            let bits = Bits::new(bits).unwrap();
            let largest = f64::from(bits.largest());
            let mut draw = || {
                let normal: f64 = rng.sample(rand_distr::StandardNormal);
                (normal * deviation).round().clamp(-largest, largest) as i8
            };
            let integers: Vec<i8> = (0..100_000).map(|_| draw()).collect();
            let code = encode(&integers, bits);
            let share = code.len() as f64 / order_0(&integers);
            println!("{} bits: {share:.4} of the entropy", bits.get());
            assert!(share < 1.015, "{} bits: {share}", bits.get());
            assert_eq!(restored(&code, integers.len(), bits), integers);
        }
    }

    #[test]
    fn constant_integers_take_almost_nothing() {
        let bits = Bits::new(8).unwrap();
        assert!(encode(&[0; 10_000], bits).len() < 40);
        assert!(encode(&[], bits).is_empty());
    }

    #[test]
    fn the_code_does_not_change() {
        let integers = [3, -1, 0, 0, 2, -3, 1, 0, 0, 0, -2, 1];
        let code = encode(&integers, Bits::new(3).unwrap());
        assert_eq!(code, [201, 27, 235, 219, 200, 85, 192]);
    }
}
