//! 16-bit floats, which widen to 32 bits without loss.

/// An IEEE 754 half-precision float.
pub(super) fn half(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let exponent = u32::from(bits >> 10) & 0x1f;
    let mantissa = u32::from(bits) & 0x3ff;
    let magnitude = match exponent {
        // Subnormal: a multiple of the smallest one, 2^-24.
        0 => (mantissa as f32 / 16_777_216.0).to_bits(),
        31 => 0xff << 23 | mantissa << 13,
        // The biases are 15 and 127.
        _ => (exponent + 112) << 23 | mantissa << 13,
    };
    f32::from_bits(sign | magnitude)
}

/// The nearest half-precision float; of two that are equally near, the one with an even mantissa.
/// What is too large for one becomes infinite.
pub(super) fn narrow(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        return sign | 0x7e00;
    }
    // 65520 and above round to infinity.
    if magnitude >= 0x477f_f000 {
        return sign | 0x7c00;
    }
    if magnitude < 0x3880_0000 {
        // A multiple of the smallest subnormal, 2^-24: the product is exact.
        let steps = f32::from_bits(magnitude) * 16_777_216.0;
        return sign | steps.round_ties_even() as u16;
    }
    // The biases are 15 and 127; a carry into the exponent is right.
    let odd = magnitude >> 13 & 1;
    let rounded = magnitude + 0xfff + odd - (112 << 23);
    sign | (rounded >> 13) as u16
}

/// A bfloat16: the upper half of a 32-bit float.
pub(super) fn bfloat(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_have_their_known_values() {
        for (bits, expected) in [
            (0x0000, 0.0),
            (0x8000, -0.0),
            (0x0001, 2f32.powi(-24)),
            (0x03ff, 1023.0 * 2f32.powi(-24)),
            (0x0400, 2f32.powi(-14)),
            (0x3c00, 1.0),
            (0xc500, -5.0),
            (0x7bff, 65504.0),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ] {
            assert_eq!(half(bits).to_bits(), f32::to_bits(expected), "{bits:#x}");
            assert_eq!(narrow(expected), bits, "{expected}");
        }
        assert!(half(0x7e00).is_nan() && half(narrow(f32::NAN)).is_nan());
        assert_eq!(bfloat(0x3fc0), 1.5);
    }

    #[test]
    fn every_half_narrows_to_itself_and_what_lies_between_two_to_the_nearer() {
        for bits in 0..0x7c00u16 {
            let (low, high) = (half(bits), half(bits + 1));
            assert_eq!(narrow(low), bits);
            assert_eq!(narrow(-low), bits | 0x8000);
            if high.is_infinite() {
                continue;
            }
            let middle = (low + high) / 2.0;
            assert_eq!(narrow(middle), bits + (bits & 1), "ties go to the even one");
            assert_eq!(narrow(middle.next_down()), bits);
            assert_eq!(narrow(middle.next_up()), bits + 1);
        }
        assert_eq!(narrow(65519.9), 0x7bff);
        assert_eq!(narrow(65520.0), 0x7c00);
    }
}
