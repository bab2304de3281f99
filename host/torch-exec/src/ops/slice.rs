//! Slice: <https://onnx.ai/onnx/operators/onnx__Slice.html>.

use onnx_graph::ops::Slice;
use tch::{TchError, Tensor};

use super::Args;
use super::layout::in_memory_order;

pub(super) fn run(op: &Slice, args: &Args) -> Result<Tensor, TchError> {
    in_memory_order(args.need(0)?, |x, place| slice(op, x, place))
}

fn slice(op: &Slice, x: &Tensor, place: fn(i64) -> i64) -> Result<Tensor, TchError> {
    let mut x = x.shallow_clone();
    for (i, (&start, &end)) in op.starts.iter().zip(&op.ends).enumerate() {
        let axis = op.axes.get(i).copied().unwrap_or(i as i64);
        let axis = place(if axis < 0 {
            axis + x.dim() as i64
        } else {
            axis
        });
        let step = op.steps.get(i).copied().unwrap_or(1);
        let size = usize::try_from(axis)
            .ok()
            .and_then(|a| x.size().get(a).copied())
            .unwrap_or(0);
        let from_end = |v: i64| if v < 0 { v.saturating_add(size) } else { v };
        x = if step > 0 {
            let (start, end) = (from_end(start).clamp(0, size), from_end(end).clamp(0, size));
            x.f_slice(axis, start, end.max(start), step)?
        } else {
            // libtorch has no negative steps: slice the mirrored tensor forwards.
            let (start, end) = (
                from_end(start).clamp(-1, size - 1),
                from_end(end).clamp(-1, size - 1),
            );
            let (first, last) = (size - 1 - start, size - 1 - end);
            x.f_flip([axis])?
                .f_slice(axis, first, last.max(first), step.saturating_neg())?
        };
    }
    Ok(x)
}
