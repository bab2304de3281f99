//! The contributed [operators of ONNX
//! Runtime](https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md).

use crate::ops::opaque::shapes as shape;
use crate::ops::opaque::signature::{FIRST, Row, Signature, Type, Work};

/// The operators of the domain `com.microsoft`, those of ONNX Runtime.
pub(super) static ROWS: &[Row] = &[
    (
        &[
            "BiasAdd",
            "BiasDropout",
            "BiasGelu",
            "BiasSoftmax",
            "BitmaskDropout",
            "FastGelu",
            "Gelu",
            "GroupNorm",
            "LayerNormalization",
            "QLinearLeakyRelu",
            "QLinearSigmoid",
            "QLinearSoftmax",
            "QuickGelu",
            "RotaryEmbedding",
            "SimplifiedLayerNormalization",
            "Trilu",
        ],
        Signature::new(shape::same, FIRST),
    ),
    (&["BiasSplitGelu"], Signature::new(shape::halved, FIRST)),
    (
        &[
            "SkipGroupNorm",
            "SkipLayerNormalization",
            "SkipSimplifiedLayerNormalization",
        ],
        Signature::new(shape::same_with_sum, FIRST),
    ),
    (
        &["QuantizeLinear"],
        Signature::new(shape::same, &[Type::ZeroPoint(2)]),
    ),
    (
        &["DequantizeLinear"],
        Signature::new(shape::same, &[Type::Input(1)]),
    ),
    (
        &["QLinearAdd", "QLinearMul"],
        Signature::new(shape::broadcast_quantized, FIRST),
    ),
    (
        &["QLinearWhere"],
        Signature::new(shape::where_quantized, &[Type::Input(1)]),
    ),
    (
        &["QLinearReduceMean"],
        Signature::new(shape::reduction, FIRST),
    ),
    (
        &["QLinearGlobalAveragePool"],
        Signature::new(shape::global_pool, FIRST),
    ),
    (
        &["MaxpoolWithMask", "QLinearAveragePool"],
        Signature::new(shape::pool, FIRST),
    ),
    (
        &["QLinearConcat"],
        Signature::new(shape::concat_quantized, &[Type::Input(2)]),
    ),
    (&["GatherND"], Signature::new(shape::gather_nd, FIRST)),
    (&["GridSample"], Signature::new(shape::grid_sample, FIRST)),
    (
        &["FusedConv"],
        Signature::new(shape::conv, FIRST).working(Work::Window(1)),
    ),
    (
        &["QLinearConv"],
        Signature::new(shape::conv_quantized, &[Type::ZeroPoint(7)]).working(Work::Window(3)),
    ),
    (
        &["FusedGemm"],
        Signature::new(shape::gemm, FIRST).working(Work::Product(0, 1)),
    ),
    (
        &["QGemm"],
        Signature::new(shape::gemm_quantized, &[Type::ZeroPoint(8)]).working(Work::Product(0, 3)),
    ),
    (
        &["FusedMatMul", "FusedMatMulActivation", "TransposeMatMul"],
        Signature::new(shape::matmul_fused, FIRST).working(Work::Product(0, 1)),
    ),
    (
        &["DynamicQuantizeMatMul"],
        Signature::new(shape::matmul, FIRST).working(Work::Product(0, 1)),
    ),
    (
        &["MatMulIntegerToFloat"],
        Signature::new(shape::matmul, &[Type::Input(2)]).working(Work::Product(0, 1)),
    ),
    (
        &["MatMulBnb4", "MatMulFpQ4", "MatMulNBits"],
        Signature::new(shape::matmul_packed, FIRST).working(Work::Packed),
    ),
    (
        &["MultiHeadAttention"],
        Signature::new(shape::multi_head, FIRST).working(Work::Unknown),
    ),
];
