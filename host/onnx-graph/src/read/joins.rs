//! [Max](https://onnx.ai/onnx/operators/onnx__Max.html), Min,
//! [Sum](https://onnx.ai/onnx/operators/onnx__Sum.html) and Mean of any number of operands are
//! read as chains of operators on two, and as Identity for one.

use super::rewrite::Rewrite;
use crate::proto::{NodeProto, plain};

/// The operator on two operands; `None` for other nodes.
fn pairwise(node: &NodeProto) -> Option<&'static str> {
    if !plain(&node.domain).is_empty() || node.output.len() != 1 || node.input.is_empty() {
        return None;
    }
    let join = match node.op_type.as_str() {
        "Max" => "Max",
        "Min" => "Min",
        "Sum" | "Mean" => "Add",
        _ => return None,
    };
    let is_pair = node.op_type == join && node.input.len() == 2;
    let whole = node.input.iter().all(|input| !input.is_empty());
    (whole && !is_pair && node.attribute.is_empty()).then_some(join)
}

pub(super) fn is(node: &NodeProto) -> bool {
    pairwise(node).is_some()
}

pub(super) fn expand(rewrite: &mut Rewrite, node: NodeProto) {
    let Some(join) = pairwise(&node) else { return };
    let label = node.label();
    let count = node.input.len();
    let mut operands = node.input.into_iter();
    let Some(mut joined) = operands.next() else {
        return;
    };
    let mut rest: Vec<String> = operands.collect();
    let last = match (rest.pop(), node.op_type.as_str()) {
        (None, _) => return rewrite.end("Identity", label, vec![joined], node.output),
        (Some(last), "Mean") => {
            rest.push(last);
            None
        }
        (last, _) => last,
    };
    for (i, operand) in rest.into_iter().enumerate() {
        joined = rewrite.push(join, format!("{label}_{}", i + 1), vec![joined, operand]);
    }
    match last {
        Some(last) => rewrite.end(join, label, vec![joined, last], node.output),
        None => {
            let share = rewrite.float(format!("{label}_share"), 1.0 / count as f32);
            rewrite.end("Mul", label, vec![joined, share], node.output);
        }
    }
}
