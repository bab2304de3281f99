//! A convolution whose output channels read one input channel each.

use super::common::{
    Failed, Memory, NO_WEIGHTS, NOT_BYTES, OTHER_SHAPE, OUTSIDE, OVERLAP, UNSOUND, all_hold,
    are_bytes, weights, word,
};
use super::window::Window;
use crate::bounds::Bounds;
use crate::requant::{Clamp, Requant};
use crate::tensor::Tensor;
use crate::wire::record;

record! {
    /// A depthwise convolution: output channel `o` reads input channel `o / multiple`.
    ///
    /// Weights: for each position of the window, row by row, a byte per output channel, padded to
    /// whole words.
    pub struct Depthwise {
        /// What it reads.
        pub input: Tensor,
        /// What it makes.
        pub output: Tensor,
        /// The window.
        pub window: Window,
        /// How sums become outputs.
        pub requant: Requant,
        /// The interval of outputs.
        pub clamp: Clamp,
        /// Where the packed weights lie.
        pub weights: u32,
        /// Where bias and multiplier of each output channel lie, as pairs of `i32`. The bias
        /// contains the effect of the input's zero point.
        pub scales: u32,
    }
}

impl Depthwise {
    /// Output channels per input channel.
    fn multiple(&self) -> usize {
        usize::from(self.output.channels) / usize::from(self.input.channels).max(1)
    }

    /// Bytes of the weights of one position: the output channels, padded to whole words.
    #[must_use]
    pub fn row_bytes(&self) -> u32 {
        u32::from(self.output.channels).next_multiple_of(4)
    }

    /// Bytes of the packed weights.
    #[must_use]
    pub fn weight_bytes(&self) -> Option<u32> {
        self.window.positions().checked_mul(self.row_bytes())
    }

    fn scale_bytes(&self) -> u32 {
        u32::from(self.output.channels) * 8
    }

    /// Multiplications of a weight and an activation, those with padding included.
    #[must_use]
    pub fn macs(&self) -> u64 {
        let outputs: u64 = self.output.dims().iter().map(|&d| d as u64).product();
        outputs * u64::from(self.window.positions())
    }

    pub(super) fn check(&self, bounds: Bounds) -> Result<(), &'static str> {
        let (from, to) = (&self.input, &self.output);
        let whole = from.channels > 0 && to.channels.is_multiple_of(from.channels);
        all_hold(&[
            (are_bytes(&[from, to]), NOT_BYTES),
            (bounds.holds(from) && bounds.holds(to), OUTSIDE),
            (whole && self.window.is_sound(), OTHER_SHAPE),
            (!from.region().meets(to.region()), OVERLAP),
            (
                bounds.has_weights(self.weights, self.weight_bytes())
                    && bounds.has_weights(self.scales, Some(self.scale_bytes())),
                NO_WEIGHTS,
            ),
            (self.requant.is_sound() && self.clamp.in_order(), UNSOUND),
        ])
    }

    pub(super) fn run(&self, memory: &mut Memory<'_>) -> Result<(), Failed> {
        let packed = weights(memory.weights, self.weights, self.weight_bytes())?;
        let scales = weights(memory.weights, self.scales, Some(self.scale_bytes()))?;
        let (scales, _) = scales.as_chunks();
        let [from, to] = memory.parts([self.input.range(), self.output.range()])?;
        let out_width = usize::from(self.output.width);
        let channels = usize::from(self.output.channels).max(1);
        for (index, pixel) in to.chunks_exact_mut(channels).enumerate() {
            let at = [index / out_width, index % out_width];
            self.pixel(at, from, pixel, (packed, scales))?;
        }
        Ok(())
    }

    /// One output pixel.
    fn pixel(
        &self,
        [row, column]: [usize; 2],
        from: &[u8],
        to: &mut [u8],
        (packed, scales): (&[u8], &[[u8; 4]]),
    ) -> Result<(), Failed> {
        let rounding = self.requant.rounding(self.output.zero_point, self.clamp);
        let [height, width, channels] = self.input.dims();
        let kernel = self.window.kernel.map(usize::from);
        let (stride, multiple) = (self.row_bytes() as usize, self.multiple().max(1));
        for (channel, value) in to.iter_mut().enumerate() {
            let mut sum = word(scales, 2 * channel);
            let mut weight = channel;
            for y in 0..kernel[0] {
                let y = self.window.source(0, row, y, height);
                for x in 0..kernel[1] {
                    let x = self.window.source(1, column, x, width);
                    let input = match (y, x) {
                        (Some(y), Some(x)) => {
                            let at = (y * width + x) * channels + channel / multiple;
                            from.get(at).copied().ok_or(Failed)? as i8
                        }
                        _ => self.input.zero_point,
                    };
                    let factor = packed.get(weight).copied().ok_or(Failed)? as i8;
                    sum = sum.wrapping_add(i32::from(input) * i32::from(factor));
                    weight += stride;
                }
            }
            *value = rounding.apply(sum, word(scales, 2 * channel + 1)) as u8;
        }
        Ok(())
    }
}
