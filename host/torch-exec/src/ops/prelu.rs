//! PRelu: <https://onnx.ai/onnx/operators/onnx__PRelu.html>.

use tch::{TchError, Tensor};

use super::Args;

pub(super) fn run(args: &Args) -> Result<Tensor, TchError> {
    let (x, slope) = (args.need(0)?, args.need(1)?);
    let count = slope.numel() as i64;
    let dims = slope.size();
    // A slope of [C, 1, 1] lines its first axis up with the channels of [N, C, H, W].
    let channel_axis = (dims.len() + 1).checked_sub(x.dim());
    let per_channel = x.dim() >= 2
        && x.size()[1] == count
        && channel_axis.is_some_and(|a| dims.get(a) == Some(&count));
    if count == 1 || per_channel {
        return x.f_prelu(&slope.f_flatten(0, -1)?.f_to_kind(x.kind())?);
    }
    // Any other broadcastable slope.
    x.f_clamp_min(0.0)?
        .f_add(&x.f_clamp_max(0.0)?.f_mul(slope)?)
}
