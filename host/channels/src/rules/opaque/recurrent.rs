//! Recurrent layers: [LSTM](https://onnx.ai/onnx/operators/onnx__LSTM.html),
//! [GRU](https://onnx.ai/onnx/operators/onnx__GRU.html) and
//! [RNN](https://onnx.ai/onnx/operators/onnx__RNN.html).
//!
//! A state has rows of every gate in the weights, and both directions keep the same states. A
//! state whose weights are zero stays zero, from a first state of zero on.

use onnx_graph::ops::Opaque;
use onnx_graph::{Attribute, AttributeValue, Node, Tensor, ValueId};

use crate::atoms::{Atoms, Context, Edit};

const COMPUTED: &str = "a recurrent layer whose weights are computed";

/// Ties the axes of the weights to the channels that are read and to the states.
pub(super) fn rule(cx: &mut Context<'_>, node: &Node, op: &Opaque) -> Result<(), &'static str> {
    let gates = match op.op_type.as_str() {
        "LSTM" => 4,
        "GRU" => 3,
        _ => 1,
    };
    let made = node.outputs.iter().flatten().next();
    let id = made.and_then(|made| cx.ends.producers[made.index()]);
    let weight = |i: usize| match cx.graph.constant_input(node, i).map(Tensor::dims) {
        Some(&[_, rows, columns]) => Some((node.input(i)?, rows, columns)),
        _ => None,
    };
    let (Some(id), Some((own, rows, inputs)), Some((recurrent, _, hidden))) =
        (id, weight(1), weight(2))
    else {
        return Err(COMPUTED);
    };
    if rows != gates * hidden {
        return Err("a recurrent layer whose weights do not fit its gates");
    }
    let states = cx.produce(id, hidden);
    for (i, output) in node.outputs.iter().enumerate() {
        let axis = if i == 0 { 3 } else { 2 };
        if let Some(output) = output {
            cx.set(*output, axis, states.clone());
        }
    }
    if let Some(map) = cx.map(node, 0) {
        if map.axis == 2 && map.atoms.len() == inputs {
            cx.bind(own, 2, &map.atoms);
        } else {
            let reason = "channels on an axis that a recurrent layer steps along";
            cx.pin(&map.atoms, &node.name, reason);
        }
    }
    if let Some(map) = cx.map(node, 4) {
        cx.pin(&map.atoms, &node.name, "channels that are read as lengths");
    }
    let of_gates = cx.list(states.repeat(gates));
    cx.bind(own, 1, &of_gates);
    cx.bind(recurrent, 1, &of_gates);
    cx.bind(recurrent, 2, &states);
    let others = [
        (3, 1, cx.list(states.repeat(2 * gates))),
        (5, 2, states.clone()),
        (6, 2, states.clone()),
        (7, 1, cx.list(states.repeat(3))),
    ];
    for (i, axis, atoms) in others {
        let Some(value) = node.input(i) else { continue };
        if !follows(cx, node, (i, value), axis, &atoms) {
            let reason = "a recurrent layer whose first states or biases are not followed";
            cx.pin(&states, &node.name, reason);
        }
    }
    if !rests_at_zero(op) {
        let reason = "a recurrent layer whose activations make something of zero";
        cx.pin(&states, &node.name, reason);
    }
    let (name, counted) = ("hidden_size", states);
    cx.edits.push((id, Edit::Attribute { name, counted }));
    Ok(())
}

/// Ties an axis of input `i`, if that is possible.
fn follows(
    cx: &mut Context<'_>,
    node: &Node,
    (i, value): (usize, ValueId),
    axis: usize,
    atoms: &Atoms,
) -> bool {
    match cx.map(node, i) {
        Some(map) => {
            let same = map.axis == axis && map.atoms.len() == atoms.len();
            if same {
                cx.unite(atoms, &map.atoms);
            } else {
                let reason = "channels that are read as states on another axis";
                cx.pin(&map.atoms, &node.name, reason);
            }
            same
        }
        None => cx.adopt(value, axis, atoms),
    }
}

/// Whether a state of zero without weights stays zero.
fn rests_at_zero(op: &Opaque) -> bool {
    let usual: &[&[&str]] = match op.op_type.as_str() {
        "LSTM" => &[&["sigmoid"], &["tanh"], &["tanh"]],
        "GRU" => &[&["sigmoid"], &["tanh"]],
        _ => &[&["tanh", "relu"]],
    };
    let stated = |a: &&Attribute| a.name == "activations";
    let Some(stated) = op.attributes.iter().find(stated) else {
        return true;
    };
    let AttributeValue::Texts(names) = &stated.value else {
        return false;
    };
    names.iter().enumerate().all(|(i, name)| {
        let name = String::from_utf8_lossy(name).to_lowercase();
        usual[i % usual.len()].contains(&name.as_str())
    })
}
