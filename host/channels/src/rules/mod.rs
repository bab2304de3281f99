//! Channel rules, one operator a file. A rule reads the channel maps of a node's inputs, relates
//! atoms, binds the axes of constants, and sets the maps of the outputs. What a rule does not
//! cover it pins.

mod batch_normalization;
mod binary;
mod concat;
mod contraction;
mod conv;
mod conv_transpose;
mod einsum;
mod expand;
mod flatten;
mod gather;
mod gemm;
mod group_normalization;
mod instance_normalization;
mod layer_normalization;
mod matmul;
mod pad;
mod pointwise;
mod prelu;
mod reduce_mean;
mod reduce_sum;
mod reshape;
mod shape;
mod slice;
mod softmax;
mod split;
mod squeeze;
mod transpose;
mod where_;

use onnx_graph::ops::Op;
use onnx_graph::{Node, NodeId};

use crate::atoms::Context;

pub(crate) fn apply(cx: &mut Context<'_>, id: NodeId, node: &Node) {
    match &node.op {
        Op::Conv(op) => conv::rule(cx, id, node, op),
        Op::ConvTranspose(op) => conv_transpose::rule(cx, id, node, op),
        Op::Gemm(op) => gemm::rule(cx, id, node, op),
        Op::MatMul(_) => matmul::rule(cx, id, node),
        Op::Einsum(op) => einsum::rule(cx, node, op),
        Op::BatchNormalization(_) => batch_normalization::rule(cx, node),
        Op::GroupNormalization(op) => group_normalization::rule(cx, id, node, op),
        Op::InstanceNormalization(_) => instance_normalization::rule(cx, node),
        Op::LayerNormalization(op) => layer_normalization::rule(cx, node, op),
        Op::PRelu(_) => prelu::rule(cx, node),
        Op::Add(_) | Op::Sub(_) | Op::Mul(_) | Op::Div(_) => binary::rule(cx, node),
        Op::Relu(_)
        | Op::LeakyRelu(_)
        | Op::Clip(_)
        | Op::Sigmoid(_)
        | Op::HardSigmoid(_)
        | Op::HardSwish(_)
        | Op::Tanh(_)
        | Op::Erf(_)
        | Op::Gelu(_)
        | Op::Exp(_)
        | Op::Sqrt(_)
        | Op::Pow(_)
        | Op::Identity(_)
        | Op::Dropout(_) => pointwise::rule(cx, node),
        Op::MaxPool(_)
        | Op::AveragePool(_)
        | Op::GlobalAveragePool(_)
        | Op::GlobalMaxPool(_)
        | Op::Resize(_) => {
            pointwise::pool(cx, node);
        }
        Op::Softmax(op) => softmax::rule(cx, node, op.axis),
        Op::LogSoftmax(op) => softmax::rule(cx, node, op.axis),
        Op::ReduceMean(op) => reduce_mean::rule(cx, node, op),
        Op::ReduceSum(op) => reduce_sum::rule(cx, node, |rank| op.axes(rank), op.keepdims),
        Op::ReduceL2(op) => reduce_sum::rule(cx, node, |rank| op.axes(rank), op.keepdims),
        Op::Flatten(op) => flatten::rule(cx, node, op),
        Op::Reshape(op) => reshape::rule(cx, id, node, op),
        Op::Expand(op) => expand::rule(cx, node, op),
        Op::Gather(op) => gather::rule(cx, node, op),
        Op::Shape(op) => shape::rule(cx, node, op),
        Op::Transpose(op) => transpose::rule(cx, node, op),
        Op::Concat(op) => concat::rule(cx, node, op),
        Op::Split(op) => split::rule(cx, id, node, op),
        Op::Slice(op) => slice::rule(cx, id, node, op),
        Op::Pad(op) => pad::rule(cx, id, node, op),
        Op::Where(_) => where_::rule(cx, node),
        Op::Squeeze(op) => squeeze::squeeze(cx, node, op),
        Op::Unsqueeze(op) => squeeze::unsqueeze(cx, node, op),
        other => cx.pin_inputs(
            node,
            &format!("operator {} has no channel rule", other.name()),
        ),
    }
}
