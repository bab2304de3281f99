//! The operators without a typed form of which shapes, element types and work are known, by domain and name.
//!
//! Sources: the [operators of ONNX](https://onnx.ai/onnx/operators/) up to operator set 24 and the
//! [contributed operators of ONNX Runtime](https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md).

use super::seen::Seen;
use super::shapes::{self as shape, Shapes};
use super::work::Work;
use crate::DType;

/// Where an output's element type comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Type {
    /// The input of this position.
    Input(usize),
    /// Always this type.
    Fixed(DType),
    /// The attribute of this name, or else the input of this position.
    Attribute(&'static str, usize),
    /// The zero point at this position; unsigned bytes where it is left out.
    ZeroPoint(usize),
}

/// What is known of an operator.
pub(super) struct Known {
    pub shapes: fn(&Seen<'_>) -> Shapes,
    /// Types of the outputs; the last stands for all further ones.
    pub types: &'static [Type],
    pub work: Work,
}

const FIRST: &[Type] = &[Type::Input(0)];
const BOOL: &[Type] = &[Type::Fixed(DType::Bool)];
const INDEX: &[Type] = &[Type::Fixed(DType::I64)];
const WHOLE: &[Type] = &[Type::Fixed(DType::I32)];

const fn free(shapes: fn(&Seen<'_>) -> Shapes, types: &'static [Type]) -> Known {
    Known {
        shapes,
        types,
        work: Work::None,
    }
}

const fn working(shapes: fn(&Seen<'_>) -> Shapes, types: &'static [Type], work: Work) -> Known {
    Known {
        shapes,
        types,
        work,
    }
}

/// Finds an operator of ONNX or of ONNX Runtime.
pub(super) fn find(domain: &str, name: &str) -> Option<Known> {
    match domain {
        "" => onnx(name),
        "com.microsoft" => microsoft(name),
        _ => None,
    }
}

fn onnx(name: &str) -> Option<Known> {
    Some(match name {
        "Abs"
        | "Acos"
        | "Acosh"
        | "Asin"
        | "Asinh"
        | "Atan"
        | "Atanh"
        | "BitwiseNot"
        | "Ceil"
        | "Celu"
        | "Clip"
        | "Cos"
        | "Cosh"
        | "CumSum"
        | "CumProd"
        | "Elu"
        | "Erf"
        | "Exp"
        | "Floor"
        | "Gelu"
        | "GroupNormalization"
        | "HardSigmoid"
        | "HardSwish"
        | "Hardmax"
        | "Identity"
        | "InstanceNormalization"
        | "LRN"
        | "LeakyRelu"
        | "Log"
        | "LogSoftmax"
        | "LpNormalization"
        | "MeanVarianceNormalization"
        | "Mish"
        | "Neg"
        | "PRelu"
        | "RMSNormalization"
        | "Reciprocal"
        | "Relu"
        | "ReverseSequence"
        | "RotaryEmbedding"
        | "Round"
        | "Scatter"
        | "ScatterElements"
        | "ScatterND"
        | "Selu"
        | "Shrink"
        | "Sigmoid"
        | "Sign"
        | "SimplifiedLayerNormalization"
        | "Sin"
        | "Sinh"
        | "Softmax"
        | "Softplus"
        | "Softsign"
        | "Sqrt"
        | "Swish"
        | "Tan"
        | "Tanh"
        | "TensorScatter"
        | "ThresholdedRelu"
        | "Trilu" => free(shape::same, FIRST),
        "IsInf" | "IsNaN" | "Not" => free(shape::same, BOOL),
        "Cast" => free(shape::same, &[Type::Attribute("to", usize::MAX)]),
        "CastLike" => free(shape::same, &[Type::Input(1)]),
        "Bernoulli" | "EyeLike" | "RandomNormalLike" | "RandomUniformLike" => {
            free(shape::same, &[Type::Attribute("dtype", 0)])
        }
        "QuantizeLinear" => free(shape::same, &[Type::ZeroPoint(2)]),
        "DequantizeLinear" => free(shape::same, &[Type::Attribute("output_dtype", 1)]),
        "DynamicQuantizeLinear" => free(
            shape::dynamic_quantize,
            &[
                Type::Fixed(DType::U8),
                Type::Fixed(DType::F32),
                Type::Fixed(DType::U8),
            ],
        ),
        "BatchNormalization" => free(shape::batch_norm, FIRST),
        "Dropout" => free(shape::masked, &[Type::Input(0), Type::Fixed(DType::Bool)]),
        "LayerNormalization" => free(
            shape::layer_norm,
            &[Type::Input(0), Type::Fixed(DType::F32)],
        ),
        "Add" | "BitShift" | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" | "Div" | "Max" | "Mean"
        | "Min" | "Mod" | "Mul" | "Pow" | "Sub" | "Sum" => free(shape::broadcast, FIRST),
        "And" | "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Or" | "Xor" => {
            free(shape::broadcast, BOOL)
        }
        "Where" => free(shape::broadcast, &[Type::Input(1)]),
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax"
        | "ReduceMean" | "ReduceMin" | "ReduceProd" | "ReduceSum" | "ReduceSumSquare" => {
            free(shape::reduction, FIRST)
        }
        "ArgMax" | "ArgMin" => free(shape::arg, INDEX),
        "TopK" => free(shape::top_k, &[Type::Input(0), Type::Fixed(DType::I64)]),
        "DepthToSpace" => free(shape::depth_to_space, FIRST),
        "SpaceToDepth" => free(shape::space_to_depth, FIRST),
        "AveragePool" | "LpPool" => free(shape::pool, FIRST),
        "MaxPool" => free(shape::pool, &[Type::Input(0), Type::Fixed(DType::I64)]),
        "GlobalAveragePool" | "GlobalLpPool" | "GlobalMaxPool" => free(shape::global_pool, FIRST),
        "MaxUnpool" => free(shape::unpool, FIRST),
        "MaxRoiPool" => free(shape::roi_pool, FIRST),
        "RoiAlign" => free(shape::roi_align, FIRST),
        "Upsample" => free(shape::upsample, FIRST),
        "Resize" => free(shape::resize, FIRST),
        "Pad" => free(shape::pad, FIRST),
        "Tile" => free(shape::tile, FIRST),
        "Concat" => free(shape::concat, FIRST),
        "Slice" => free(shape::slice, FIRST),
        "Split" => free(shape::split, FIRST),
        "Gather" => free(shape::gather, FIRST),
        "GatherElements" => free(shape::like_second, FIRST),
        "GatherND" => free(shape::gather_nd, FIRST),
        "Compress" => free(shape::compress, FIRST),
        "Unique" => free(shape::compress, &[Type::Input(0), Type::Fixed(DType::I64)]),
        "NonZero" => free(shape::non_zero, INDEX),
        "NonMaxSuppression" => free(shape::boxes, INDEX),
        "Range" => free(shape::list, FIRST),
        "OneHot" => free(shape::one_hot, &[Type::Input(2)]),
        "GridSample" => free(shape::grid_sample, FIRST),
        "AffineGrid" => free(shape::affine_grid, FIRST),
        "CenterCropPad" => free(shape::center_crop_pad, FIRST),
        "Col2Im" => free(shape::col_to_im, FIRST),
        "Size" => free(shape::scalar, INDEX),
        "ConstantOfShape" => free(shape::of_shape, &[Type::Attribute("value", usize::MAX)]),
        "RandomNormal" | "RandomUniform" => {
            free(shape::stated, &[Type::Attribute("dtype", usize::MAX)])
        }
        "Constant" | "Expand" | "Flatten" | "Reshape" | "Shape" | "Squeeze" | "Transpose"
        | "Unsqueeze" => free(|_| None, FIRST),
        "Det" => working(shape::determinant, FIRST, Work::Unknown),
        "Conv" => working(shape::conv, FIRST, Work::Window(1)),
        "ConvInteger" => working(shape::conv, WHOLE, Work::Window(1)),
        "QLinearConv" => working(
            shape::conv_quantized,
            &[Type::ZeroPoint(7)],
            Work::Window(3),
        ),
        "DeformConv" => working(shape::conv_deformed, FIRST, Work::Window(1)),
        "ConvTranspose" => working(shape::conv_transpose, FIRST, Work::Transposed),
        "Gemm" => working(shape::gemm, FIRST, Work::Product(0, 1)),
        "MatMul" => working(shape::matmul, FIRST, Work::Product(0, 1)),
        "MatMulInteger" => working(shape::matmul, WHOLE, Work::Product(0, 1)),
        "QLinearMatMul" => working(
            shape::matmul_quantized,
            &[Type::ZeroPoint(7)],
            Work::Product(0, 3),
        ),
        "GRU" | "LSTM" | "RNN" => working(shape::recurrent, FIRST, Work::Recurrent),
        "If" | "Loop" | "Scan" => working(|_| None, &[], Work::Subgraphs),
        _ => return None,
    })
}

fn microsoft(name: &str) -> Option<Known> {
    Some(match name {
        "BiasAdd"
        | "BiasGelu"
        | "BiasSoftmax"
        | "FastGelu"
        | "Gelu"
        | "GroupNorm"
        | "LayerNormalization"
        | "QLinearLeakyRelu"
        | "QLinearSigmoid"
        | "QLinearSoftmax"
        | "QuickGelu"
        | "RotaryEmbedding"
        | "SimplifiedLayerNormalization"
        | "Trilu" => free(shape::same, FIRST),
        "BiasDropout" | "BitmaskDropout" => free(shape::same, FIRST),
        "BiasSplitGelu" => free(shape::halved, FIRST),
        "SkipGroupNorm" | "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => {
            free(shape::same_with_sum, FIRST)
        }
        "QuantizeLinear" => free(shape::same, &[Type::ZeroPoint(2)]),
        "DequantizeLinear" => free(shape::same, &[Type::Input(1)]),
        "QLinearAdd" | "QLinearMul" => free(shape::broadcast_quantized, FIRST),
        "QLinearWhere" => free(shape::where_quantized, &[Type::Input(1)]),
        "QLinearReduceMean" => free(shape::reduction, FIRST),
        "QLinearGlobalAveragePool" => free(shape::global_pool, FIRST),
        "MaxpoolWithMask" | "QLinearAveragePool" => free(shape::pool, FIRST),
        "QLinearConcat" => free(shape::concat_quantized, &[Type::Input(2)]),
        "GatherND" => free(shape::gather_nd, FIRST),
        "GridSample" => free(shape::grid_sample, FIRST),
        "FusedConv" => working(shape::conv, FIRST, Work::Window(1)),
        "QLinearConv" => working(
            shape::conv_quantized,
            &[Type::ZeroPoint(7)],
            Work::Window(3),
        ),
        "FusedGemm" => working(shape::gemm, FIRST, Work::Product(0, 1)),
        "QGemm" => working(
            shape::gemm_quantized,
            &[Type::ZeroPoint(8)],
            Work::Product(0, 3),
        ),
        "FusedMatMul" | "FusedMatMulActivation" | "TransposeMatMul" => {
            working(shape::matmul_fused, FIRST, Work::Product(0, 1))
        }
        "DynamicQuantizeMatMul" => working(shape::matmul, FIRST, Work::Product(0, 1)),
        "MatMulIntegerToFloat" => working(shape::matmul, &[Type::Input(2)], Work::Product(0, 1)),
        "MatMulNBits" | "MatMulBnb4" | "MatMulFpQ4" => {
            working(shape::matmul_packed, FIRST, Work::Packed)
        }
        "MultiHeadAttention" => working(shape::multi_head, FIRST, Work::Unknown),
        _ => return None,
    })
}
