//! Operators that act along some axes, such as
//! [TopK](https://onnx.ai/onnx/operators/onnx__TopK.html): the channels of other axes pass.

use onnx_graph::Node;
use onnx_graph::ops::Opaque;

use crate::atoms::{Context, Map};
use crate::rules::neighbours::at_full_width;
use crate::rules::reduce::remaining;

/// Why an operator along the channels pins them.
const OVER: &str = "an operator over the channels whose result depends on all of them";

/// The channels of the first input, and the rank of it.
fn channels(cx: &Context<'_>, node: &Node) -> Result<Option<(Map, usize)>, &'static str> {
    let Some(map) = cx.map(node, 0) else {
        return Ok(None);
    };
    let rank = cx.input_rank(node).ok_or("a value of unknown rank")?;
    Ok(Some((map, rank)))
}

/// Passes the channels on to all outputs, unless the operator acts along their axis.
fn pass(cx: &mut Context<'_>, node: &Node, axis: Option<i64>) -> Result<(), &'static str> {
    let Some((map, rank)) = channels(cx, node)? else {
        return Ok(());
    };
    match axis.and_then(|axis| Context::axis(axis, rank)) {
        Some(axis) if axis != map.axis => pass_all(cx, node, &map),
        _ => return Err(OVER),
    }
    Ok(())
}

fn pass_all(cx: &mut Context<'_>, node: &Node, map: &Map) {
    for &output in node.outputs.iter().flatten() {
        cx.set(output, map.axis, map.atoms.clone());
    }
}

/// The single number of a constant input.
fn number(cx: &Context<'_>, node: &Node, i: usize) -> Option<i64> {
    match cx.graph.constant_input(node, i)?.to_i64s()?[..] {
        [number] => Some(number),
        _ => None,
    }
}

/// The last axis, or that of the attribute.
pub(super) fn last(cx: &mut Context<'_>, node: &Node, op: &Opaque) -> Result<(), &'static str> {
    pass(cx, node, Some(op.int("axis", -1)))
}

/// One axis of an attribute, 1 before the operator set 13 and the last since.
pub(super) fn hardmax(cx: &mut Context<'_>, node: &Node, op: &Opaque) -> Result<(), &'static str> {
    if cx.graph.opset >= 13 {
        return last(cx, node, op);
    }
    softmax(cx, node, op)
}

/// All axes from that of the attribute on, as before the operator set 13.
pub(super) fn softmax(cx: &mut Context<'_>, node: &Node, op: &Opaque) -> Result<(), &'static str> {
    let Some((map, rank)) = channels(cx, node)? else {
        return Ok(());
    };
    match Context::axis(op.int("axis", 1), rank) {
        Some(first) if first > map.axis => pass_all(cx, node, &map),
        _ => return Err(OVER),
    }
    Ok(())
}

/// The axis of a constant input, along which sums run. Channels of zeros add nothing.
pub(super) fn running_sum(
    cx: &mut Context<'_>,
    node: &Node,
    _: &Opaque,
) -> Result<(), &'static str> {
    if let Some((map, _)) = channels(cx, node)? {
        number(cx, node, 1).ok_or("a sum along a computed axis")?;
        pass_all(cx, node, &map);
    }
    Ok(())
}

/// The axis of a constant input.
pub(super) fn running(cx: &mut Context<'_>, node: &Node, _: &Opaque) -> Result<(), &'static str> {
    let axis = number(cx, node, 1);
    pass(cx, node, axis)
}

/// The position of an extremum.
pub(super) fn arg(cx: &mut Context<'_>, node: &Node, op: &Opaque) -> Result<(), &'static str> {
    let Some((map, rank)) = channels(cx, node)? else {
        return Ok(());
    };
    match Context::axis(op.int("axis", 0), rank) {
        Some(axis) if axis != map.axis => {
            let kept = op.int("keepdims", 1) != 0;
            cx.set(node.output(), remaining(&[axis], kept, map.axis), map.atoms);
            Ok(())
        }
        _ => Err(OVER),
    }
}

/// Two axes: those of the sequences and of the batch.
pub(super) fn reverse_sequence(
    cx: &mut Context<'_>,
    node: &Node,
    op: &Opaque,
) -> Result<(), &'static str> {
    let batch = op.int("batch_axis", 1);
    if cx.map(node, 0).is_some_and(|map| map.axis as i64 == batch) {
        return Err(OVER);
    }
    pass(cx, node, Some(op.int("time_axis", 0)))
}

/// Axes of an attribute, or else all but the second.
pub(super) fn mean_variance(
    cx: &mut Context<'_>,
    node: &Node,
    op: &Opaque,
) -> Result<(), &'static str> {
    let Some((map, rank)) = channels(cx, node)? else {
        return Ok(());
    };
    let axes = op.ints("axes").unwrap_or_else(|| vec![0, 2, 3]);
    let over = |&a: &i64| Context::axis(a, rank) == Some(map.axis);
    if axes.iter().any(over) {
        return Err(OVER);
    }
    pass_all(cx, node, &map);
    Ok(())
}

/// The last two axes.
pub(super) fn matrices(cx: &mut Context<'_>, node: &Node, _: &Opaque) -> Result<(), &'static str> {
    let Some((map, rank)) = channels(cx, node)? else {
        return Ok(());
    };
    if map.axis + 2 >= rank {
        return Err("the channels lie on an axis of the matrices");
    }
    pass_all(cx, node, &map);
    Ok(())
}

/// A norm along any axis: channels of zeros add nothing to it, and stay zero.
pub(super) fn norm(cx: &mut Context<'_>, node: &Node, _: &Opaque) -> Result<(), &'static str> {
    if let Some((map, _)) = channels(cx, node)? {
        pass_all(cx, node, &map);
    }
    Ok(())
}

/// Windows over the second axis, at which channels read their neighbours.
pub(super) fn neighbours(
    cx: &mut Context<'_>,
    node: &Node,
    _: &Opaque,
) -> Result<(), &'static str> {
    let Some((map, _)) = channels(cx, node)? else {
        return Ok(());
    };
    match cx.ends.producers[node.output().index()] {
        Some(id) if map.axis == 1 => at_full_width(cx, id, node, map),
        _ => {
            pass_all(cx, node, &map);
            Ok(())
        }
    }
}

/// A reduction whose result channels of zeros do not change.
pub(super) fn sum(cx: &mut Context<'_>, node: &Node, op: &Opaque) -> Result<(), &'static str> {
    reduce(cx, node, op, true)
}

/// A reduction whose result channels of zeros may change.
pub(super) fn reduction(
    cx: &mut Context<'_>,
    node: &Node,
    op: &Opaque,
) -> Result<(), &'static str> {
    reduce(cx, node, op, false)
}

fn reduce(
    cx: &mut Context<'_>,
    node: &Node,
    op: &Opaque,
    drops_zeros: bool,
) -> Result<(), &'static str> {
    let Some((map, rank)) = channels(cx, node)? else {
        return Ok(());
    };
    let axes = match (op.ints("axes"), node.input(1)) {
        (Some(axes), _) => axes,
        (None, None) => Vec::new(),
        (None, Some(_)) => {
            let list = cx.graph.constant_input(node, 1);
            list.and_then(|t| t.to_i64s())
                .ok_or("a reduction over computed axes")?
        }
    };
    let axes: Option<Vec<usize>> = match axes[..] {
        [] if op.int("noop_with_empty_axes", 0) != 0 => Some(Vec::new()),
        [] => Some((0..rank).collect()),
        _ => axes.iter().map(|&a| Context::axis(a, rank)).collect(),
    };
    let axes = axes.ok_or("a reduction over axes that are out of range")?;
    if !axes.contains(&map.axis) {
        let kept = op.int("keepdims", 1) != 0;
        let axis = remaining(&axes, kept, map.axis);
        cx.set(node.output(), axis, map.atoms);
    } else if !drops_zeros {
        return Err(OVER);
    }
    Ok(())
}
