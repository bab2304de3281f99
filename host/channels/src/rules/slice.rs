//! [Slice](https://onnx.ai/onnx/operators/onnx__Slice.html): a contiguous range of channels takes
//! a part of the atoms, a strided range pins them, and other axes do not matter.

use onnx_graph::ops::Slice;
use onnx_graph::{Node, NodeId};

use crate::atoms::{Context, Edit};

pub(super) fn rule(cx: &mut Context<'_>, id: NodeId, node: &Node, op: &Slice) {
    let Some(map) = cx.map(node, 0) else { return };
    let Some(rank) = cx.input_rank(node) else {
        return cx.pin_inputs(node, "a slice of unknown rank");
    };
    let axis_at = |i: usize| {
        if op.axes.is_empty() {
            Some(i)
        } else {
            Context::axis(op.axes[i], rank)
        }
    };
    let Some(position) = (0..op.starts.len()).find(|&i| axis_at(i) == Some(map.axis)) else {
        return cx.set(node.output(), map.axis, map.atoms);
    };
    if op.steps.get(position).copied().unwrap_or(1) != 1 {
        return cx.pin_inputs(node, "a strided slice of the channels");
    }
    let size = map.atoms.len() as i64;
    let clamp = |x: i64| (if x < 0 { x.saturating_add(size) } else { x }).clamp(0, size) as usize;
    let (start, end) = (clamp(op.starts[position]), clamp(op.ends[position]));
    if start >= end {
        return cx.pin_inputs(node, "an empty slice of the channels");
    }
    if end - start == map.atoms.len() {
        return cx.set(node.output(), map.axis, map.atoms);
    }
    let part = cx.list(&map.atoms[start..end]);
    cx.set(node.output(), map.axis, part);
    cx.edits.push((
        id,
        Edit::Slice {
            position,
            input: map.atoms,
            start,
            end,
        },
    ));
}
