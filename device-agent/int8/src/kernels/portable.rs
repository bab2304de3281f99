//! Columns of bytes, multiplied without any instruction of a particular processor.

use super::factors::Factors;

/// Columns begin anywhere.
pub(super) const ALIGNMENT: usize = 1;

/// Multiplies columns with the weights of a group; each of `to` takes the group's outputs.
pub(super) fn multiply<const PIXELS: usize>(
    columns: [&[u8]; PIXELS],
    by: Factors<'_, 2>,
    mut to: [&mut [u8]; PIXELS],
) {
    let len = columns.first().map_or(0, |column| column.len());
    let pairs = by.packed.chunks_exact((2 * len).max(1));
    for (index, packed) in pairs.enumerate() {
        let sums = products(packed, columns);
        for (to, sums) in to.iter_mut().zip(sums) {
            for (output, sum) in sums.into_iter().enumerate() {
                by.store(to, 2 * index + output, sum);
            }
        }
    }
}

/// The products of two outputs' weights with each column, summed.
#[inline(always)]
fn products<const PIXELS: usize>(packed: &[u8], columns: [&[u8]; PIXELS]) -> [[i32; 2]; PIXELS] {
    let (packed, _) = packed.as_chunks::<8>();
    columns.map(|column| {
        let (column, _) = column.as_chunks::<4>();
        let mut sums = [0i32; 2];
        for (weights, column) in packed.iter().zip(column) {
            for (entry, &x) in column.iter().enumerate() {
                let x = i32::from(x as i8);
                sums[0] = sums[0].wrapping_add(i32::from(weights[entry] as i8) * x);
                sums[1] = sums[1].wrapping_add(i32::from(weights[4 + entry] as i8) * x);
            }
        }
        sums
    })
}
