//! The constants of a layer.

#[cfg(dsp)]
use crate::requant::Plain;
use crate::requant::Rounding;

/// What a layer multiplies columns with.
#[derive(Clone, Copy)]
pub(crate) struct Factors<'a> {
    /// Packed weights of a group.
    pub packed: &'a [u8],
    /// Pairs of bias and multiplier of the group's output channels.
    pub scales: &'a [[[u8; 4]; 2]],
    /// How sums become bytes; `None` keeps the sums.
    pub rounding: Option<Rounding>,
}

/// What the windows of pixels side by side of a depthwise layer cover: a copy, or the input
/// itself.
#[derive(Clone, Copy)]
pub(crate) struct Patch<'a> {
    /// From the first position's first channel on.
    pub bytes: &'a [u8],
    /// Rows and columns of positions.
    pub positions: [usize; 2],
    /// Bytes from a position to the next below and beside it.
    pub steps: [usize; 2],
    /// Bytes from a window to that of the next pixel.
    pub next: usize,
}

impl Factors<'_> {
    /// How sums become bytes, where the upper half of a product decides.
    #[cfg(dsp)]
    pub fn plain(&self) -> Option<Plain> {
        self.rounding.and_then(Rounding::plain)
    }

    /// Writes output `index` of a pixel.
    #[inline(always)]
    pub fn store(&self, to: &mut [u8], index: usize, (sum, multiplier): (i32, i32)) {
        match self.rounding {
            Some(rounding) => {
                if let Some(to) = to.get_mut(index) {
                    *to = rounding.apply(sum, multiplier) as u8;
                }
            }
            None => {
                if let Some(to) = to.get_mut(4 * index..4 * index + 4) {
                    to.copy_from_slice(&sum.to_le_bytes());
                }
            }
        }
    }
}
