//! Channel rules, a file per operator or family. A rule reads the channel maps of a node's
//! inputs, relates atoms, binds axes of constants, and sets the maps of the outputs. It pins the
//! channels in forms that it does not cover.

mod batch_normalization;
mod computed_reshape;
mod concat;
mod contraction;
mod conv;
mod conv_transpose;
mod depth_to_space;
mod einsum;
mod expand;
mod flatten;
mod gather;
mod gemm;
mod group_normalization;
mod instance_normalization;
mod join;
mod layer_normalization;
mod matmul;
mod neighbours;
mod opaque;
mod pad;
mod reduce;
mod reshape;
mod shape;
mod sizes;
mod slice;
mod softmax;
mod spatial;
mod split;
mod squeeze;
mod transpose;
mod unary;

use onnx_graph::ops::Op;
use onnx_graph::{Node, NodeId};

use crate::atoms::Context;

/// Defines `apply` and the list of operators from a table of rules.
macro_rules! rules {
    (($cx:ident, $id:ident, $node:ident) $($($name:ident($op:pat))|+ => $rule:expr;)*) => {
        /// Applies the rule of a node's operator.
        pub(crate) fn apply($cx: &mut Context<'_>, $id: NodeId, $node: &Node) {
            sizes::follow($cx, $node);
            match &$node.op {
                $($(Op::$name($op))|+ => $rule,)*
                Op::Opaque(op) if computed_reshape::is(op) => {
                    computed_reshape::rule($cx, $id, $node);
                }
                Op::Opaque(op) if sizes::resized($cx, $id, $node, op) => {}
                Op::Opaque(op) => {
                    let typed = WITH_RULE.contains(&op.op_type.as_str());
                    opaque::rule($cx, $id, op, typed);
                }
            }
        }

        /// Names of the operators with a channel rule, in forms with typed attributes.
        static WITH_RULE: &[&str] = &[$($(stringify!($name),)+)*];
    };
}

rules! {
    (cx, id, node)
    Add(_) | Sub(_) | Mul(_) | Div(_) | Max(_) | Min(_) | PRelu(_) | Where(_) => {
        join::rule(cx, node)
    };
    BatchNormalization(_) => batch_normalization::rule(cx, node);
    Concat(op) => concat::rule(cx, node, op);
    Conv(op) => conv::rule(cx, id, node, op);
    ConvTranspose(op) => conv_transpose::rule(cx, id, node, op);
    DepthToSpace(op) => depth_to_space::depth_to_space(cx, node, *op);
    SpaceToDepth(op) => depth_to_space::space_to_depth(cx, node, *op);
    Einsum(op) => einsum::rule(cx, id, node, op);
    Expand(op) => expand::rule(cx, id, node, op);
    Flatten(op) => flatten::rule(cx, id, node, op);
    Gather(op) => gather::rule(cx, id, node, op);
    Gemm(op) => gemm::rule(cx, id, node, op);
    GroupNormalization(op) => group_normalization::rule(cx, id, node, op);
    InstanceNormalization(_) => instance_normalization::rule(cx, node);
    LayerNormalization(op) => layer_normalization::rule(cx, node, op);
    MatMul(_) => matmul::rule(cx, id, node);
    Pad(op) => pad::rule(cx, id, node, op);
    ReduceL1(op) => reduce::rule(cx, node, |rank| op.axes(rank), op.keepdims, false);
    ReduceSumSquare(op) => reduce::rule(cx, node, |rank| op.axes(rank), op.keepdims, false);
    ReduceLogSumExp(op) => reduce::rule(cx, node, |rank| op.axes(rank), op.keepdims, true);
    ReduceMax(op) => reduce::rule(cx, node, |rank| op.axes(rank), op.keepdims, false);
    ReduceMin(op) => reduce::rule(cx, node, |rank| op.axes(rank), op.keepdims, false);
    ReduceL2(op) => reduce::rule(cx, node, |rank| op.axes(rank), op.keepdims, false);
    ReduceMean(op) => reduce::rule(cx, node, |rank| op.axes(rank), op.keepdims, false);
    ReduceSum(op) => reduce::rule(cx, node, |rank| op.axes(rank), op.keepdims, false);
    Reshape(op) => reshape::rule(cx, id, node, op);
    Shape(op) => shape::rule(cx, node, op);
    Slice(op) => slice::rule(cx, id, node, op);
    Softmax(op) => softmax::rule(cx, node, op.axis);
    LogSoftmax(op) => softmax::rule(cx, node, op.axis);
    AveragePool(_) | MaxPool(_) => match neighbours::channels(cx, node) {
        Some(map) => neighbours::rule(cx, id, node, map),
        None => spatial::rule(cx, node),
    };
    GlobalAveragePool(_) | GlobalMaxPool(_) => spatial::whole(cx, node);
    Resize(_) => spatial::rule(cx, node);
    Split(op) => split::rule(cx, id, node, op);
    Squeeze(op) => squeeze::squeeze(cx, node, op);
    Unsqueeze(op) => squeeze::unsqueeze(cx, node, op);
    Transpose(op) => transpose::rule(cx, node, op);
    Abs(_) | Acos(_) | Acosh(_) | Asin(_) | Asinh(_) | Atan(_) | Atanh(_) | Ceil(_) | Celu(_)
        | Clip(_) | Cos(_) | Cosh(_) | DequantizeLinear(_) | Dropout(_) | Elu(_) | Erf(_) | Exp(_)
        | Floor(_) | Gelu(_) | HardSigmoid(_) | HardSwish(_) | Identity(_) | LeakyRelu(_) | Log(_)
        | Mish(_) | Neg(_) | Pow(_) | QuantizeLinear(_) | Reciprocal(_) | Relu(_) | Round(_)
        | Selu(_) | Sigmoid(_) | Sign(_) | Sin(_) | Sinh(_) | Softplus(_) | Softsign(_) | Sqrt(_)
        | Swish(_) | Tan(_) | Tanh(_) | ThresholdedRelu(_) => {
        unary::rule(cx, node)
    };
}

/// What happens to the channels at an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperatorRule {
    /// Name in the domain.
    pub name: &'static str,
    /// Operator domain; empty for ONNX's own.
    pub domain: &'static str,
    /// Why channels are pinned in all forms of the operator; `None` where a rule follows them in
    /// at least one.
    pub pinned: Option<&'static str>,
}

/// Returns the operators with a channel rule. At all other operators channels are pinned, and so
/// they are at forms that a rule does not cover. An operator may be in the list twice: with typed
/// attributes and without.
pub fn operator_rules() -> impl Iterator<Item = OperatorRule> {
    let typed = WITH_RULE.iter().map(|name| ("", *name, None));
    let all = typed.chain(opaque::operators());
    all.map(|(domain, name, pinned)| OperatorRule {
        name,
        domain,
        pinned,
    })
}
