//! Lists of sizes that a graph assembles at run time from
//! [Shape](https://onnx.ai/onnx/operators/onnx__Shape.html). A number of channels in a list counts
//! those that are left. It is followed to the node that gives its output this size; any other
//! reader pins the channels.

use onnx_graph::ops::{Op, Opaque, Slice};
use onnx_graph::{Node, NodeId, Tensor};

use super::spatial;
use crate::atoms::{Atoms, Context, Count, Edit, Map};

/// Why a number of channels pins them.
pub(super) const READ: &str = "the number of channels is read at run time";
const GIVEN: &str = "the channels are given another size at run time";

/// Records which entries of a node's output count channels. Readers that are not followed pin
/// them.
pub(super) fn follow(cx: &mut Context<'_>, node: &Node) {
    let counts = |v: &onnx_graph::ValueId| cx.counts.contains_key(v);
    if !node.inputs.iter().flatten().any(counts) {
        return;
    }
    match passed(cx, node) {
        Some(counts) => cx.count(node.output(), counts),
        None => {
            let sizes = sizes_input(node);
            for i in (0..node.inputs.len()).filter(|&i| sizes != Some(i)) {
                for Count { atoms, .. } in cx.counts(node, i) {
                    cx.pin(&atoms, &node.name, READ);
                }
            }
        }
    }
}

/// The input with the sizes of the output, of nodes whose rule is [`resized`], that of an
/// [Expand](super::expand), or that of a [computed Reshape](super::computed_reshape).
fn sizes_input(node: &Node) -> Option<usize> {
    match &node.op {
        Op::Expand(_) => node.input(1).map(|_| 1),
        Op::Opaque(op) if matches!(op.op_type.as_str(), "Expand" | "Reshape" | "Resize") => {
            op.sizes_input()
        }
        _ => None,
    }
}

/// The entries that a node passes on to its output; `None` if it computes with them.
fn passed(cx: &Context<'_>, node: &Node) -> Option<Vec<Count>> {
    let length = |i: usize| match cx.graph.value(node.input(i)?).shape.as_deref()? {
        [size] => size.known(),
        _ => None,
    };
    let first = || cx.counts(node, 0);
    let picked = |indices: Vec<Option<usize>>| {
        let entries = indices.into_iter().enumerate().flat_map(|(to, from)| {
            let same = first().into_iter().filter(move |c| Some(c.at) == from);
            same.map(move |c| Count { at: to, ..c })
        });
        entries.collect()
    };
    match &node.op {
        Op::Identity(_) | Op::Squeeze(_) | Op::Unsqueeze(_) => Some(first()),
        Op::Gather(op) => {
            let size = length(0)?;
            let index = |&i: &i64| Context::axis(i, size);
            Some(picked(op.indices.iter().map(index).collect()))
        }
        Op::Slice(op) => Some(picked(range(op, length(0)?)?.map(Some).collect())),
        Op::Concat(_) => {
            let mut entries = Vec::new();
            let mut start = 0;
            for i in 0..node.inputs.len() {
                let counts = cx.counts(node, i).into_iter();
                entries.extend(counts.map(|c| Count {
                    at: c.at + start,
                    ..c
                }));
                start += length(i)?;
            }
            Some(entries)
        }
        _ => None,
    }
}

/// The entries that a slice takes from a list.
fn range(op: &Slice, size: usize) -> Option<std::ops::Range<usize>> {
    let (&[start], &[end]) = (op.starts.as_slice(), op.ends.as_slice()) else {
        return None;
    };
    if !matches!(op.steps[..], [] | [1]) {
        return None;
    }
    let signed = i64::try_from(size).ok()?;
    let clamp = |v: i64| if v < 0 { v.saturating_add(signed) } else { v }.clamp(0, signed) as usize;
    Some(clamp(start)..clamp(end).max(clamp(start)))
}

