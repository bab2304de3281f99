//! Numbers and types that operators read at run time.

use onnx_graph::DType;
use tch::{Kind, TchError, Tensor};

use crate::ops::Args;

/// The libtorch type of elements that are cast to.
pub(super) fn kind(dtype: DType) -> Option<Kind> {
    Some(match dtype {
        DType::F32 => Kind::Float,
        DType::F64 => Kind::Double,
        DType::I64 => Kind::Int64,
        DType::I32 => Kind::Int,
        DType::Bool => Kind::Bool,
        _ => return None,
    })
}

/// The integers of a list that is computed.
pub(super) fn list(args: &Args, i: usize) -> Result<Vec<i64>, TchError> {
    let flat = args.need(i)?.f_to_kind(Kind::Int64)?.f_flatten(0, -1)?;
    Vec::try_from(&flat)
}

/// The single integer of a computed tensor.
pub(super) fn number(args: &Args, i: usize) -> Result<i64, TchError> {
    match list(args, i)?[..] {
        [number] => Ok(number),
        ref other => Err(TchError::Torch(format!(
            "{} numbers where one is needed",
            other.len()
        ))),
    }
}

/// The position of an axis; a negative one counts from the end.
pub(super) fn position(x: &Tensor, axis: i64) -> Result<usize, TchError> {
    let rank = x.dim();
    let at = if axis < 0 { axis + rank as i64 } else { axis };
    let at = usize::try_from(at).ok().filter(|&at| at < rank);
    at.ok_or_else(|| TchError::Torch(format!("axis {axis} of {:?}", x.size())))
}

/// The size of an axis; a negative one counts from the end.
pub(super) fn size(x: &Tensor, axis: i64) -> Result<i64, TchError> {
    Ok(x.size()[position(x, axis)?])
}
