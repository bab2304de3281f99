//! [ReduceSum](https://onnx.ai/onnx/operators/onnx__ReduceSum.html).

use super::reduce::{SUM, reduction};

reduction! {
    /// The sum over `axes`.
    ReduceSum [1, 11, 13], axes are an input since 13, SUM
}
