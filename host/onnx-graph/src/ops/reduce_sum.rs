//! [ReduceSum](https://onnx.ai/onnx/operators/onnx__ReduceSum.html); the axes, an input since opset 13, are resolved into the operator and
//! written as the operator set of the file wants them.

use super::reduce::reduction;

reduction! {
    /// The sum over `axes`.
    ReduceSum, axes are an input since 13
}
