//! Padding of convolutions and pools.

use tch::{TchError, Tensor};

/// Returns whether `pads` (all begins, then all ends) are equal at both ends.
pub(crate) fn symmetric(pads: &[usize]) -> bool {
    let (begin, end) = pads.split_at(pads.len() / 2);
    begin == end
}

/// Returns the pads in libtorch's order: begin and end of the last axis first.
pub(crate) fn explicit(pads: &[usize]) -> Vec<i64> {
    let (begin, end) = pads.split_at(pads.len() / 2);
    begin
        .iter()
        .zip(end)
        .rev()
        .flat_map(|(&b, &e)| [b as i64, e as i64])
        .collect()
}

/// Pads `x` by `pads` with `value`.
pub(crate) fn pad(x: &Tensor, pads: &[usize], value: f64) -> Result<Tensor, TchError> {
    x.f_pad(explicit(pads), "constant", value)
}

/// Returns the per-axis values, or `rank` ones if there are none.
pub(crate) fn or_ones(values: &[usize], rank: usize) -> Vec<i64> {
    if values.is_empty() {
        vec![1; rank]
    } else {
        values.iter().map(|&v| v as i64).collect()
    }
}

/// Returns the begins of symmetric pads, or `rank` zeros if there are none.
pub(crate) fn begins(pads: &[usize], rank: usize) -> Vec<i64> {
    if pads.is_empty() {
        vec![0; rank]
    } else {
        pads[..pads.len() / 2].iter().map(|&v| v as i64).collect()
    }
}
