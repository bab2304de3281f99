//! A convolution whose output channels read one input channel each.

use super::common::{
    Failed, Memory, NO_WEIGHTS, NOT_BYTES, OTHER_SHAPE, OUTSIDE, OVERLAP, UNSOUND, all_hold,
    are_apart, are_bytes, weights,
};
use super::window::Window;
use crate::bounds::Bounds;
use crate::kernels::{Factors, Patch, copy, depthwise, fill, halves};
use crate::requant::{Clamp, Requant};
use crate::tensor::{Region, Tensor};
use crate::wire::record;

record! {
    /// A depthwise convolution: output channel `o` reads input channel `o / multiple`.
    ///
    /// Weights: for each four output channels (with zeros behind the last), and each position of
    /// the window, row by row, a halfword per channel. Bytes would have to be extended for every
    /// pixel, and these layers have few weights.
    pub struct Depthwise {
        /// The input.
        pub input: Tensor,
        /// The output.
        pub output: Tensor,
        /// The window.
        pub window: Window,
        /// How sums become outputs.
        pub requant: Requant,
        /// The interval of outputs.
        pub clamp: Clamp,
        /// Offset of the packed weights.
        pub weights: u32,
        /// Offset of the scales: for each four outputs, four biases and four multipliers, all
        /// `i32`. A bias contains the effect of the input's zero point.
        pub scales: u32,
        /// Offset of [`Depthwise::scratch_bytes`] in the arena, in which windows with padding are
        /// gathered.
        pub scratch: u32,
    }
}

impl Depthwise {
    /// Bytes of the packed weights.
    #[must_use]
    pub fn weight_bytes(&self) -> Option<u32> {
        let channels = u32::from(self.output.channels).next_multiple_of(4);
        self.window
            .positions()
            .checked_mul(channels)?
            .checked_mul(2)
    }

    /// Bytes of arena that a window is gathered in.
    #[must_use]
    pub fn scratch_bytes(&self) -> Option<u32> {
        let channels = u32::from(self.input.channels).next_multiple_of(4);
        self.window.positions().checked_mul(channels)
    }

    /// Bytes of biases and multipliers.
    #[must_use]
    pub fn scale_bytes(&self) -> Option<u32> {
        Some(u32::from(self.output.channels).div_ceil(4) * 32)
    }

    /// Multiplications of a weight and an activation, those with padding included.
    #[must_use]
    pub fn macs(&self) -> u64 {
        let outputs: u64 = self.output.dims().iter().map(|&d| d as u64).product();
        outputs * u64::from(self.window.positions())
    }

