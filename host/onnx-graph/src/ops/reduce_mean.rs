//! [ReduceMean](https://onnx.ai/onnx/operators/onnx__ReduceMean.html); the axes, an input since opset 18, are resolved into the operator and
//! written as the operator set of the file wants them.

use super::reduce::reduction;

reduction! {
    /// The mean over `axes`.
    ReduceMean, axes are an input since 18
}
