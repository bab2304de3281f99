//! Windows whose rows are runs of bytes of the image.

use core::ops::Range;

use super::window::Window;

/// Pixels whose columns are gathered at a time.
pub(super) const PIXELS: usize = 2;

/// The windows of a layer whose rows are runs of bytes.
#[derive(Clone)]
pub(super) struct Runs {
    /// The rows and columns of the outputs whose windows lie within the image.
    within: [Range<usize>; 2],
    /// Bytes of the image from a window to the next below and beside it.
    pub steps: [usize; 2],
    /// Bytes that the first window begins before the image.
    pub before: usize,
    /// Rows of a window, bytes of a row, and bytes of the image from a row to the next.
    pub rows: [usize; 3],
}

impl Runs {
    /// Those of a window over an image of so many rows, columns and channels.
    pub fn of(window: &Window, [height, width, channels]: [usize; 3]) -> Self {
        let row = width * channels;
        let [stride, dilation, pad] =
            [window.stride, window.dilation, window.pad].map(|of| of.map(usize::from));
        let kernel = window.kernel.map(usize::from);
        Self {
            within: [window.within(0, height), window.within(1, width)],
            steps: [stride[0] * row, stride[1] * channels],
            before: pad[0] * row + pad[1] * channels,
            rows: [kernel[0], kernel[1] * channels, dilation[0] * row],
        }
    }

    /// The pixels of a row of `width` from a pixel on whose windows lie within the image; an even
    /// number.
    #[inline(always)]
    pub fn side_by_side(&self, [row, column]: [usize; 2], width: usize) -> usize {
        match self.are_within([row, column]) {
            true => (self.within[1].end.min(width) - column) / PIXELS * PIXELS,
            false => 0,
        }
    }

    /// Whether the window of an output pixel lies within the image.
    #[inline(always)]
    pub fn are_within(&self, [row, column]: [usize; 2]) -> bool {
        self.within[0].contains(&row) && self.within[1].contains(&column)
    }
}