    pub(super) fn check(&self, bounds: Bounds) -> Result<(), &'static str> {
        let (from, to) = (&self.input, &self.output);
        let scratch = Region {
            offset: self.scratch,
            len: self.scratch_bytes().unwrap_or(u32::MAX),
        };
        let whole =
            from.channels > 0 && to.channels > 0 && to.channels.is_multiple_of(from.channels);
        all_hold(&[
            (are_bytes(&[from, to]), NOT_BYTES),
            (bounds.holds(from) && bounds.holds(to), OUTSIDE),
            (whole && self.window.is_sound(), OTHER_SHAPE),
            (bounds.has(self.scratch, self.scratch_bytes()), OUTSIDE),
            (are_apart([from.region(), to.region(), scratch]), OVERLAP),
            (
                bounds.has_weights(self.weights, self.weight_bytes())
                    && bounds.has_weights(self.scales, self.scale_bytes()),
                NO_WEIGHTS,
            ),
            (self.requant.is_sound() && self.clamp.in_order(), UNSOUND),
        ])
    }

    pub(super) fn run(&self, memory: &mut Memory<'_>) -> Result<(), Failed> {
        let packed = weights(memory.weights, self.weights, self.weight_bytes())?;
        let scales = weights(memory.weights, self.scales, self.scale_bytes())?;
        let factors = Factors {
            packed,
            scales: scales
                .as_chunks::<4>()
                .0
                .as_chunks::<4>()
                .0
                .as_chunks::<2>()
                .0,
            outputs: self.output.channels.into(),
            rounding: Some(self.requant.rounding(self.output.zero_point, self.clamp)),
        };
        let start = self.scratch as usize;
        let scratch = start..start + self.scratch_bytes().ok_or(Failed)? as usize;
        let [from, to, scratch] =
            memory.parts([self.input.range(), self.output.range(), scratch])?;
        let [_, out_width, channels] = self.output.dims();
        let single = self.output.channels == self.input.channels;
        for (row, pixels) in to.chunks_exact_mut(out_width * channels).enumerate() {
            let mut rest = pixels;
            let mut column = 0;
            while !rest.is_empty() {
                let at = [row, column];
                let count = if single { self.run_from(at) } else { 1 };
                let (now, later) = rest.split_at_mut((count * channels).min(rest.len()));
                if single {
                    depthwise(self.patch(at, from, scratch)?, factors, now);
                } else {
                    self.multiple(at, from, (factors, now))?;
                }
                rest = later;
                column += count;
            }
        }
        Ok(())
    }

    /// The number of pixels from one on, in its row, whose windows the kernels find in the input
    /// itself: they have no padding, and whole words of channels. 1 if there is none.
    fn run_from(&self, [row, column]: [usize; 2]) -> usize {
        let [height, width, channels] = self.input.dims();
        let window = &self.window;
        let full = |axis, at, size| {
            window.inside(axis, at, size).len() == usize::from(window.kernel[axis])
        };
        if !channels.is_multiple_of(4) || !full(0, row, height) || !full(1, column, width) {
            return 1;
        }
        let [_, stride] = window.stride.map(usize::from);
        let [_, pad] = window.pad.map(usize::from);
        let extent = usize::from(window.kernel[1] - 1) * usize::from(window.dilation[1]) + 1;
        let last = (width + pad).saturating_sub(extent) / stride;
        let end = usize::from(self.output.width).min(last + 1);
        end.saturating_sub(column).max(1)
    }

    /// What the window of an output pixel covers: the input itself where it has whole words of
    /// channels and no padding, otherwise a copy.
    fn patch<'a>(
        &self,
        [row, column]: [usize; 2],
        from: &'a [u8],
        scratch: &'a mut [u8],
    ) -> Result<Patch<'a>, Failed> {
        let window = &self.window;
        let [height, width, channels] = self.input.dims();
        let positions = window.kernel.map(usize::from);
        let inside = [
            window.inside(0, row, height),
            window.inside(1, column, width),
        ];
        let full = inside[0].len() == positions[0] && inside[1].len() == positions[1];
        if full && channels.is_multiple_of(4) {
            let y = window.source(0, row, 0, height).ok_or(Failed)?;
            let x = window.source(1, column, 0, width).ok_or(Failed)?;
            let [down, beside] = window.dilation.map(usize::from);
            return Ok(Patch {
                bytes: from.get((y * width + x) * channels..).ok_or(Failed)?,
                positions,
                steps: [down * width * channels, beside * channels],
                next: usize::from(window.stride[1]) * channels,
            });
        }
        let step = channels.next_multiple_of(4);
        let zero = self.input.zero_point as u8;
        let [_, beside] = window.dilation.map(usize::from);
        let mut lines = scratch.chunks_exact_mut(positions[1] * step);
        for y in 0..positions[0] {
            let line = lines.next().ok_or(Failed)?;
            let Some(y) = window.source(0, row, y, height) else {
                fill(line, zero);
                continue;
            };
            let (first, rest) = line.split_at_mut(inside[1].start * step);
            let (middle, last) = rest.split_at_mut(inside[1].len() * step);
            fill(first, zero);
            fill(last, zero);
            let Some(x) = window.source(1, column, inside[1].start, width) else {
                continue;
            };
            let source = from.get((y * width + x) * channels..).ok_or(Failed)?;
            if beside == 1 && step == channels {
                copy(middle, source);
                continue;
            }
            let pixels = source.chunks(beside * channels);
            for (to, from) in middle.chunks_exact_mut(step).zip(pixels) {
                let (to, from) = (to.get_mut(..channels), from.get(..channels));
                to.ok_or(Failed)?.copy_from_slice(from.ok_or(Failed)?);
            }
        }
        Ok(Patch {
            bytes: scratch,
            positions,
            steps: [positions[1] * step, step],
            next: 0,
        })
    }

    /// One output pixel of several output channels per input channel.
    fn multiple(
        &self,
        [row, column]: [usize; 2],
        from: &[u8],
        (by, to): (Factors<'_, 4>, &mut [u8]),
    ) -> Result<(), Failed> {
        let [height, width, channels] = self.input.dims();
        let kernel = self.window.kernel.map(usize::from);
        let multiple = (to.len() / channels.max(1)).max(1);
        let positions = kernel[0] * kernel[1];
        for channel in 0..to.len() {
            let mut sum = 0i32;
            let block = by.packed.as_chunks::<8>().0.get(channel / 4 * positions..);
            let mut weights = block.ok_or(Failed)?.iter();
            for y in 0..kernel[0] {
                let y = self.window.source(0, row, y, height);
                for x in 0..kernel[1] {
                    let x = self.window.source(1, column, x, width);
                    let input = match y.zip(x) {
                        Some((y, x)) => {
                            let at = (y * width + x) * channels + channel / multiple;
                            from.get(at).copied().ok_or(Failed)? as i8
                        }
                        None => self.input.zero_point,
                    };
                    let factor = halves(weights.next().ok_or(Failed)?)[channel % 4];
                    sum = sum.wrapping_add(i32::from(input) * factor);
                }
            }
            by.store(to, channel, sum);
        }
        Ok(())
    }
}
