//! The constants of a layer.

#[cfg(assembly)]
use crate::requant::Plain;
use crate::requant::Rounding;

/// Biases of `N` outputs, then their multipliers.
pub(crate) type Scales<const N: usize> = [[[u8; 4]; N]; 2];

/// What a layer multiplies with, where the kernels take `N` outputs at a time.
#[derive(Clone, Copy)]
pub(crate) struct Factors<'a, const N: usize> {
    /// Packed weights of a group.
    pub packed: &'a [u8],
    /// Biases and multipliers.
    pub scales: &'a [Scales<N>],
    /// Number of the group's outputs.
    pub outputs: usize,
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

/// What a window covers of an image, and where that belongs in its column.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// From the first row's first byte on.
    pub bytes: &'a [u8],
    /// Number of rows.
    pub count: usize,
    /// Bytes of a row.
    pub len: usize,
    /// Bytes from a row to the next.
    pub step: usize,
    /// Bytes of the column before the first row, and from a row to the next.
    pub ahead: usize,
    pub pitch: usize,
    /// The byte of the padding, and how many bytes of a column it fills but for the rows. `None`:
    /// the rows fill it.
    pub padding: Option<(u8, usize)>,
}

#[cfg(not(dsp))]
impl<'a> Rows<'a> {
    /// The rows in turn, each with its place in the column.
    pub fn iter(self) -> impl Iterator<Item = (usize, &'a [u8])> {
        let row = move |index| {
            let start = index * self.step;
            let row = self.bytes.get(start..start + self.len);
            (self.ahead + index * self.pitch, row.unwrap_or_default())
        };
        (0..self.count).map(row)
    }
}

impl<const N: usize> Factors<'_, N> {
    /// How sums become bytes, where the upper half of a product decides.
    #[cfg(assembly)]
    pub fn plain(&self) -> Option<Plain> {
        self.rounding.and_then(Rounding::plain)
    }

    /// Bias and multiplier of an output; zeros behind the last.
    #[inline(always)]
    pub fn constants(&self, output: usize) -> [i32; 2] {
        let block = self.scales.get(output / N);
        block.map_or([0; 2], |block| {
            block.map(|list| i32::from_le_bytes(list[output % N]))
        })
    }

    /// Adds the bias to a sum and writes it as output `index` of a pixel, unless there are fewer
    /// outputs.
    #[inline(always)]
    pub fn store(&self, to: &mut [u8], index: usize, sum: i32) {
        let [bias, multiplier] = self.constants(index);
        let sum = sum.wrapping_add(bias);
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
