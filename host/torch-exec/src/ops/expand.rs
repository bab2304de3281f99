//! Expand: <https://onnx.ai/onnx/operators/onnx__Expand.html>.

use onnx_graph::ops::Expand;
use tch::{TchError, Tensor};

use super::Args;

pub(super) fn run(op: &Expand, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    let mut sizes: Vec<i64> = match args.get(1) {
        Some(list) => Vec::try_from(list)?,
        None => op
            .sizes
            .iter()
            .map(|s| s.known().map_or(1, |n| n as i64))
            .collect(),
    };
    // Expand broadcasts both ways: a size of 1 keeps the input's.
    let own = x.size();
    while sizes.len() < own.len() {
        sizes.insert(0, 1);
    }
    let skip = sizes.len() - own.len();
    for (size, own) in sizes[skip..].iter_mut().zip(own) {
        if *size == 1 {
            *size = own;
        }
    }
    x.f_expand(sizes, false)
}
