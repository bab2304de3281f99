//! Operators: per file their attributes, and how they are read, written, shaped and folded.

mod context;
mod opaque;
mod reduce;
mod window;

use crate::GraphError;
use crate::fold::{Array, Operands};
use crate::value::{Dim, Shape as Dims};

pub(crate) use context::{Emission, Extra, Facts, Operator, Parsing};
pub use opaque::Opaque;
pub(crate) use opaque::{INVENTED, Output, unchanged};
pub use pad::PadMode;
pub use quantize_linear::Quantization;
pub use resize::{Coordinates, Extent, ResizeMode, Rounding};

/// Declares the operators with a typed form, by the module that defines them.
macro_rules! operators {
    ($($module:ident: $($name:ident),+;)*) => {
        $(mod $module; $(pub use $module::$name;)+)*

        /// An operator with its attributes.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs, reason = "each variant holds the documented struct of its name")]
        pub enum Op {
            $($($name($name),)+)*
            Opaque(Opaque),
        }

        $($(impl From<$name> for Op {
            fn from(op: $name) -> Self {
                Self::$name(op)
            }
        })+)*

        impl Op {
            /// Returns the operator's name in ONNX.
            #[must_use]
            pub fn name(&self) -> &str {
                match self {
                    $($(Self::$name(_) => <$name as Operator>::NAME,)+)*
                    Self::Opaque(op) => &op.op_type,
                }
            }

            /// The first operator set with the form that is written. An opaque node has the form
            /// of its file.
            pub(crate) fn since(&self, facts: &Facts<'_>) -> i64 {
                match self {
                    $($(Self::$name(op) => op.since(facts),)+)*
                    Self::Opaque(_) => 1,
                }
            }

            /// Reads an operator of the default domain; `None` keeps the node opaque.
            pub(crate) fn parse(
                op_type: &str,
                node: &mut Parsing<'_>,
            ) -> Result<Option<Self>, GraphError> {
                let op_type = current_name(op_type, node.opset);
                $($(if op_type == <$name as Operator>::NAME {
                    return Ok(parse::<$name>(node)?.map(Self::$name));
                })+)*
                Ok(None)
            }

            pub(crate) fn emit(&self, out: &mut Emission) {
                match self {
                    $($(Self::$name(op) => op.emit(out),)+)*
                    Self::Opaque(op) => out.attributes.extend(op.attributes.iter().cloned()),
                }
            }

            /// Shapes of the outputs, where they are determined; `None` for an opaque operator,
            /// which has rules of its own.
            pub(crate) fn shapes(
                &self,
                facts: &Facts<'_>,
            ) -> Result<Option<Vec<Option<Dims>>>, String> {
                match self {
                    $($(Self::$name(op) => op.shapes(facts).map(Some),)+)*
                    Self::Opaque(_) => Ok(None),
                }
            }

            /// The result over constants and sizes, if these determine it. `shape` is the shape
            /// of the first input; `operands` are collected only for an operator that reads them.
            pub(crate) fn fold<'a>(
                &self,
                shape: Option<&[Dim]>,
                operands: impl FnOnce() -> Option<Operands<'a>>,
            ) -> Option<Array> {
                match self {
                    $($(Self::$name(op) => {
                        <$name as Operator>::FOLD.apply(op, shape, operands)
                    })+)*
                    Self::Opaque(op) => op.fold(shape, operands),
                }
            }
        }

        /// The table of operators with a typed form, by name.
        static TYPED: &[OperatorInfo] = &[$($(OperatorInfo {
            name: <$name as Operator>::NAME,
            domain: "",
            form: Form::Typed {
                versions: <$name as Operator>::VERSIONS,
                since: <$name as Operator>::SINCE,
            },
            folded: !<$name as Operator>::FOLD.is_never(),
        },)+)*];
    };
}

