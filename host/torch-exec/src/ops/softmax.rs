//! Softmax and LogSoftmax: <https://onnx.ai/onnx/operators/onnx__Softmax.html>.

use onnx_graph::ops::{LogSoftmax, Softmax};
use tch::{Kind, TchError, Tensor};

use super::Args;

pub(super) fn softmax(op: &Softmax, args: &Args) -> Result<Tensor, TchError> {
    args.need(0)?.f_softmax(op.axis, Kind::Float)
}

pub(super) fn log_softmax(op: &LogSoftmax, args: &Args) -> Result<Tensor, TchError> {
    args.need(0)?.f_log_softmax(op.axis, Kind::Float)
}
