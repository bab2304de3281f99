//! Windows that slide over rows and columns.

use crate::tensor::Tensor;
use crate::wire::record;

record! {
    /// A sliding window. Pairs are of rows and columns. Padding behind the last row and column is
    /// what the output's size implies.
    pub struct Window {
        /// Positions in the window.
        pub kernel: [u16; 2],
        /// Distance of two windows.
        pub stride: [u8; 2],
        /// Distance of two positions in a window.
        pub dilation: [u8; 2],
        /// Padding before the first row and column.
        pub pad: [u8; 2],
    }
}

impl Window {
    /// The window of one position, as in a matrix product.
    pub const ONE: Self = Self {
        kernel: [1; 2],
        stride: [1; 2],
        dilation: [1; 2],
        pad: [0; 2],
    };

    pub(super) fn is_sound(&self) -> bool {
        let positive = |pair: [u8; 2]| pair.iter().all(|&v| v > 0);
        self.kernel.iter().all(|&v| v > 0) && positive(self.stride) && positive(self.dilation)
    }

    /// Positions in the window.
    #[must_use]
    pub fn positions(&self) -> u32 {
        u32::from(self.kernel[0]) * u32::from(self.kernel[1])
    }

    /// Row or column of position `at` in the window `out`; `None` in the padding.
    #[inline(always)]
    pub(super) fn source(&self, axis: usize, out: usize, at: usize, size: usize) -> Option<usize> {
        let begin = out * usize::from(self.stride[axis]) + at * usize::from(self.dilation[axis]);
        let source = begin.wrapping_sub(self.pad[axis].into());
        (source < size).then_some(source)
    }

    /// The positions along an axis of the window `out` that are not in the padding.
    #[inline(always)]
    pub(super) fn inside(&self, axis: usize, out: usize, size: usize) -> core::ops::Range<usize> {
        let step = usize::from(self.dilation[axis]);
        let begin = out * usize::from(self.stride[axis]);
        let pad = usize::from(self.pad[axis]);
        let kernel = usize::from(self.kernel[axis]);
        let first = pad.saturating_sub(begin).div_ceil(step).min(kernel);
        let end = (size + pad)
            .saturating_sub(begin)
            .div_ceil(step)
            .min(kernel);
        first..end.max(first)
    }

    /// The windows along an axis that lie within the input.
    pub(super) fn within(&self, axis: usize, size: usize) -> core::ops::Range<usize> {
        let (stride, pad) = (usize::from(self.stride[axis]), usize::from(self.pad[axis]));
        let stride = stride.max(1);
        let last = usize::from(self.kernel[axis]).saturating_sub(1);
        let reach = last * usize::from(self.dilation[axis]) + 1;
        match (size + pad).checked_sub(reach) {
            Some(begin) => pad.div_ceil(stride)..begin / stride + 1,
            None => 0..0,
        }
    }

    /// Whether the window is sound, and covers some of the input at every output.
    pub(super) fn meets(&self, input: &Tensor, output: &Tensor) -> bool {
        if !self.is_sound() {
            return false;
        }
        let sizes = [(input.height, output.height), (input.width, output.width)];
        sizes.iter().enumerate().all(|(axis, &(from, to))| {
            (0..usize::from(to)).all(|out| !self.inside(axis, out, from.into()).is_empty())
        })
    }
}