operators! {
    average_pool: AveragePool;
    batch_normalization: BatchNormalization;
    binary: Add, Div, Mul, Sub;
    clip: Clip;
    concat: Concat;
    conv: Conv;
    conv_transpose: ConvTranspose;
    depth_to_space: DepthToSpace, SpaceToDepth;
    dequantize_linear: DequantizeLinear;
    dropout: Dropout;
    einsum: Einsum;
    elementwise: Abs, Acos, Acosh, Asin, Asinh, Atan, Atanh, Ceil, Celu, Cos, Cosh, Elu, Floor,
        HardSigmoid, LeakyRelu, Log, Mish, Neg, Reciprocal, Round, Selu, Sign, Sin, Sinh, Softplus, Softsign, Swish, Tan,
        ThresholdedRelu;
    expand: Expand;
    extremum: Max, Min;
    flatten: Flatten;
    gather: Gather;
    gelu: Gelu;
    gemm: Gemm;
    global_pool: GlobalAveragePool, GlobalMaxPool;
    group_normalization: GroupNormalization;
    instance_normalization: InstanceNormalization;
    layer_normalization: LayerNormalization;
    matmul: MatMul;
    max_pool: MaxPool;
    pad: Pad;
    pow: Pow;
    prelu: PRelu;
    quantize_linear: QuantizeLinear;
    reduce_l2: ReduceL2;
    reduce_mean: ReduceMean;
    reduce_others: ReduceL1, ReduceLogSumExp, ReduceMax, ReduceMin, ReduceSumSquare;
    reduce_sum: ReduceSum;
    reshape: Reshape;
    resize: Resize;
    shape: Shape;
    slice: Slice;
    softmax: LogSoftmax, Softmax;
    split: Split;
    squeeze: Squeeze, Unsqueeze;
    transpose: Transpose;
    unary: Erf, Exp, HardSwish, Identity, Relu, Sigmoid, Sqrt, Tanh;
    where_: Where;
}

/// An operator that this crate has rules for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperatorInfo {
    /// Name in the domain.
    pub name: &'static str,
    /// Operator domain; empty for ONNX's own.
    pub domain: &'static str,
    /// How nodes of the operator are represented.
    pub form: Form,
    /// Whether nodes over constants or sizes are computed while a model is read.
    pub folded: bool,
}

/// How nodes of an operator are represented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As an [`Op`] with typed attributes.
    Typed {
        /// Operator sets that introduced the operator or changed it, ascending.
        versions: &'static [i64],
        /// First operator set with a form that is written.
        since: i64,
    },
    /// As [`Op::Opaque`], with rules for shapes and element types.
    Opaque {
        /// Whether the operator multiplies and sums up, or may.
        multiplies: bool,
    },
}

/// Returns the operators that this crate has rules for. An operator with a typed form may be in
/// the list a second time, as [`Form::Opaque`], for nodes in a form that has no typed
/// counterpart.
pub fn operators() -> impl Iterator<Item = OperatorInfo> {
    let opaque = opaque::rows().map(|(domain, name, signature)| OperatorInfo {
        name,
        domain,
        form: Form::Opaque {
            multiplies: signature.multiplies(),
        },
        folded: signature.folds(),
    });
    TYPED.iter().copied().chain(opaque)
}

impl From<Opaque> for Op {
    fn from(op: Opaque) -> Self {
        Self::Opaque(op)
    }
}

/// The current name of an operator.
fn current_name(op_type: &str, opset: i64) -> &str {
    match (op_type, opset) {
        ("Upsample", ..10) => Resize::NAME,
        _ => op_type,
    }
}

fn parse<T: Operator>(node: &mut Parsing<'_>) -> Result<Option<T>, GraphError> {
    let Some(op) = T::parse(node)? else {
        return Ok(None);
    };
    // An attribute that was not looked up may change the meaning.
    if node.used.contains(&false) || (node.outputs != 1 && !T::MANY_OUTPUTS) {
        return Ok(None);
    }
    let (least, most) = T::INPUTS;
    let given = node.inputs.len();
    if given > most || given < least || node.inputs[..least].iter().any(Option::is_none) {
        return Err(node.malformed(format!(
            "{} has {given} inputs, from {least} to {most} are needed",
            T::NAME
        )));
    }
    if most == usize::MAX && node.inputs.iter().any(Option::is_none) {
        return Err(node.malformed(format!("an input of {} is left out", T::NAME)));
    }
    Ok(Some(op))
}

/// The attribute `group` of a convolution.
fn group(node: &mut Parsing<'_>) -> Result<usize, GraphError> {
    let group = node.int("group", 1)?;
    usize::try_from(group)
        .ok()
        .filter(|g| (1..=u32::MAX as usize).contains(g))
        .ok_or_else(|| node.malformed(format!("{group} groups")))
}
