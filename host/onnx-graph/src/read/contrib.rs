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
        ("com.microsoft", "Gelu" | "QuickGelu") => 1..=1,
        ("com.microsoft", "BiasGelu") => 2..=2,
        // The second one is a bias.
        ("com.microsoft", "FastGelu") => 1..=2,
        _ => return false,
    };
    one && inputs.contains(&given(node)) && !node.input[0].is_empty()
}

/// The number of inputs; an empty name at the end is none.
fn given(node: &NodeProto) -> usize {
    let last = node.input.iter().rposition(|input| !input.is_empty());
    last.map_or(0, |last| last + 1)
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
    if given(&node) == 2 {
        let operands = node.input[..2].to_vec();
        x = rewrite.push("Add", format!("{label}_sum"), operands);
    }
    if node.op_type == "FastGelu" {
        return fast_gelu(rewrite, &label, x, node.output);
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

/// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`, in the form that the runtime fuses again.
fn fast_gelu(rewrite: &mut Rewrite, label: &str, x: String, output: Vec<String>) {
    let mut float = |name: &str, value| rewrite.float(format!("{label}_{name}"), value);
    let cubic = float("cubic", 0.044_715);
    let root = float("root", 0.797_884_6);
    let one = float("one", 1.0);
    let half = float("half", 0.5);
    let mut push = |op: &str, name: &str, a: &String, b: Option<&String>| {
        let inputs = std::iter::once(a).chain(b).cloned().collect();
        rewrite.push(op, format!("{label}_{name}"), inputs)
    };
    let scaled = push("Mul", "scaled", &x, Some(&cubic));
    let square = push("Mul", "square", &scaled, Some(&x));
    let sum = push("Add", "sum_of_powers", &square, Some(&one));
    let rooted = push("Mul", "rooted", &x, Some(&root));
    let argument = push("Mul", "argument", &rooted, Some(&sum));
    let tanh = push("Tanh", "tanh", &argument, None);
    let plus = push("Add", "plus", &tanh, Some(&one));
    let halved = push("Mul", "halved", &x, Some(&half));
    rewrite.end("Mul", label.to_owned(), vec![halved, plus], output);
}
