//! DepthToSpace and SpaceToDepth: <https://onnx.ai/onnx/operators/onnx__DepthToSpace.html>.

use onnx_graph::ops::{DepthToSpace, SpaceToDepth};
use tch::{TchError, Tensor};

use super::Args;

pub(super) fn depth_to_space(op: &DepthToSpace, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    let (n, c, h, w) = x.size4()?;
    let b = op.blocksize as i64;
    let channels = c / (b * b);
    let (parts, order) = match op.adjacent {
        true => ([n, channels, b, b, h, w], [0, 1, 4, 2, 5, 3]),
        false => ([n, b, b, channels, h, w], [0, 3, 4, 1, 5, 2]),
    };
    let blocks = x.f_reshape(parts)?.f_permute(order)?;
    blocks.f_reshape([n, channels, h * b, w * b])
}

pub(super) fn space_to_depth(op: &SpaceToDepth, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    let (n, c, h, w) = x.size4()?;
    let b = op.blocksize as i64;
    let blocks = x
        .f_reshape([n, c, h / b, b, w / b, b])?
        .f_permute([0, 3, 5, 1, 2, 4])?;
    blocks.f_reshape([n, c * b * b, h / b, w / b])
}
