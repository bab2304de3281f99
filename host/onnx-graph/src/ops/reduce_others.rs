//! Further reductions, such as [ReduceMax](https://onnx.ai/onnx/operators/onnx__ReduceMax.html).

use super::reduce::{Reducing, SUM, reduction};

reduction! {
    /// The sum of magnitudes over `axes`.
    ReduceL1 [1, 11, 13, 18], axes are an input since 18, Reducing { add: |sum, v| sum + v.abs(), ..SUM }
}

reduction! {
    /// The logarithm of the sum of exponentials over `axes`.
    ReduceLogSumExp [1, 11, 13, 18], axes are an input since 18, Reducing { add: |sum, v| sum + v.exp(), last: |sum, _| sum.ln(), ..SUM }
}

reduction! {
    /// The greatest element over `axes`.
    ReduceMax [1, 11, 12, 13, 18, 20], axes are an input since 18, Reducing { first: f64::NEG_INFINITY, add: greater, ..SUM }
}

reduction! {
    /// The least element over `axes`.
    ReduceMin [1, 11, 12, 13, 18, 20], axes are an input since 18, Reducing { first: f64::INFINITY, add: lesser, ..SUM }
}

reduction! {
    /// The sum of squares over `axes`.
    ReduceSumSquare [1, 11, 13, 18], axes are an input since 18, Reducing { add: |sum, v| sum + v * v, ..SUM }
}

/// The greater of two; a NaN stays.
fn greater(a: f64, b: f64) -> f64 {
    if b > a || b.is_nan() { b } else { a }
}

/// The lesser of two; a NaN stays.
fn lesser(a: f64, b: f64) -> f64 {
    if b < a || b.is_nan() { b } else { a }
}
