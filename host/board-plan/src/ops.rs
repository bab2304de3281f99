//! Operators of the network: per file what one becomes.

mod add;
mod average;
mod concat;
mod context;
mod conv;
mod ending;
mod flatten;
mod function;
mod gemm;
mod max_pool;
mod pad;
mod resize;
mod slice;
mod softmax;
mod window;

pub(crate) use context::Context;
pub(crate) use ending::finish;

use onnx_graph::ops::Op;

use crate::state::State;

/// What the output of a node becomes.
pub(crate) fn lower(context: Context<'_>) -> Result<State, String> {
    match &context.node.op {
        Op::Add(_) => add::lower(context),
        Op::AveragePool(op) => average::windows(context, op),
        Op::GlobalAveragePool(_) => average::global(context),
        Op::ReduceMean(op) => average::mean(context, op),
        Op::Concat(op) => concat::lower(context, op),
        Op::Conv(op) => conv::lower(context, op),
        Op::Flatten(_) | Op::Reshape(_) | Op::Squeeze(_) | Op::Unsqueeze(_) | Op::Identity(_) => {
            flatten::lower(context)
        }
        Op::Gemm(op) => gemm::lower(context, op),
        Op::MatMul(_) => gemm::product(context),
        Op::GlobalMaxPool(_) => max_pool::global(context),
        Op::MaxPool(op) => max_pool::windows(context, op),
        Op::Pad(op) => pad::lower(context, op),
        Op::Resize(op) => resize::lower(context, op),
        Op::Slice(op) => slice::lower(context, op),
        Op::Softmax(op) => softmax::lower(context, op),
        Op::BatchNormalization(_) => Err("fold it into the layer before it, then quantise".into()),
        op => function::lower(context, op),
    }
}
