//! Depthwise sums without any instruction of a particular processor.

use super::factors::{Factors, Patch};
use crate::requant::Rounding;

/// Outputs of pixels side by side of a depthwise layer with one output channel per input channel.
#[cfg(not(dsp))]
pub(crate) fn depthwise(patch: Patch<'_>, by: Factors<'_>, to: &mut [u8]) {
    for (index, pixel) in to.chunks_exact_mut(by.scales.len().max(1)).enumerate() {
        let bytes = patch.bytes.get(index * patch.next..).unwrap_or_default();
        depthwise_from(0, Patch { bytes, ..patch }, by, pixel);
    }
}

/// Outputs of one pixel, from the channel `first` on, a multiple of 4.
pub(crate) fn depthwise_from(first: usize, patch: Patch<'_>, by: Factors<'_>, to: &mut [u8]) {
    let Some(rounding) = by.rounding else {
        return;
    };
    let positions = patch.positions[0] * patch.positions[1];
    let (packed, _) = by.packed.as_chunks::<4>();
    let blocks = packed.chunks_exact(positions.max(1));
    let outputs = to.chunks_mut(4).zip(by.scales.chunks(4));
    let all = blocks.zip(outputs).enumerate().skip(first / 4);
    for (block, (weights, (to, scales))) in all {
        four(patch, 4 * block, weights, (scales, rounding), to);
    }
}

/// Up to four channels, from `channel` on.
fn four(
    patch: Patch<'_>,
    channel: usize,
    weights: &[[u8; 4]],
    (scales, rounding): (&[[[u8; 4]; 2]], Rounding),
    to: &mut [u8],
) {
    let mut sums = [0i32; 4];
    for (sum, [bias, _]) in sums.iter_mut().zip(scales) {
        *sum = i32::from_le_bytes(*bias);
    }
    for (position, weights) in weights.iter().enumerate() {
        let row = position / patch.positions[1] * patch.steps[0];
        let start = row + position % patch.positions[1] * patch.steps[1] + channel;
        let inputs = patch.bytes.get(start..start + to.len()).unwrap_or_default();
        for (sum, (&x, &weight)) in sums.iter_mut().zip(inputs.iter().zip(weights)) {
            *sum = sum.wrapping_add(i32::from(x as i8) * i32::from(weight as i8));
        }
    }
    for (to, (sum, [_, multiplier])) in to.iter_mut().zip(sums.into_iter().zip(scales)) {
        *to = rounding.apply(sum, i32::from_le_bytes(*multiplier)) as u8;
    }
}
