//! Reshape: <https://onnx.ai/onnx/operators/onnx__Reshape.html>.

use onnx_graph::ops::{Op, Reshape};
use onnx_graph::{Dim, Graph, Node};
use tch::{TchError, Tensor};

use super::Args;

/// Returns whether a Reshape's target starts with the exported batch size. Static exports write a
/// 1 there; at run time that entry must follow the actual batch.
pub(crate) fn batch_leads(graph: &Graph, node: &Node) -> bool {
    let Op::Reshape(op) = &node.op else {
        return false;
    };
    let lead = |v| {
        graph
            .value(v)
            .shape
            .as_ref()
            .and_then(|s| s.first())
            .and_then(Dim::known)
    };
    let exported = graph.inputs().first().and_then(|&v| lead(v));
    let target = op
        .target
        .first()
        .and_then(|&t| usize::try_from(t).ok())
        .filter(|&t| t > 0);
    let data = node.input(0).and_then(lead);
    exported.is_some() && target == exported && data == exported
}

pub(super) fn run(op: &Reshape, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    let dims = x.size();
    let mut target = op.target.clone();
    if !op.allow_zero {
        for (i, t) in target.iter_mut().enumerate().filter(|(_, t)| **t == 0) {
            let kept = dims
                .get(i)
                .ok_or_else(|| TchError::Torch(format!("axis {i} to keep is not there")))?;
            *t = *kept;
        }
    }
    if let (true, Some(first), Some(batch)) = (args.batch_leads, target.first_mut(), dims.first()) {
        *first = *batch;
    }
    x.f_reshape(target)
}
