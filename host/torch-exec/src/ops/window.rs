//! Padding shared by convolutions and pools.

use tch::{TchError, Tensor};

/// Whether `pads` (all begins, then all ends) are the same at both ends.
pub(crate) fn symmetric(pads: &[usize]) -> bool {
    let (begin, end) = pads.split_at(pads.len() / 2);
    begin == end
}

/// Pads in libtorch's order: begin and end of the last axis first.
pub(crate) fn explicit(pads: &[usize]) -> Vec<i64> {
    let (begin, end) = pads.split_at(pads.len() / 2);
    begin
        .iter()
        .zip(end)
        .rev()
        .flat_map(|(&b, &e)| [b as i64, e as i64])
        .collect()
}

/// `x` padded by `pads` with `value`.
pub(crate) fn pad(x: &Tensor, pads: &[usize], value: f64) -> Result<Tensor, TchError> {
    x.f_pad(explicit(pads), "constant", value)
}

/// Per-axis values, `pads.len() / 2` of them, or as many ones when none are given.
pub(crate) fn or_ones(values: &[usize], rank: usize) -> Vec<i64> {
    if values.is_empty() {
        vec![1; rank]
    } else {
        values.iter().map(|&v| v as i64).collect()
    }
}

/// The begins of symmetric pads, or zeros when none are given.
pub(crate) fn begins(pads: &[usize], rank: usize) -> Vec<i64> {
    if pads.is_empty() {
        vec![0; rank]
    } else {
        pads[..pads.len() / 2].iter().map(|&v| v as i64).collect()
    }
}
