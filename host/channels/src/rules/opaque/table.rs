//! The table of operators.

use super::passage::Passage::{self, Elements, Join, KeptLayer, Pins, Positions, Rule};
use super::{axes, deform_conv, fused, integers, moves, norms, packed, recurrent, rotary};

/// Operators of one domain with the same rule.
type Row = (&'static str, &'static [&'static str], Passage);

const MICROSOFT: &str = "com.microsoft";
const NCHWC: &str = "com.microsoft.nchwc";

/// Why operators pin channels.
const DATA: &str = "an operator whose output's size the data decides";
const RANDOM: &str = "an operator of random numbers";
const SUBGRAPH: &str = "an operator with subgraphs that read it";
const INTEGERS: &str = "an operator on integers with scales, in a form that is not followed";
const ATTENTION: &str = "an attention in one operator, whose heads share a packed layout";
const CACHE: &str =
    "an attention with a cache, or in another form that is not read as the products it is made of";
const PACKED: &str = "a product with packed weights";
const SIGNAL: &str = "a transform of signals, which mixes its axis";
const TEXT: &str = "an operator on texts";
const SEQUENCE: &str = "an operator on sequences or optional values";
const PLACES: &str = "channels that are read as positions";
const MATRIX: &str = "an operator on whole matrices";
const TRAINING: &str = "an operator of training";
const IMAGE: &str = "an operator that decodes images";
const SOURCE: &str = "an operator that makes constants, of a size that is read at run time";
const LAYOUT: &str = "an operator in a memory order of the runtime";
const LABELS: &str = "an operator that makes classes of numbers";

pub(super) static TABLE: &[Row] = &[
    (
        "",
        &[
            "Abs",
            "Acos",
            "Acosh",
            "Asin",
            "Asinh",
            "Atan",
            "Atanh",
            "BitCast",
            "BitwiseNot",
            "Cast",
            "CastLike",
            "Ceil",
            "Celu",
            "Clip",
            "Cos",
            "Cosh",
            "Elu",
            "Erf",
            "Exp",
            "Floor",
            "Gelu",
            "HardSigmoid",
            "HardSwish",
            "Identity",
            "IsInf",
            "IsNaN",
            "LeakyRelu",
            "Log",
            "Mish",
            "Neg",
            "Not",
            "Reciprocal",
            "Relu",
            "Round",
            "Selu",
            "Shrink",
            "Sigmoid",
            "Sign",
            "Sin",
            "Sinh",
            "Softplus",
            "Softsign",
            "Sqrt",
            "Swish",
            "Tan",
            "Tanh",
            "ThresholdedRelu",
        ],
        Elements,
    ),
    (MICROSOFT, &["Gelu", "QuickGelu"], Elements),
    (
        "",
        &[
            "Add",
            "And",
            "BitShift",
            "BitwiseAnd",
            "BitwiseOr",
            "BitwiseXor",
            "Div",
            "Equal",
            "Greater",
            "GreaterOrEqual",
            "Less",
            "LessOrEqual",
            "Max",
            "Mean",
            "Min",
            "Mod",
            "Mul",
            "Or",
            "PRelu",
            "Pow",
            "Sub",
            "Sum",
            "Where",
            "Xor",
        ],
        Join,
    ),
    (MICROSOFT, &["BiasAdd", "BiasGelu", "FastGelu"], Join),
    (
        "",
        &[
            "AveragePool",
            "GlobalAveragePool",
            "GlobalLpPool",
            "GlobalMaxPool",
            "GridSample",
            "LpPool",
            "MaxPool",
            "MaxRoiPool",
            "RoiAlign",
            "Upsample",
        ],
        Positions,
    ),
    (MICROSOFT, &["GridSample"], Positions),
    ("", &["DeformConv"], Rule(deform_conv::rule)),
    ("", &["CumSum"], Rule(axes::running_sum)),
    ("", &["CumProd"], Rule(axes::running)),
    ("", &["TopK"], Rule(axes::last)),
    ("", &["Hardmax"], Rule(axes::hardmax)),
    ("", &["LogSoftmax", "Softmax"], Rule(axes::softmax)),
    ("", &["ArgMax", "ArgMin"], Rule(axes::arg)),
    ("", &["ReverseSequence"], Rule(axes::reverse_sequence)),
    (
        "",
        &["MeanVarianceNormalization"],
        Rule(axes::mean_variance),
    ),
    ("", &["LpNormalization"], Rule(axes::norm)),
    ("", &["LRN"], Rule(axes::neighbours)),
    ("", &["Trilu"], Rule(axes::matrices)),
    (MICROSOFT, &["Trilu"], Rule(axes::matrices)),
    (
        "",
        &[
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSum",
            "ReduceSum",
            "ReduceSumSquare",
        ],
        Rule(axes::sum),
    ),
    (
        "",
        &[
            "ReduceLogSumExp",
            "ReduceMax",
            "ReduceMean",
            "ReduceMin",
            "ReduceProd",
        ],
        Rule(axes::reduction),
    ),
    ("", &["Tile"], Rule(moves::tile)),
    ("", &["Pad"], Rule(moves::pad)),
    ("", &["Slice"], Rule(moves::slice)),
    ("", &["Split"], Rule(moves::split)),
    ("", &["Gather"], Rule(moves::gather)),
    (
        "",
        &["GatherElements", "Scatter", "ScatterElements"],
        Rule(moves::elements),
    ),
    ("", &["ScatterND"], Rule(moves::scatter_slices)),
    ("", &["GatherND"], Rule(moves::gather_slices)),
    (
        "",
        &[
            "LayerNormalization",
            "RMSNormalization",
            "SimplifiedLayerNormalization",
        ],
        Rule(norms::rows),
    ),
    (
        MICROSOFT,
        &[
            "LayerNormalization",
            "RMSNormalization",
            "SimplifiedLayerNormalization",
        ],
        Rule(norms::rows),
    ),
    (
        "",
        &["Compress", "NonMaxSuppression", "NonZero", "Unique"],
        Pins(DATA),
    ),
    (
        "",
        &[
            "Bernoulli",
            "Multinomial",
            "RandomNormal",
            "RandomNormalLike",
            "RandomUniform",
            "RandomUniformLike",
        ],
        Pins(RANDOM),
    ),
    ("", &["If", "Loop", "Scan", "SequenceMap"], Pins(SUBGRAPH)),
    ("", &["GRU", "LSTM", "RNN"], Rule(recurrent::rule)),
    (
        MICROSOFT,
        &["FusedMatMul", "TransposeMatMul"],
        Rule(fused::product),
    ),
    ("", &["DynamicQuantizeLinear"], Rule(integers::quantize)),
    ("", &["MatMulInteger"], Rule(integers::product)),
    ("", &["ConvInteger"], Rule(integers::convolution)),
    (
        MICROSOFT,
        &["DynamicQuantizeMatMul", "MatMulIntegerToFloat"],
        Rule(integers::product),
    ),
    (
        "",
        &["DequantizeLinear", "QuantizeLinear"],
        Rule(integers::scaled),
    ),
    (
        MICROSOFT,
        &["DequantizeLinear", "QuantizeLinear"],
        Rule(integers::scaled),
    ),
    ("", &["QLinearConv", "QLinearMatMul"], Pins(INTEGERS)),
    (
        MICROSOFT,
        &[
            "DynamicQuantizeLSTM",
            "QAttention",
            "QEmbedLayerNormalization",
            "QGemm",
            "QLinearAdd",
            "QLinearAveragePool",
            "QLinearConcat",
            "QLinearConv",
            "QLinearGlobalAveragePool",
            "QLinearLeakyRelu",
            "QLinearMul",
            "QLinearReduceMean",
            "QLinearSigmoid",
            "QLinearSoftmax",
            "QLinearWhere",
        ],
        Pins(INTEGERS),
    ),
    (
        "",
        &["CausalConvWithState", "LinearAttention", "TensorScatter"],
        Pins(ATTENTION),
    ),
    (MICROSOFT, &["EmbedLayerNormalization"], Pins(ATTENTION)),
    ("", &["RotaryEmbedding"], Rule(rotary::rule)),
    (MICROSOFT, &["RotaryEmbedding"], Rule(rotary::rule)),
    ("", &["Attention"], Pins(CACHE)),
    (
        MICROSOFT,
        &["Attention", "GroupQueryAttention", "MultiHeadAttention"],
        Pins(CACHE),
    ),
    (MICROSOFT, &["MatMulBnb4", "MatMulFpQ4"], Pins(PACKED)),
    (MICROSOFT, &["MatMulNBits"], Rule(packed::rule)),
    (
        "",
        &[
            "BlackmanWindow",
            "DFT",
            "HammingWindow",
            "HannWindow",
            "MelWeightMatrix",
            "STFT",
        ],
        Pins(SIGNAL),
    ),
    (
        "",
        &[
            "RegexFullMatch",
            "StringConcat",
            "StringNormalizer",
            "StringSplit",
            "TfIdfVectorizer",
        ],
        Pins(TEXT),
    ),
    (
        "",
        &[
            "ConcatFromSequence",
            "Optional",
            "OptionalGetElement",
            "OptionalHasElement",
            "SequenceAt",
            "SequenceConstruct",
            "SequenceEmpty",
            "SequenceErase",
            "SequenceInsert",
            "SequenceLength",
            "SplitToSequence",
        ],
        Pins(SEQUENCE),
    ),
    (
        "",
        &["AffineGrid", "CenterCropPad", "Col2Im", "MaxUnpool"],
        Pins(PLACES),
    ),
    (
        NCHWC,
        &[
            "AveragePool",
            "GlobalAveragePool",
            "GlobalMaxPool",
            "MaxPool",
            "ReorderInput",
            "ReorderOutput",
            "Upsample",
        ],
        Pins(LAYOUT),
    ),
    (MICROSOFT, &["NhwcMaxPool"], Pins(LAYOUT)),
    (NCHWC, &["Conv"], KeptLayer(LAYOUT)),
    (MICROSOFT, &["NhwcConv", "NhwcFusedConv"], KeptLayer(LAYOUT)),
    ("", &["Det"], Pins(MATRIX)),
    ("", &["Constant", "ConstantOfShape", "Range"], Pins(SOURCE)),
    (
        "",
        &["EyeLike", "Size"],
        Pins("a size that is read at run time"),
    ),
    ("", &["OneHot"], Pins(LABELS)),
    ("", &["ImageDecoder"], Pins(IMAGE)),
    (
        "",
        &["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"],
        Pins(TRAINING),
    ),
];

/// The rule of an operator.
pub(super) fn find(domain: &str, name: &str) -> Option<Passage> {
    let row = |(of, names, _): &&Row| *of == domain && names.contains(&name);
    TABLE.iter().find(row).map(|(_, _, passage)| *passage)
}
