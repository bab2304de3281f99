//! [Slice](https://onnx.ai/onnx/operators/onnx__Slice.html): a range of channels takes a part of
//! the atoms, every n-th ties n neighbours to each other, and other axes do not matter.

use std::ops::Range;

use onnx_graph::ops::Slice;
use onnx_graph::{Node, NodeId};

use crate::atoms::{Atoms, Context, Edit};

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
    let size = map.atoms.len();
    let Some((start, step, count)) = op.taken(position, size) else {
        return cx.pin_inputs(node, "a slice of the channels out of their range");
    };
    let taken = match (usize::try_from(start), usize::try_from(step)) {
        (Ok(start), Ok(step)) if count > 0 => strided(cx, &map.atoms, (start, step, count)),
        _ if step == -1 && count == size => {
            let reversed: Vec<u32> = map.atoms.iter().rev().copied().collect();
            let reversed = cx.list(reversed);
            return cx.set(node.output(), map.axis, reversed);
        }
        _ => None,
    };
    let Some(range) = taken else {
        return cx.pin_inputs(node, "a slice of the channels that is empty or irregular");
    };
    if step == 1 && count == size {
        return cx.set(node.output(), map.axis, map.atoms);
    }
    let (start, step) = (start as usize, step as usize);
    let part = (0..count).map(|i| map.atoms[start + i * step]);
    let part = cx.list(part.collect::<Vec<u32>>());
    cx.set(node.output(), map.axis, part);
    cx.edits.push((
        id,
        Edit::Slice {
            position,
            input: map.atoms,
            range,
            offset: start % step,
        },
    ));
}

/// The range of whole steps that a slice takes `(start, step, count)` channels from: the channels
/// of a step are kept or dropped together, so that what is left has the same step. `None` if the
/// channels are no whole number of steps.
fn strided(
    cx: &mut Context<'_>,
    atoms: &Atoms,
    (start, step, count): (usize, usize, usize),
) -> Option<Range<usize>> {
    let first = start - start % step;
    let range = first..count.checked_mul(step)?.checked_add(first)?;
    if !atoms.len().is_multiple_of(step) || range.end > atoms.len() {
        return None;
    }
    if step > 1 {
        for together in atoms.chunks(step) {
            for &atom in &together[1..] {
                cx.unite(&together[..1], &[atom]);
            }
        }
    }
    Some(range)
}
