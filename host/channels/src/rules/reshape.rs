//! [Reshape](https://onnx.ai/onnx/operators/onnx__Reshape.html) that keeps the channels together: they stay on an
//! axis of their own, or each is repeated for the positions it swallows.

use onnx_graph::ops::Reshape;
use onnx_graph::{Dim, Node, NodeId, Shape};

use super::channel_shuffle;
use crate::atoms::{Context, Edit};

pub(super) fn rule(cx: &mut Context<'_>, id: NodeId, node: &Node, op: &Reshape) {
    let Some(map) = cx.map(node, 0) else { return };
    let from = node
        .input(0)
        .and_then(|v| cx.graph.value(v).shape.clone())
        .unwrap_or_default();
    let to = cx
        .graph
        .value(node.output())
        .shape
        .clone()
        .unwrap_or_default();
    let Some((axis, repeat)) = landing(&from, map.axis, &to) else {
        if channel_shuffle::rule(cx, id, node, op, &map) {
            return;
        }
        return cx.pin_inputs(node, "a reshape that splits or mixes the channels");
    };
    let atoms = if repeat == 1 {
        map.atoms
    } else {
        map.atoms
            .iter()
            .flat_map(|&a| std::iter::repeat_n(a, repeat))
            .collect()
    };
    match op.target.get(axis) {
        // A zero copies the input's dimension, which is the same axis only where nothing before it moved.
        // A minus one infers whatever the channels become; elsewhere it infers what does not depend on them.
        Some(-1) => {}
        Some(0) if axis == map.axis && repeat == 1 && !op.allow_zero => {}
        Some(&n) if n > 0 => {
            cx.edits.insert(
                id,
                Edit::Reshape {
                    position: axis,
                    output: atoms.clone(),
                },
            );
        }
        _ => return cx.pin_inputs(node, "a reshape whose target does not name the channels"),
    }
    cx.set(node.output(), axis, atoms);
}

/// The output axis the channels land on, and how often each is repeated there.
fn landing(from: &Shape, axis: usize, to: &Shape) -> Option<(usize, usize)> {
    let channels = from.get(axis)?.known()?;
    let after: usize = from[axis + 1..]
        .iter()
        .map(Dim::known)
        .product::<Option<usize>>()?;
    let before = volume(&from[..axis]);
    for (i, dim) in to.iter().enumerate() {
        if volume(&to[..i]) != before {
            continue;
        }
        let size = dim.known()?;
        let rest: usize = to[i + 1..]
            .iter()
            .map(Dim::known)
            .product::<Option<usize>>()?;
        if size % channels == 0 && size * rest == channels * after && size >= channels {
            return Some((i, size / channels));
        }
    }
    None
}

/// Product of the known dimensions, and the symbols beside them.
fn volume(dims: &[Dim]) -> (usize, Vec<&str>) {
    let known = dims.iter().filter_map(Dim::known).product();
    let symbols = dims.iter().filter_map(|d| {
        if let Dim::Symbol(s) = d {
            Some(s.as_str())
        } else {
            None
        }
    });
    (known, symbols.collect())
}
