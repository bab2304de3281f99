//! [ReduceL2](https://onnx.ai/onnx/operators/onnx__ReduceL2.html).

use super::reduce::{Reducing, SUM, reduction};

reduction! {
    /// The Euclidean norm over `axes`.
    ReduceL2 [1, 11, 13, 18], axes are an input since 18, Reducing {
        add: |sum, v| sum + v * v,
        last: |sum, _| sum.sqrt(),
        ..SUM
    }
}
