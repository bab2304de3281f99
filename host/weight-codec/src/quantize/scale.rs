//! Scales of the least squared error.

use crate::Bits;

/// Bit patterns of bfloat16 per octave.
const PER_OCTAVE: u32 = 128;
/// Octaves searched below the scale that clips nothing. At 2 bits, weights with heavy tails are
/// best clipped at a tenth of their maximum.
const OCTAVES: u32 = 4;
/// Distance of the patterns tried first.
const STRIDE: u32 = 8;

/// Returns the scale of the least sum of squared errors of rounding to the nearest integer, among
/// those with 8 significant bits. It is 0 for weights that are all 0.
///
/// All scales of the [`OCTAVES`] below the one without clipping are candidates: first every
/// [`STRIDE`]th, then all around the best. For few weights the error is not smooth in the scale,
/// and the result can be up to 1 % above the least error.
pub(super) fn best_scale(weights: &[f32], bits: Bits) -> f32 {
    let largest = weights.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
    if largest == 0.0 {
        return 0.0;
    }
    let levels = f32::from(bits.largest());
    // One pattern above the quotient, because the conversion truncates.
    let mut high = pattern(largest / levels) + 1;
    while !(levels * scale(high)).is_finite() {
        high -= 1;
    }
    let low = high.saturating_sub(OCTAVES * PER_OCTAVE).max(1);
    let high = high.max(low);
    let best = |patterns: &mut dyn Iterator<Item = u32>| {
        let errors =
            patterns.map(|pattern| (squared_error(weights, scale(pattern), bits), pattern));
        let best = errors.min_by(|a, b| a.0.total_cmp(&b.0));
        best.map_or(high, |(_, pattern)| pattern)
    };
    let coarse = best(&mut (low..=high).rev().step_by(STRIDE as usize));
    let around = coarse.saturating_sub(STRIDE - 1).max(low)..=(coarse + STRIDE - 1).min(high);
    scale(best(&mut around.into_iter()))
}

/// Returns the nearest of the integers with so many bits to `value / scale`, ties to even.
pub(super) fn nearest(value: f64, scale: f32, bits: Bits) -> i8 {
    if scale == 0.0 {
        return 0;
    }
    let largest = f64::from(bits.largest());
    rounded((value / f64::from(scale)).clamp(-largest, largest)) as i8
}

fn squared_error(weights: &[f32], scale: f32, bits: Bits) -> f64 {
    let (scale, largest) = (f64::from(scale), f64::from(bits.largest()));
    let inverse = 1.0 / scale;
    let error = |weight: &f32| {
        let weight = f64::from(*weight);
        let by = weight - scale * rounded((weight * inverse).clamp(-largest, largest));
        by * by
    };
    weights.iter().map(error).sum()
}

/// Rounds to the nearest integer. The sum has no bits left for a fraction; unlike a call of
/// `round`, it is computed for several values at once.
fn rounded(value: f64) -> f64 {
    const SHIFT: f64 = 3.0 * (1_u64 << 51) as f64;
    (value + SHIFT) - SHIFT
}

fn pattern(value: f32) -> u32 {
    value.to_bits() >> 16
}

fn scale(pattern: u32) -> f32 {
    f32::from_bits(pattern << 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// The least error over every scale of a fine grid, with 24 significant bits.
    fn brute_force(weights: &[f32], bits: Bits) -> f64 {
        let largest = weights.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
        let steps = 20_000;
        (1..=steps)
            .map(|step| {
                let scale = largest / f32::from(bits.largest()) * step as f32 / steps as f32;
                squared_error(weights, scale, bits)
            })
            .fold(f64::INFINITY, f64::min)
    }

    fn ternary(weights: &[f32]) -> f64 {
        let mut sizes: Vec<f64> = weights.iter().map(|w| f64::from(w.abs())).collect();
        sizes.sort_by(|a, b| b.total_cmp(a));
        let (mut sum, mut best) = (0.0, 0.0_f64);
        for (count, size) in sizes.iter().enumerate() {
            sum += size;
            best = best.max(sum * sum / (count + 1) as f64);
        }
        sizes.iter().map(|w| w * w).sum::<f64>() - best
    }

    #[test]
    fn known_scales() {
        let cases: &[(&[f32], u8, f32)] = &[
            (&[0.0, 0.0], 4, 0.0),
            (&[1.0, -1.0, 0.0], 2, 1.0),
            (&[7.0, -3.0, 1.0, 0.0], 4, 1.0),
            // Both 2 and 3 round to 1: the mean is best.
            (&[2.0, -3.0, 3.0, -2.0], 2, 2.5),
            (&[0.25, -0.5, 0.75], 3, 0.25),
            (&[1e-30, -1e-30], 2, 1e-30),
            (&[f32::MAX, f32::MAX], 8, f32::MAX / 127.0),
        ];
        for (weights, bits, expected) in cases {
            let found = best_scale(weights, Bits::new(*bits).unwrap());
            let near = (found - expected).abs() <= expected * 0.005;
            assert!(near, "{weights:?}: {found}, not {expected}");
        }
    }

    #[test]
    fn the_smallest_numbers_have_scales() {
        for weight in [f32::from_bits(1), 1e-40, f32::MIN_POSITIVE] {
            for bits in Bits::all() {
                let scale = best_scale(&[weight, -weight], bits);
                assert!(scale > 0.0, "{weight} at {} bits", bits.get());
                let error = squared_error(&[weight], scale, bits);
                assert!(error <= f64::from(weight) * f64::from(weight));
            }
        }
    }

    #[test]
    fn scales_are_those_of_brute_force() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for bits in Bits::all() {
            let (mut found, mut best) = (0.0, 0.0);
            for count in [9, 27, 144, 576] {
                let normal = rand_distr::StandardNormal;
                let weights: Vec<f32> = (0..count)
                    .map(|_| {
                        let weight: f32 = rng.sample(normal);
                        weight * weight.abs()
                    })
                    .collect();
                let error = squared_error(&weights, best_scale(&weights, bits), bits);
                let least = brute_force(&weights, bits);
                if bits == Bits::MIN {
                    let exact = ternary(&weights);
                    assert!(error <= exact * 1.02, "{count}: {error}, exactly {exact}");
                }
                found += error / f64::from(count);
                best += least / f64::from(count);
            }
            println!("{} bits: {:.4} of the least", bits.get(), found / best);
            assert!(found <= best * 1.02, "{} bits", bits.get());
        }
    }
}
