//! The operators without a typed form whose shapes, element types and work are known.
//!
//! Sources: the [operators of ONNX](https://onnx.ai/onnx/operators/) up to opset 24 and the
//! [contributed operators of ONNX
//! Runtime](https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md).

use super::folding as fold;
use super::shapes as shape;
use super::signature::{Signature, Type, Work};
use crate::DType;
use crate::fold::Fold;

const FIRST: &[Type] = &[Type::Input(0)];
const BOOL: &[Type] = &[Type::Fixed(DType::Bool)];
const INDEX: &[Type] = &[Type::Fixed(DType::I64)];
const WHOLE: &[Type] = &[Type::Fixed(DType::I32)];

/// Operators that share a signature.
type Row = (&'static [&'static str], Signature);

/// The operators of the domain `""`, ONNX's own.
static ONNX: &[Row] = &[
    (
        &[
            "Acos",
            "Acosh",
            "Asin",
            "Asinh",
            "Atan",
            "Atanh",
            "BitwiseNot",
            "Celu",
            "Clip",
            "Cos",
            "Cosh",
            "CumProd",
            "CumSum",
            "Elu",
            "Erf",
            "Exp",
            "Gelu",
            "GroupNormalization",
            "HardSigmoid",
            "HardSwish",
            "Hardmax",
            "Identity",
            "InstanceNormalization",
            "LRN",
            "LeakyRelu",
            "LogSoftmax",
            "LpNormalization",
            "MeanVarianceNormalization",
            "Mish",
            "PRelu",
            "RMSNormalization",
            "Relu",
            "ReverseSequence",
            "RotaryEmbedding",
            "Round",
            "Scatter",
            "ScatterElements",
            "Selu",
            "Shrink",
            "Sigmoid",
            "SimplifiedLayerNormalization",
            "Sin",
            "Sinh",
            "Softmax",
            "Softplus",
            "Softsign",
            "Sqrt",
            "Swish",
            "Tan",
            "Tanh",
            "TensorScatter",
            "ThresholdedRelu",
            "Trilu",
        ],
        Signature::new(shape::same, FIRST),
    ),
    (
        &["Abs"],
        Signature::new(shape::same, FIRST).folding(fold::abs),
    ),
    (
        &["Ceil"],
        Signature::new(shape::same, FIRST).folding(fold::ceil),
    ),
    (
        &["Floor"],
        Signature::new(shape::same, FIRST).folding(fold::floor),
    ),
    (
        &["Log"],
        Signature::new(shape::same, FIRST).folding(fold::log),
    ),
    (
        &["Neg"],
        Signature::new(shape::same, FIRST).folding(fold::neg),
    ),
    (
        &["Reciprocal"],
        Signature::new(shape::same, FIRST).folding(fold::reciprocal),
    ),
    (
        &["Sign"],
        Signature::new(shape::same, FIRST).folding(fold::sign),
    ),
    (
        &["ScatterND"],
        Signature::new(shape::same, FIRST).folding(fold::scatter_nd),
    ),
    (&["IsInf", "IsNaN"], Signature::new(shape::same, BOOL)),
    (
        &["Not"],
        Signature::new(shape::same, BOOL).folding(fold::not),
    ),
    (
        &["Cast"],
        Signature::new(shape::same, &[Type::Attribute("to", usize::MAX)]).folding(fold::cast),
    ),
    (
        &["CastLike"],
        Signature::new(shape::same, &[Type::Input(1)]),
    ),
    (
        &[
            "Bernoulli",
            "EyeLike",
            "RandomNormalLike",
            "RandomUniformLike",
        ],
        Signature::new(shape::same, &[Type::Attribute("dtype", 0)]),
    ),
    (
        &["QuantizeLinear"],
        Signature::new(shape::same, &[Type::ZeroPoint(2)]),
    ),
    (
        &["DequantizeLinear"],
        Signature::new(shape::same, &[Type::Attribute("output_dtype", 1)]),
    ),
    (
        &["DynamicQuantizeLinear"],
        Signature::new(
            shape::dynamic_quantize,
            &[
                Type::Fixed(DType::U8),
                Type::Fixed(DType::F32),
                Type::Fixed(DType::U8),
            ],
        ),
    ),
    (
        &["BatchNormalization"],
        Signature::new(shape::batch_norm, FIRST),
    ),
    (
        &["Dropout"],
        Signature::new(shape::masked, &[Type::Input(0), Type::Fixed(DType::Bool)]),
    ),
    (
        &["LayerNormalization"],
        Signature::new(
            shape::layer_norm,
            &[Type::Input(0), Type::Fixed(DType::F32)],
        ),
    ),
    (
        &[
            "Add",
            "BitShift",
            "BitwiseAnd",
            "BitwiseOr",
            "BitwiseXor",
            "Div",
            "Max",
            "Mean",
            "Min",
            "Mul",
            "Pow",
            "Sub",
            "Sum",
        ],
        Signature::new(shape::broadcast, FIRST),
    ),
    (
        &["Mod"],
        Signature::new(shape::broadcast, FIRST).folding(fold::modulo),
    ),
    (
        &[
            "And",
            "Greater",
            "GreaterOrEqual",
            "Less",
            "LessOrEqual",
            "Or",
            "Xor",
        ],
        Signature::new(shape::broadcast, BOOL),
    ),
    (
        &["Equal"],
        Signature::new(shape::broadcast, BOOL).folding(fold::equal),
    ),
    (
        &["Where"],
        Signature::new(shape::broadcast, &[Type::Input(1)]),
    ),
    (
        &[
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSum",
            "ReduceLogSumExp",
            "ReduceMax",
            "ReduceMean",
            "ReduceMin",
            "ReduceProd",
            "ReduceSum",
            "ReduceSumSquare",
        ],
        Signature::new(shape::reduction, FIRST),
    ),
    (&["ArgMax", "ArgMin"], Signature::new(shape::arg, INDEX)),
    (
        &["TopK"],
        Signature::new(shape::top_k, &[Type::Input(0), Type::Fixed(DType::I64)]),
    ),
    (
        &["DepthToSpace"],
        Signature::new(shape::depth_to_space, FIRST),
    ),
    (
        &["SpaceToDepth"],
        Signature::new(shape::space_to_depth, FIRST),
    ),
    (
        &["AveragePool", "LpPool"],
        Signature::new(shape::pool, FIRST),
    ),
    (
        &["MaxPool"],
        Signature::new(shape::pool, &[Type::Input(0), Type::Fixed(DType::I64)]),
    ),
    (
        &["GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool"],
        Signature::new(shape::global_pool, FIRST),
    ),
    (&["MaxUnpool"], Signature::new(shape::unpool, FIRST)),
    (&["MaxRoiPool"], Signature::new(shape::roi_pool, FIRST)),
    (&["RoiAlign"], Signature::new(shape::roi_align, FIRST)),
    (&["Upsample"], Signature::new(shape::upsample, FIRST)),
    (&["Resize"], Signature::new(shape::resize, FIRST)),
    (&["Pad"], Signature::new(shape::pad, FIRST)),
    (&["Tile"], Signature::new(shape::tile, FIRST)),
    (&["Concat"], Signature::new(shape::concat, FIRST)),
    (&["Slice"], Signature::new(shape::slice, FIRST)),
    (&["Split"], Signature::new(shape::split, FIRST)),
    (&["Gather"], Signature::new(shape::gather, FIRST)),
    (
        &["GatherElements"],
        Signature::new(shape::like_second, FIRST),
    ),
    (
        &["GatherND"],
        Signature::new(shape::gather_nd, FIRST).folding(fold::gather_nd),
    ),
    (&["Compress"], Signature::new(shape::compress, FIRST)),
    (
        &["Unique"],
        Signature::new(shape::compress, &[Type::Input(0), Type::Fixed(DType::I64)]),
    ),
    (&["NonZero"], Signature::new(shape::non_zero, INDEX)),
    (&["NonMaxSuppression"], Signature::new(shape::boxes, INDEX)),
    (
        &["Range"],
        Signature::new(shape::list, FIRST).folding(fold::range),
    ),
    (
        &["OneHot"],
        Signature::new(shape::one_hot, &[Type::Input(2)]),
    ),
    (&["GridSample"], Signature::new(shape::grid_sample, FIRST)),
    (&["AffineGrid"], Signature::new(shape::affine_grid, FIRST)),
    (
        &["CenterCropPad"],
        Signature::new(shape::center_crop_pad, FIRST),
    ),
    (&["Col2Im"], Signature::new(shape::col_to_im, FIRST)),
    (
        &["Size"],
        Signature {
            fold: Fold::Shape(fold::size),
            ..Signature::new(shape::scalar, INDEX)
        },
    ),
    (
        &["ConstantOfShape"],
        Signature::new(shape::of_shape, &[Type::Attribute("value", usize::MAX)])
            .folding(fold::constant_of_shape),
    ),
    (
        &["RandomNormal", "RandomUniform"],
        Signature::new(shape::stated, &[Type::Attribute("dtype", usize::MAX)]),
    ),
    (
        &[
            "Constant",
            "Expand",
            "Flatten",
            "Reshape",
            "Shape",
            "Squeeze",
            "Transpose",
            "Unsqueeze",
        ],
        Signature::new(shape::unknown, FIRST),
    ),
    (
        &["Det"],
        Signature::new(shape::determinant, FIRST).working(Work::Unknown),
    ),
    (
        &["Conv"],
        Signature::new(shape::conv, FIRST).working(Work::Window(1)),
    ),
    (
        &["ConvInteger"],
        Signature::new(shape::conv, WHOLE).working(Work::Window(1)),
    ),
    (
        &["QLinearConv"],
        Signature::new(shape::conv_quantized, &[Type::ZeroPoint(7)]).working(Work::Window(3)),
    ),
    (
        &["DeformConv"],
        Signature::new(shape::conv_deformed, FIRST).working(Work::Window(1)),
    ),
    (
        &["ConvTranspose"],
        Signature::new(shape::conv_transpose, FIRST).working(Work::Transposed),
    ),
    (
        &["Gemm"],
        Signature::new(shape::gemm, FIRST).working(Work::Product(0, 1)),
    ),
    (
        &["MatMul"],
        Signature::new(shape::matmul, FIRST).working(Work::Product(0, 1)),
    ),
    (
        &["MatMulInteger"],
        Signature::new(shape::matmul, WHOLE).working(Work::Product(0, 1)),
    ),
    (
        &["QLinearMatMul"],
        Signature::new(shape::matmul_quantized, &[Type::ZeroPoint(7)]).working(Work::Product(0, 3)),
    ),
    (
        &["GRU", "LSTM", "RNN"],
        Signature::new(shape::recurrent, FIRST).working(Work::Recurrent),
    ),
    (
        &["If", "Loop", "Scan"],
        Signature::new(shape::unknown, &[]).working(Work::Subgraphs),
    ),
];

/// The operators of the domain `com.microsoft`, those of ONNX Runtime.
static MICROSOFT: &[Row] = &[
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

/// The tables by domain.
static DOMAINS: [(&str, &[Row]); 2] = [("", ONNX), ("com.microsoft", MICROSOFT)];

/// Finds the signature of an operator.
pub(super) fn find(domain: &str, name: &str) -> Option<&'static Signature> {
    let (_, table) = DOMAINS.iter().find(|(known, _)| *known == domain)?;
    let row = table.iter().find(|(names, _)| names.contains(&name))?;
    Some(&row.1)
}

/// All operators of the tables: domain, name and signature.
pub(crate) fn rows() -> impl Iterator<Item = (&'static str, &'static str, &'static Signature)> {
    DOMAINS.iter().flat_map(|(domain, table)| {
        table.iter().flat_map(move |(names, signature)| {
            names.iter().map(move |name| (*domain, *name, signature))
        })
    })
}
