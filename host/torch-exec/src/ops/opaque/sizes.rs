//! Operators that read their sizes at run time:
//! <https://onnx.ai/onnx/operators/onnx__ConstantOfShape.html> and others.

use onnx_graph::TensorData;
use onnx_graph::ops::Opaque;
use tch::{Kind, TchError, Tensor};

use super::reading::list;
use crate::ops::Args;

pub(super) fn constant(op: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    let (sizes, device) = (list(args, 0)?, args.need(0)?.device());
    let filled = |value: f64, kind| Tensor::f_full(&sizes[..], value, (kind, device));
    match op.tensor("value").map(onnx_graph::Tensor::data) {
        None => filled(0.0, Kind::Float),
        Some(TensorData::F32(v)) if v.len() == 1 => filled(f64::from(v[0]), Kind::Float),
        Some(TensorData::I64(v)) if v.len() == 1 => {
            Tensor::f_full(&sizes[..], v[0], (Kind::Int64, device))
        }
        Some(TensorData::Bool(v)) if v.len() == 1 => filled(f64::from(u8::from(v[0])), Kind::Bool),
        Some(_) => Err(TchError::Torch("a value of this type is not run".into())),
    }
}

/// Broadcasts the input and the sizes against each other.
pub(super) fn expand(_: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    let (x, sizes) = (args.need(0)?, list(args, 1)?);
    let own = x.size();
    let rank = own.len().max(sizes.len());
    let padded = |list: &[i64]| [vec![1; rank - list.len()], list.to_vec()].concat();
    let pairs = padded(&own).into_iter().zip(padded(&sizes));
    let target: Vec<i64> = pairs
        .map(|(own, size)| if size == 1 { own } else { size })
        .collect();
    x.f_expand(target, false)
}

pub(super) fn reshape(op: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    let (x, mut sizes) = (args.need(0)?, list(args, 1)?);
    if op.int("allowzero", 0) == 0 {
        for (size, own) in sizes.iter_mut().zip(x.size()) {
            if *size == 0 {
                *size = own;
            }
        }
    }
    x.f_reshape(sizes)
}
