//! The [operators of ONNX](https://onnx.ai/onnx/operators/) up to opset 24.

use crate::DType;
use crate::fold::Fold;
use crate::ops::opaque::folding as fold;
use crate::ops::opaque::shapes as shape;
use crate::ops::opaque::signature::{BOOL, FIRST, INDEX, Row, Signature, Type, WHOLE, Work};

/// The operators of the domain `""`, ONNX's own.
pub(super) static ROWS: &[Row] = &[
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
            "Sinh",
            "Softmax",
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
        &["Cos"],
        Signature::new(shape::same, FIRST).folding(fold::cos),
    ),
    (
        &["Sin"],
        Signature::new(shape::same, FIRST).folding(fold::sin),
    ),
    (
        &["Softplus"],
        Signature::new(shape::same, FIRST).folding(fold::softplus),
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
        &["BitCast"],
        Signature::new(shape::same, &[Type::Attribute("to", usize::MAX)]),
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
            "Mean",
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
        Signature::new(shape::broadcast, BOOL).folding(fold::compared),
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
            "ReduceSum",
            "ReduceSumSquare",
        ],
        Signature::new(shape::reduction, FIRST),
    ),
    (
        &["ReduceProd"],
        Signature::new(shape::reduction, FIRST).folding(fold::product),
    ),
    (
        &["Max", "Min"],
        Signature::new(shape::broadcast, FIRST).folding(fold::extremum),
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
    (
        &["Tile"],
        Signature::new(shape::tile, FIRST).folding(fold::tile),
    ),
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
        Signature::new(shape::one_hot, &[Type::Input(2)]).folding(fold::one_hot),
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
    (&["Shape"], Signature::new(shape::unknown, INDEX)),
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
