//! [ReduceMean](https://onnx.ai/onnx/operators/onnx__ReduceMean.html).

use super::reduce::{Reducing, SUM, reduction};

reduction! {
    /// The mean over `axes`.
    ReduceMean [1, 11, 13, 18], axes are an input since 18, Reducing {
        last: |sum, count| sum / count,
        ..SUM
    }
}
