//! [AveragePool](https://onnx.ai/onnx/operators/onnx__AveragePool.html) and GlobalAveragePool.

use super::common::{Failed, Memory, UNSOUND, all_hold, pools};
use super::window::Window;
use crate::bounds::Bounds;
use crate::requant::{Clamp, shift_to_even};
use crate::tensor::Tensor;
use crate::wire::record;

record! {
    /// The mean of a window: the sum of distances from the zero point, times a multiplier, divided
    /// by `2^shift` and rounded to the nearest integer, halves to the even one.
    pub struct AveragePool {
        /// The input.
        pub input: Tensor,
        /// The output.
        pub output: Tensor,
        /// The window.
        pub window: Window,
        /// Whether the multiplier has the whole window in it, so that padding counts as zeros.
        /// Otherwise it is divided by the number of positions that are not padding.
        pub whole: bool,
        /// Factor of the sum or of the mean, not negative.
        pub multiplier: i32,
        /// Binary digits that are dropped, 1 to 62.
        pub shift: u8,
        /// The interval of outputs.
        pub clamp: Clamp,
    }
}

impl AveragePool {
    pub(super) fn check(&self, bounds: Bounds) -> Result<(), &'static str> {
        let sound = self.multiplier >= 0 && (1..=62).contains(&self.shift);
        pools(bounds, &self.window, [&self.input, &self.output])?;
        all_hold(&[(sound && self.clamp.in_order(), UNSOUND)])
    }

    pub(super) fn run(&self, memory: &mut Memory<'_>) -> Result<(), Failed> {
        let [from, to] = memory.parts([self.input.range(), self.output.range()])?;
        let [height, width, channels] = self.input.dims();
        let out_width = usize::from(self.output.width);
        let pixels = to.chunks_exact_mut(channels.max(1));
        for (index, pixel) in pixels.enumerate() {
            let rows = self.window.inside(0, index / out_width, height);
            let columns = self.window.inside(1, index % out_width, width);
            let count = rows.len() * columns.len();
            let mean = Mean {
                constant: (count as i32).wrapping_mul(self.input.zero_point.into()),
                multiplier: self.multiplier_of(count),
                shift: self.shift.into(),
                zero_point: self.output.zero_point.into(),
                clamp: self.clamp,
            };
            for (channel, value) in pixel.iter_mut().enumerate() {
                let mut sum = 0i32;
                for row in rows.clone() {
                    let row = self.window.source(0, index / out_width, row, height);
                    let row = row.ok_or(Failed)? * width;
                    for column in columns.clone() {
                        let column = self.window.source(1, index % out_width, column, width);
                        let at = (row + column.ok_or(Failed)?) * channels + channel;
                        let byte = from.get(at).copied().ok_or(Failed)?;
                        sum = sum.wrapping_add(i32::from(byte as i8));
                    }
                }
                *value = mean.of(sum);
            }
        }
        Ok(())
    }

    /// The factor of a sum over `count` positions.
    fn multiplier_of(&self, count: usize) -> i32 {
        let count = (count as i32).max(1);
        if self.whole {
            self.multiplier
        } else {
            self.multiplier.wrapping_add(count / 2) / count
        }
    }
}

/// The arithmetic of a mean.
struct Mean {
    constant: i32,
    multiplier: i32,
    shift: u32,
    zero_point: i32,
    clamp: Clamp,
}

impl Mean {
    fn of(&self, sum: i32) -> u8 {
        let product = i64::from(sum.wrapping_sub(self.constant)) * i64::from(self.multiplier);
        let rounded = shift_to_even(product, self.shift).clamp(-512, 512) as i32;
        self.clamp.apply(rounded + self.zero_point) as u8
    }
}
