//! From the sums of a layer to its output.

use crate::wire::record;

record! {
    /// Multiplication by a scale: `x * multiplier / 2^shift`, rounded to the nearest integer, where
    /// each output channel has a multiplier of its own and the layer has one shift.
    ///
    /// Two forms exist, because exact halves are rare and cost time:
    /// - `exact`: halves go to the even integer, as in ONNX Runtime. `shift` is 1 to 62.
    /// - otherwise halves go up. The host chooses this form if the sums that can occur give half an
    ///   integer rarely or never. `shift` is 33 to 54: the upper half of the product decides, which
    ///   one instruction computes, and the zero point shifted likewise fits beside it.
    pub struct Requant {
        /// Binary digits that are dropped.
        pub shift: u8,
        /// Whether halves go to the even integer.
        pub exact: bool,
    }
}

record! {
    /// The interval that outputs are limited to: that of the type, or of a fused ReLU or ReLU6.
    pub struct Clamp {
        /// The least output.
        pub low: i8,
        /// The greatest output.
        pub high: i8,
    }
}

impl Clamp {
    /// All of a byte.
    pub const NONE: Self = Self {
        low: i8::MIN,
        high: i8::MAX,
    };

    /// The nearest number in the interval.
    #[inline(always)]
    #[must_use]
    pub fn apply(self, value: i32) -> i8 {
        // `min` and `max` rather than `clamp`, which panics where the bounds are in disorder.
        value.min(i32::from(self.high)).max(i32::from(self.low)) as i8
    }

    /// Applies the interval to bytes.
    #[cfg(dsp)]
    #[inline(never)]
    fn limit(self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.apply(i32::from(*byte as i8)) as u8;
        }
    }

    pub(crate) fn in_order(self) -> bool {
        self.low <= self.high
    }
}

/// What remains of a layer's sum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounding {
    shift: u32,
    exact: bool,
    zero_point: i32,
    /// The zero point and half a step, in the units of the upper half of the product.
    offset: i32,
    clamp: Clamp,
}

impl Requant {
    pub(crate) fn is_sound(self) -> bool {
        let fits = if self.exact { 1..=62 } else { 33..=54 };
        fits.contains(&self.shift)
    }

    pub(crate) fn rounding(self, zero_point: i8, clamp: Clamp) -> Rounding {
        let upper = u32::from(self.shift).saturating_sub(32).clamp(1, 22);
        let zero_point = i32::from(zero_point);
        Rounding {
            shift: self.shift.into(),
            exact: self.exact,
            zero_point,
            offset: (1i32 << (upper - 1)).wrapping_add(zero_point << upper),
            clamp,
        }
    }

    /// Rounds one sum as the kernels do.
    #[must_use]
    pub fn apply(self, sum: i32, multiplier: i32, zero_point: i8, clamp: Clamp) -> i8 {
        self.rounding(zero_point, clamp).apply(sum, multiplier)
    }
}

/// The form of [`Rounding`] that the upper half of the product decides.
#[cfg(assembly)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain {
    /// Added to the upper half.
    pub offset: i32,
    /// Binary digits of the upper half that are dropped.
    pub shift: u32,
    /// The interval of outputs.
    pub clamp: Clamp,
}

#[cfg(dsp)]
impl Plain {
    /// Applies the interval to outputs that fit a byte.
    #[inline(always)]
    pub fn limit(&self, outputs: &mut [u8]) {
        if self.clamp != Clamp::NONE {
            self.clamp.limit(outputs);
        }
    }
}

impl Rounding {
    /// The form that the upper half of the product decides, if it is that.
    #[cfg(assembly)]
    pub fn plain(self) -> Option<Plain> {
        (!self.exact).then_some(Plain {
            offset: self.offset,
            shift: self.shift - 32,
            clamp: self.clamp,
        })
    }

    /// Rounds one sum.
    #[inline(always)]
    pub fn apply(self, sum: i32, multiplier: i32) -> i8 {
        let product = i64::from(sum) * i64::from(multiplier);
        if !self.exact {
            let upper = ((product >> 32) as i32).wrapping_add(self.offset);
            return self.clamp.apply(upper >> (self.shift - 32).min(31));
        }
        self.apply_exact(product)
    }

    /// As [`Rounding::apply`], of a product, with exact halves to the even integer.
    #[cfg_attr(dsp, inline(never))]
    #[cfg_attr(not(dsp), inline(always))]
    fn apply_exact(self, product: i64) -> i8 {
        let rounded = shift_to_even(product, self.shift);
        // What lies beyond 32 bits is beyond the clamp as well.
        let rounded = rounded.clamp(i64::from(i32::MIN / 2), i64::from(i32::MAX / 2)) as i32;
        self.clamp.apply(rounded + self.zero_point)
    }
}

/// `value / 2^shift`, rounded to the nearest integer, halves to the even one. `shift` is 1 to 62.
#[inline(always)]
pub(crate) fn shift_to_even(value: i64, shift: u32) -> i64 {
    let odd = (value >> shift) & 1;
    value.wrapping_add((1i64 << (shift - 1)) - 1 + odd) >> shift
}

/// As [`shift_to_even`] in 32 bits. `shift` is 1 to 30.
#[inline(always)]
pub(crate) fn shift_to_even_32(value: i32, shift: u32) -> i32 {
    let odd = (value >> shift) & 1;
    value.wrapping_add((1i32 << (shift - 1)) - 1 + odd) >> shift
}
