//! [ONNX Runtime's own][contributed] activations are read as operators of ONNX. The runtime fuses
//! these again.
//!
//! [contributed]: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md

use std::f32::consts::SQRT_2;

use super::rewrite::Rewrite;
use crate::proto::{NodeProto, plain};

pub(super) fn is(node: &NodeProto) -> bool {
    let one = node.output.len() == 1 && !node.output[0].is_empty();
    let inputs = match (plain(&node.domain), node.op_type.as_str()) {
        ("com.microsoft", "Gelu" | "QuickGelu") => 1,
        ("com.microsoft", "BiasGelu") => 2,
        _ => return false,
    };
    one && node.input.len() == inputs && node.input.iter().all(|input| !input.is_empty())
}

pub(super) fn expand(rewrite: &mut Rewrite, node: NodeProto) {
    let label = node.label();
    let mut x = node.input[0].clone();
    if node.op_type == "QuickGelu" {
        let alpha = node.attribute.iter().find(|a| a.name == "alpha");
        let alpha = alpha.and_then(|a| a.f).unwrap_or(1.702);
        let alpha = rewrite.float(format!("{label}_alpha"), alpha);
        let scaled = rewrite.push("Mul", format!("{label}_scaled"), vec![x.clone(), alpha]);
        let gate = rewrite.push("Sigmoid", format!("{label}_gate"), vec![scaled]);
        return rewrite.end("Mul", label, vec![x, gate], node.output);
    }
    if node.op_type == "BiasGelu" {
        x = rewrite.push("Add", format!("{label}_sum"), node.input.clone());
    }
    let root = rewrite.float(format!("{label}_root"), SQRT_2);
    let one = rewrite.float(format!("{label}_one"), 1.0);
    let half = rewrite.float(format!("{label}_half"), 0.5);
    let scaled = rewrite.push("Div", format!("{label}_scaled"), vec![x.clone(), root]);
    let erf = rewrite.push("Erf", format!("{label}_erf"), vec![scaled]);
    let sum = rewrite.push("Add", format!("{label}_plus"), vec![erf, one]);
    let product = rewrite.push("Mul", format!("{label}_product"), vec![x, sum]);
    rewrite.end("Mul", label, vec![product, half], node.output);
}
