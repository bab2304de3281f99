//! Scales as integers.

use int8_engine::Requant;

/// A layer rounds halves up where fewer than one sum in 2^14 can be one. About one sum in 10^5 goes
/// to another neighbour than in ONNX Runtime anyway, and the form that rounds halves to even slows
/// the whole layer. A fine-tuning could bring it about, because it changes the channels' scales.
const RARE: i32 = 14;
/// Greatest shift of the form that halves do not go to the even integer in.
const MOST_PLAIN: i32 = 54;

/// The power of two that brings `scale` to `digits` binary digits.
fn shift_for(scale: f64, digits: i32) -> i32 {
    digits - 1 - scale.log2().floor() as i32
}

/// A positive scale times `2^shift`, rounded, and held below 2^31.
fn scaled(scale: f64, shift: i32) -> i32 {
    let scaled = (scale * f64::from(shift).exp2()).round();
    scaled.min(f64::from(i32::MAX)) as i32
}

/// Multipliers of a layer's output channels, and how the sums are rounded.
///
/// `sums` are the greatest magnitudes that the channels' sums take: halves go to the even integer
/// only where such sums give them, and not [rarely](RARE). `None` for scales of 2^29 and more.
pub(crate) fn requant(scales: &[f32], sums: &[u64]) -> Option<(Requant, Vec<i32>)> {
    let greatest = scales.iter().fold(0.0f32, |most, &s| most.max(s));
    let best = shift_for(f64::from(greatest.max(f32::MIN_POSITIVE)), 31);
    let multipliers = |shift| scales.iter().map(move |&s| scaled(f64::from(s), shift));
    let plain = best.min(MOST_PLAIN);
    let halves = |((multiplier, &sum), &scale): ((i32, &u64), &f32)| {
        // Beyond a byte's range all sums end at its limit.
        let within = 256.0 / f64::from(scale);
        gives_halves(multiplier, plain, sum.min(within as u64))
    };
    let exact = plain < 33 || multipliers(plain).zip(sums).zip(scales).any(halves);
    let shift = if exact { best.min(62) } else { plain };
    let requant = Requant {
        shift: u8::try_from(shift).ok().filter(|&s| s > 0)?,
        exact,
    };
    Some((requant, multipliers(shift).collect()))
}

/// Whether sums of at most this magnitude times `multiplier / 2^shift` lie halfway between two
/// integers, and not rarely: a multiple of `2^(shift - 1)` has to be made of the two, by an odd
/// factor.
fn gives_halves(multiplier: i32, shift: i32, sum: u64) -> bool {
    let missing = shift - 1 - multiplier.trailing_zeros() as i32;
    multiplier != 0 && (0..RARE).contains(&missing) && sum >> missing != 0
}

/// Multiplier and shift of a mean.
pub(crate) fn mean(scale: f32) -> Option<(i32, u8)> {
    let scale = f64::from(scale);
    let shift = shift_for(scale, 31).min(62);
    let shift_byte = u8::try_from(shift).ok().filter(|&s| s > 0)?;
    Some((scaled(scale, shift), shift_byte))
}

/// Multipliers and shift of an addition.
pub(crate) fn sum(scales: [f32; 2]) -> Option<([i32; 2], u8)> {
    let scales = scales.map(f64::from);
    let shift = shift_for(scales[0].max(scales[1]), 21).min(30);
    let shift_byte = u8::try_from(shift).ok().filter(|&s| s > 0)?;
    Some((scales.map(|s| scaled(s, shift)), shift_byte))
}

#[cfg(test)]
mod tests {
    use int8_engine::Clamp;

    use super::*;

    /// The rounded product in double precision, which is exact here.
    fn expected(sum: i32, scale: f32) -> i8 {
        let product = f64::from(sum) * f64::from(scale);
        product.round_ties_even().clamp(-128.0, 127.0) as i8
    }

    #[test]
    fn sums_are_rounded_as_products_with_the_scale() {
        for (scale, exact) in [
            (0.001_234_5_f32, false),
            (0.25, true),
            (0.5, true),
            (0.75, true),
            (1.0 / 1024.0, true),
            (3.7, true),
            (1e-9, false),
        ] {
            let most = 1u64 << 20;
            let (requant, multipliers) = requant(&[scale], &[most]).unwrap();
            assert_eq!(requant.exact, exact, "{scale}");
            for sum in (-1_000_000..1_000_000).step_by(97).chain(-3000..3000) {
                let got = requant.apply(sum, multipliers[0], 0, Clamp::NONE);
                assert_eq!(got, expected(sum, scale), "{sum} times {scale}");
            }
        }
    }

    #[test]
    fn a_channel_whose_halves_are_rare_costs_the_layer_nothing() {
        // 1025 / 2^20: half an integer at odd multiples of 2^19, and 513 / 2^15 at those of 2^14.
        for (scale, exact) in [
            (1025.0 / 1_048_576.0, false),
            (513.0 / 32_768.0, false),
            (257.0 / 16_384.0, true),
        ] {
            let scales = [0.001_234_5, scale];
            let (requant, multipliers) = requant(&scales, &[1 << 20; 2]).unwrap();
            assert_eq!(requant.exact, exact, "{scale}");
            let sums = -1_000_000..1_000_000;
            let off = sums.filter(|&sum| {
                let got = requant.apply(sum, multipliers[1], 0, Clamp::NONE);
                let expected = expected(sum, scale);
                assert!((i32::from(got) - i32::from(expected)).abs() <= 1);
                got != expected
            });
            assert!(off.count() <= 1_000_000 >> RARE, "{scale}");
        }
    }

    #[test]
    fn channels_of_small_scales_keep_theirs() {
        let scales = [0.01, 0.000_04];
        let (requant, multipliers) = requant(&scales, &[1 << 20; 2]).unwrap();
        for (multiplier, scale) in multipliers.into_iter().zip(scales) {
            for sum in (-1_000_000..1_000_000).step_by(97) {
                let got = requant.apply(sum, multiplier, 0, Clamp::NONE);
                assert_eq!(got, expected(sum, scale), "{sum} times {scale}");
            }
        }
    }

    #[test]
    fn scales_beyond_the_format_are_refused() {
        assert_eq!(requant(&[1e10], &[1]), None);
        assert_eq!(sum([1e10, 1.0]), None);
        assert_eq!(mean(1e10), None);
    }
}
