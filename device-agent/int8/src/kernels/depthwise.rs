//! Depthwise sums without any instruction of a particular processor.

use super::factors::{Factors, Patch};

/// Outputs of pixels side by side of a depthwise layer with one output channel per input channel.
#[cfg(not(assembly))]
pub(crate) fn depthwise(patch: Patch<'_>, by: Factors<'_, 4>, to: &mut [u8]) {
    for (index, pixel) in to.chunks_exact_mut(by.outputs.max(1)).enumerate() {
        let bytes = patch.bytes.get(index * patch.next..).unwrap_or_default();
        depthwise_from(0, Patch { bytes, ..patch }, by, pixel);
    }
}

/// Outputs of one pixel, from the channel `first` on, a multiple of 4.
pub(crate) fn depthwise_from(first: usize, patch: Patch<'_>, by: Factors<'_, 4>, to: &mut [u8]) {
    let positions = patch.positions[0] * patch.positions[1];
    let (packed, _) = by.packed.as_chunks::<8>();
    let blocks = packed.chunks_exact(positions.max(1));
    for (block, weights) in blocks.enumerate().skip(first / 4) {
        for (output, sum) in four(patch, 4 * block, weights).into_iter().enumerate() {
            by.store(to, 4 * block + output, sum);
        }
    }
}

/// The weights of four channels at a position.
#[inline(always)]
pub(crate) fn halves(weights: &[u8; 8]) -> [i32; 4] {
    let (halves, _) = weights.as_chunks::<2>();
    core::array::from_fn(|channel| i32::from(i16::from_le_bytes(halves[channel])))
}

/// The sums of up to four channels, from `channel` on.
fn four(patch: Patch<'_>, channel: usize, weights: &[[u8; 8]]) -> [i32; 4] {
    let mut sums = [0i32; 4];
    for (position, weights) in weights.iter().enumerate() {
        let row = position / patch.positions[1] * patch.steps[0];
        let start = row + position % patch.positions[1] * patch.steps[1] + channel;
        let inputs = patch.bytes.get(start..).unwrap_or_default();
        for (sum, (&x, weight)) in sums.iter_mut().zip(inputs.iter().zip(halves(weights))) {
            *sum = sum.wrapping_add(i32::from(x as i8) * weight);
        }
    }
    sums
}
