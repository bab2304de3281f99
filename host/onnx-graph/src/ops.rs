//! Operators, one file each: attributes, how they are read and written, and the rule for shapes.

mod context;
mod opaque;
mod reduce;
mod window;

use crate::GraphError;
use crate::graph;
pub(crate) use context::{Emission, Extra, Facts, Operator, Parsing};
pub use opaque::Opaque;
pub(crate) use opaque::{MADE_UP, Output, unchanged};
pub use pad::PadMode;
pub use resize::{Coordinates, Extent, ResizeMode, Rounding};
pub(crate) use slice::range;

macro_rules! operators {
    ($($module:ident $name:ident,)*) => {
        $(mod $module; pub use $module::$name;)*

        /// An operator with its attributes.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs, reason = "each variant holds the struct of its name, which is documented")]
        pub enum Op {
            $($name($name),)*
            Opaque(Opaque),
        }

        $(impl From<$name> for Op {
            fn from(op: $name) -> Self {
                Self::$name(op)
            }
        })*

        impl Op {
            /// Name of the operator, as ONNX has it.
            #[must_use]
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$name(_) => <$name as Operator>::NAME,)*
                    Self::Opaque(op) => &op.op_type,
                }
            }

            /// The first operator set in which the form that is written exists. A node kept as it is has that of its file.
            pub(crate) fn since(&self, facts: &Facts<'_>) -> i64 {
                match self {
                    $(Self::$name(op) => op.since(facts),)*
                    Self::Opaque(_) => 1,
                }
            }

            /// Reads an operator of the default domain; `None` keeps the node opaque.
            pub(crate) fn parse(op_type: &str, node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
                let op_type = today(op_type, node.opset);
                $(if op_type == <$name as Operator>::NAME {
                    return Ok(parse::<$name>(node)?.map(Self::$name));
                })*
                Ok(None)
            }

            pub(crate) fn emit(&self, out: &mut Emission) {
                match self {
                    $(Self::$name(op) => op.emit(out),)*
                    Self::Opaque(op) => out.attributes.extend(op.attributes.iter().cloned()),
                }
            }

            /// Shapes of the outputs where they are determined; `None` for an opaque operator, which has its own rules.
            pub(crate) fn shapes(&self, facts: &Facts<'_>) -> Result<Option<Vec<Option<graph::Shape>>>, String> {
                match self {
                    $(Self::$name(op) => op.shapes(facts).map(Some),)*
                    Self::Opaque(_) => Ok(None),
                }
            }
        }
    };
}

operators! {
    add Add,
    average_pool AveragePool,
    batch_normalization BatchNormalization,
    clip Clip,
    concat Concat,
    conv Conv,
    conv_transpose ConvTranspose,
    div Div,
    dropout Dropout,
    einsum Einsum,
    erf Erf,
    exp Exp,
    expand Expand,
    flatten Flatten,
    gather Gather,
    gelu Gelu,
    gemm Gemm,
    global_average_pool GlobalAveragePool,
    global_max_pool GlobalMaxPool,
    group_normalization GroupNormalization,
    hard_sigmoid HardSigmoid,
    hard_swish HardSwish,
    identity Identity,
    instance_normalization InstanceNormalization,
    layer_normalization LayerNormalization,
    leaky_relu LeakyRelu,
    log_softmax LogSoftmax,
    mat_mul MatMul,
    max_pool MaxPool,
    mul Mul,
    p_relu PRelu,
    pad Pad,
    pow Pow,
    reduce_l2 ReduceL2,
    reduce_mean ReduceMean,
    reduce_sum ReduceSum,
    relu Relu,
    reshape Reshape,
    resize Resize,
    shape Shape,
    sigmoid Sigmoid,
    slice Slice,
    softmax Softmax,
    split Split,
    sqrt Sqrt,
    squeeze Squeeze,
    sub Sub,
    tanh Tanh,
    transpose Transpose,
    unsqueeze Unsqueeze,
    where_ Where,
}

impl From<Opaque> for Op {
    fn from(op: Opaque) -> Self {
        Self::Opaque(op)
    }
}

/// The name that an operator has today.
fn today(op_type: &str, opset: i64) -> &str {
    match (op_type, opset) {
        ("Upsample", ..10) => Resize::NAME,
        _ => op_type,
    }
}

fn parse<T: Operator>(node: &mut Parsing<'_>) -> Result<Option<T>, GraphError> {
    let Some(op) = T::parse(node)? else {
        return Ok(None);
    };
    // An attribute nobody looked at may change the meaning.
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
