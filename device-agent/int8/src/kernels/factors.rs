//! The constants of a layer.

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

impl Factors<'_> {
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
