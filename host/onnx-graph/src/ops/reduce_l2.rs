//! [ReduceL2](https://onnx.ai/onnx/operators/onnx__ReduceL2.html); the axes, an input since opset 18, are resolved into the operator and
//! written as the operator set of the file wants them.

use super::reduce::reduction;

reduction! {
    /// The Euclidean norm over `axes`.
    ReduceL2, axes are an input since 18
}
