//! What quantisation makes of each operator.

use super::Scheme;
use crate::DType;
use crate::graph::{Graph, Node};
use crate::ops::{Op, ResizeMode};
use crate::value::ValueId;

/// The part of an operator in a quantised network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A layer whose weights become integers: Conv, Gemm and MatMul with constant weights.
    Layer,
    /// An operator whose output has a range of its own.
    Function,
    /// An operator whose output holds values of its input, in integers of the same scale.
    Move,
}

/// Returns the part of a node in a network that is quantised by `scheme`; `None` for a node that
/// stays in floats in any case.
#[must_use]
pub fn role(graph: &Graph, node: &Node, scheme: &Scheme) -> Option<Role> {
    let is_float = |id: ValueId| graph.value(id).dtype == Some(DType::F32);
    let is_constant = |i: usize| graph.constant_input(node, i).is_some();
    let one_output = node.outputs.iter().skip(1).all(Option::is_none);
    let x = node.input(0)?;
    if graph.constant(x).is_some() || !is_float(x) || !is_float(node.output()) || !one_output {
        return None;
    }
    // A bias that is computed, or of another form, cannot become integers.
    let bias = |i: usize| {
        let vector = |t: &crate::Tensor| t.dims().len() == 1 && t.as_f32().is_some();
        node.input(i).is_none() || graph.constant_input(node, i).is_some_and(vector)
    };
    let rank = |i: usize| graph.value(node.input(i)?).shape.as_ref().map(Vec::len);
    let matrix = |i: usize| {
        let tensor = graph.constant_input(node, i);
        tensor.is_some_and(|t| t.dims().len() == 2 && t.as_f32().is_some())
    };
    let found = match &node.op {
        Op::Conv(_) => {
            let kernel = graph.constant_input(node, 1)?;
            let fits = (3..=5).contains(&kernel.dims().len()) && kernel.as_f32().is_some();
            (fits && bias(2)).then_some(Role::Layer)
        }
        Op::Gemm(op) => {
            let plain = op.alpha == 1.0 && op.beta == 1.0 && !op.trans_a;
            (plain && matrix(1) && bias(2)).then_some(Role::Layer)
        }
        Op::MatMul(_) => matrix(1).then_some(Role::Layer),
        Op::Add(_) | Op::Mul(_) => {
            let other = node.input(1)?;
            (!is_constant(1) && is_float(other)).then_some(Role::Function)
        }
        Op::Concat(_) => {
            let all = (0..node.inputs.len()).all(|i| !is_constant(i));
            all.then_some(Role::Function)
        }
        Op::Relu(_) | Op::LeakyRelu(_) | Op::Sigmoid(_) | Op::Clip(_) => Some(Role::Function),
        Op::AveragePool(_) | Op::GlobalAveragePool(_) if rank(0) == Some(4) => Some(Role::Function),
        Op::MaxPool(_) if rank(0) == Some(4) => Some(Role::Move),
        Op::Reshape(_)
        | Op::Flatten(_)
        | Op::Transpose(_)
        | Op::Squeeze(_)
        | Op::Unsqueeze(_)
        | Op::Slice(_) => Some(Role::Move),
        Op::Pad(op) if op.value == 0.0 => Some(Role::Move),
        Op::Resize(op) if matches!(op.mode, ResizeMode::Nearest(_)) => Some(Role::Move),
        _ => None,
    };
    found.filter(|role| *role == Role::Layer || !scheme.layers_only)
}