/// Pins the numbers of channels in the list of sizes, input `list` of a node.
pub(super) fn unfollowed(cx: &mut Context<'_>, node: &Node, list: usize) {
    for count in cx.counts(node, list) {
        cx.pin(&count.atoms, &node.name, READ);
    }
}

/// Whether the list of sizes of a node, its input `list`, has the number of the channels `atoms`
/// at entry `at`, or leaves it open: the entry then follows them. Other numbers of channels in
/// the list pin theirs.
pub(super) fn states(
    cx: &mut Context<'_>,
    (id, node, list): (NodeId, &Node, usize),
    at: Option<usize>,
    atoms: &Atoms,
) -> bool {
    let (own, others): (Vec<_>, Vec<_>) = cx
        .counts(node, list)
        .into_iter()
        .partition(|count| Some(count.at) == at);
    for count in others {
        cx.pin(&count.atoms, &node.name, READ);
    }
    let Some(at) = at else { return true };
    match own.first() {
        Some(count) if count.atoms.len() == atoms.len() => {
            cx.unite(atoms, &count.atoms);
            true
        }
        Some(count) => {
            cx.pin(&count.atoms, &node.name, READ);
            false
        }
        None => number(cx, (id, node, list), at, atoms),
    }
}

/// Whether the list has the number of channels as a constant part of its own, which then follows
/// them, infers it, or broadcasts to it.
fn number(
    cx: &mut Context<'_>,
    (id, node, list): (NodeId, &Node, usize),
    at: usize,
    atoms: &Atoms,
) -> bool {
    let Some((part, alone)) = cx.part(node, list, at) else {
        return false;
    };
    let reshapes = node.op.name() == "Reshape";
    let number = cx.graph.constant(part).and_then(|t| t.to_i64s());
    match number.as_deref() {
        Some([-1]) if reshapes => true,
        Some([1]) if node.op.name() == "Expand" => true,
        Some(&[n]) if alone && usize::try_from(n) == Ok(atoms.len()) => {
            let output = atoms.clone();
            cx.edits.push((id, Edit::Number { part, output }));
            true
        }
        _ => false,
    }
}

/// A Resize or an Expand to sizes that are computed: the channels pass through if their number is
/// that of the input. Returns false, without effect, for other nodes.
pub(super) fn resized(cx: &mut Context<'_>, id: NodeId, node: &Node, op: &Opaque) -> bool {
    let Some(sizes) = sizes_input(node).filter(|_| op.op_type != "Reshape") else {
        return false;
    };
    if scales(cx, node, op) {
        spatial::rule(cx, node);
        return true;
    }
    let landed = cx.map(node, 0).and_then(|map| landed(cx, node, op, &map));
    let Some((axis, map)) = landed else {
        unfollowed(cx, node, sizes);
        cx.pin_inputs(node, GIVEN);
        return true;
    };
    if states(cx, (id, node, sizes), Some(axis), &map.atoms) {
        cx.set(node.output(), axis, map.atoms);
    } else {
        cx.pin_inputs(node, GIVEN);
    }
    true
}

/// Whether a Resize has constant factors, and that of the second axis is one.
fn scales(cx: &Context<'_>, node: &Node, op: &Opaque) -> bool {
    let factors = cx.graph.constant_input(node, 2).and_then(Tensor::as_f32);
    op.op_type == "Resize"
        && node.input(3).is_none()
        && op.text("coordinate_transformation_mode") != Some("tf_crop_and_resize")
        && factors.is_some_and(|factors| factors.get(1) == Some(&1.0))
}

/// The axis of the output that continues the channels, and the channels.
fn landed(cx: &Context<'_>, node: &Node, op: &Opaque, map: &Map) -> Option<(usize, Map)> {
    // This mapping takes positions from a region that is stated for the channels as well.
    let crops = op.text("coordinate_transformation_mode") == Some("tf_crop_and_resize");
    let (from, to) = (cx.input_rank(node)?, cx.rank(node.output())?);
    let axis = (map.axis + to).checked_sub(from).filter(|_| !crops)?;
    Some((axis, map.clone()))
}
