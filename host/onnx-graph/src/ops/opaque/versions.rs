//! Operator sets between which the meaning of an opaque node does not change.

/// The operator set from which on an operator has the form and meaning of opset 13. Later
/// versions only add element types, optional parts or wider ranges.
fn settled(op_type: &str) -> Option<i64> {
    Some(match op_type {
        "ArgMax" | "ArgMin" | "Conv" | "ConvTranspose" | "DepthToSpace" | "Flatten" | "Gather"
        | "Identity" | "LRN" | "LpNormalization" | "MatMul" | "ReduceL1" | "ReduceL2"
        | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax" | "ReduceMin" | "ReduceProd"
        | "ReduceSumSquare" | "Shape" | "Size" | "Softplus" | "Softsign" | "SpaceToDepth"
        | "MaxRoiPool" | "Transpose" => 1,
        "GlobalLpPool" | "LpPool" => 2,
        "Concat" => 4,
        "Reshape" => 5,
        "Abs"
        | "Cast"
        | "Ceil"
        | "Elu"
        | "Exp"
        | "Floor"
        | "InstanceNormalization"
        | "Log"
        | "Neg"
        | "Reciprocal"
        | "Relu"
        | "Selu"
        | "Sigmoid"
        | "Sqrt"
        | "Tanh"
        | "Tile" => 6,
        "Add" | "And" | "AveragePool" | "Cos" | "Div" | "Equal" | "Gemm" | "Greater" | "Less"
        | "GRU" | "LSTM" | "Mul" | "Not" | "Or" | "PRelu" | "Pow" | "RNN" | "Sin" | "Sub"
        | "Xor" => 7,
        "Expand" | "Max" | "MaxPool" | "Mean" | "Min" | "Sum" => 8,
        "ConstantOfShape"
        | "Erf"
        | "IsNaN"
        | "MeanVarianceNormalization"
        | "NonZero"
        | "OneHot"
        | "Shrink"
        | "Sign"
        | "Where" => 9,
        "IsInf" | "Mod" | "ReverseSequence" | "Slice" | "ThresholdedRelu" => 10,
        "BitShift" | "Clip" | "CumSum" | "GatherElements" | "GatherND" | "NonMaxSuppression"
        | "Pad" | "Range" | "Resize" | "Round" | "ScatterElements" | "ScatterND" | "TopK" => 11,
        "Celu" | "Dropout" | "Einsum" | "GreaterOrEqual" | "LessOrEqual" => 12,
        _ => return None,
    })
}

/// Whether an opaque node has the same meaning in operator set `to` as in `from`.
pub(crate) fn unchanged(op_type: &str, from: i64, to: i64) -> bool {
    let reduces = op_type.starts_with("Reduce");
    settled(op_type).is_some_and(|since| from >= since) && (to < 18 || from >= 18 || !reduces)
}
