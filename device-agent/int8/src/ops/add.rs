//! [Add](https://onnx.ai/onnx/operators/onnx__Add.html) of two tensors of one shape.

use super::common::{
    Failed, Memory, NOT_BYTES, OTHER_SHAPE, OUTSIDE, OVERLAP, UNSOUND, all_hold, are_bytes,
};
use crate::bounds::Bounds;
use crate::requant::{Clamp, shift_to_even_32};
use crate::tensor::Tensor;
use crate::wire::record;

record! {
    /// The sum of two tensors: each distance from its zero point times its multiplier, added,
    /// divided by `2^shift`, and rounded to the nearest integer, halves to the even one.
    pub struct Add {
        /// The summands.
        pub inputs: [Tensor; 2],
        /// The sum, of the same shape; it may share the memory of a summand.
        pub output: Tensor,
        /// A multiplier per summand, from 0 to 2^21.
        pub multipliers: [i32; 2],
        /// Binary digits that are dropped, 1 to 30.
        pub shift: u8,
        /// The interval of outputs.
        pub clamp: Clamp,
    }
}

/// The greatest multiplier: sums of two products stay within 31 bits.
const MOST: i32 = 1 << 21;

/// The arithmetic of an addition.
#[derive(Clone, Copy)]
struct Sum {
    multipliers: [i32; 2],
    constant: i32,
    shift: u32,
    zero_point: i32,
    clamp: Clamp,
}

impl Sum {
    #[inline(always)]
    fn of(self, a: u8, b: u8) -> u8 {
        let part = |byte: u8, m: i32| i32::from(byte as i8).wrapping_mul(m);
        let sum = part(a, self.multipliers[0])
            .wrapping_add(part(b, self.multipliers[1]))
            .wrapping_add(self.constant);
        self.clamp
            .apply(shift_to_even_32(sum, self.shift) + self.zero_point) as u8
    }

    /// The same with its summands in the other order.
    fn turned(self) -> Self {
        let [a, b] = self.multipliers;
        Self {
            multipliers: [b, a],
            ..self
        }
    }
}

impl Add {
    pub(super) fn check(&self, bounds: Bounds) -> Result<(), &'static str> {
        let [a, b] = &self.inputs;
        let apart = |x: &Tensor| {
            let (from, to) = (x.region(), self.output.region());
            from == to || !from.meets(to)
        };
        let tensors = [a, b, &self.output];
        let sound = self.multipliers.iter().all(|m| (0..=MOST).contains(m));
        all_hold(&[
            (are_bytes(&tensors), NOT_BYTES),
            (tensors.iter().all(|t| bounds.holds(t)), OUTSIDE),
            (
                tensors.iter().all(|t| t.dims() == self.output.dims()),
                OTHER_SHAPE,
            ),
            (apart(a) && apart(b), OVERLAP),
            (
                a.region() == b.region() || !a.region().meets(b.region()),
                OVERLAP,
            ),
            (
                sound && (1..=30).contains(&self.shift) && self.clamp.in_order(),
                UNSOUND,
            ),
        ])
    }

    pub(super) fn run(&self, memory: &mut Memory<'_>) -> Result<(), Failed> {
        let [a, b] = &self.inputs;
        let zero = |x: &Tensor, m: i32| i32::from(x.zero_point).wrapping_mul(m);
        let sum = Sum {
            multipliers: self.multipliers,
            constant: zero(a, self.multipliers[0])
                .wrapping_add(zero(b, self.multipliers[1]))
                .wrapping_neg(),
            shift: self.shift.into(),
            zero_point: self.output.zero_point.into(),
            clamp: self.clamp,
        };
        let to = &self.output;
        match (a.offset == to.offset, b.offset == to.offset) {
            (true, true) => {
                let [bytes] = memory.parts([to.range()])?;
                bytes.iter_mut().for_each(|y| *y = sum.of(*y, *y));
            }
            (true, false) => {
                let [y, b] = memory.parts([to.range(), b.range()])?;
                y.iter_mut().zip(b).for_each(|(y, b)| *y = sum.of(*y, *b));
            }
            (false, true) => {
                let [y, a] = memory.parts([to.range(), a.range()])?;
                let sum = sum.turned();
                y.iter_mut().zip(a).for_each(|(y, a)| *y = sum.of(*y, *a));
            }
            (false, false) if a.offset == b.offset => {
                let [y, x] = memory.parts([to.range(), a.range()])?;
                y.iter_mut().zip(x).for_each(|(y, x)| *y = sum.of(*x, *x));
            }
            (false, false) => {
                let [y, a, b] = memory.parts([to.range(), a.range(), b.range()])?;
                let pairs = a.iter().zip(b);
                let all = y.iter_mut().zip(pairs);
                all.for_each(|(y, (a, b))| *y = sum.of(*a, *b));
            }
        }
        Ok(())
    }
}
