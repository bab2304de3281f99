//! Further reductions, such as [ReduceMax](https://onnx.ai/onnx/operators/onnx__ReduceMax.html).
//! Nodes over constants and integers stay opaque: they are folded there.

use super::reduce::reduction;
use crate::fold::Fold;

reduction! {
    /// The sum of magnitudes over `axes`.
    ReduceL1 [1, 11, 13, 18], axes are an input since 18, Fold::Never
}

reduction! {
    /// The logarithm of the sum of exponentials over `axes`.
    ReduceLogSumExp [1, 11, 13, 18], axes are an input since 18, Fold::Never
}

reduction! {
    /// The greatest element over `axes`.
    ReduceMax [1, 11, 12, 13, 18, 20], axes are an input since 18, Fold::Never
}

reduction! {
    /// The least element over `axes`.
    ReduceMin [1, 11, 12, 13, 18, 20], axes are an input since 18, Fold::Never
}

reduction! {
    /// The sum of squares over `axes`.
    ReduceSumSquare [1, 11, 13, 18], axes are an input since 18, Fold::Never
}
