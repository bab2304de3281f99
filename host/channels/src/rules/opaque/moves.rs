//! Operators that move elements, such as
//! [Tile](https://onnx.ai/onnx/operators/onnx__Tile.html) and
//! [GatherElements](https://onnx.ai/onnx/operators/onnx__GatherElements.html).

use onnx_graph::ops::Opaque;
use onnx_graph::{DType, Dim, Node, Tensor};

use crate::atoms::{Context, Map};

/// The constant list of input `i`.
fn list(cx: &Context<'_>, node: &Node, i: usize) -> Option<Vec<i64>> {
    cx.graph.constant_input(node, i)?.to_i64s()
}

/// Channels that are repeated in turn.
pub(super) fn tile(cx: &mut Context<'_>, node: &Node, _: &Opaque) -> Result<(), &'static str> {
    let Some(map) = cx.map(node, 0) else {
        return Ok(());
    };
    let times = match list(cx, node, 1) {
        Some(repeats) => repeats.get(map.axis).copied(),
        // A list that is computed may repeat the other axes: the channels keep their number.
        None => {
            let sizes = cx.graph.value(node.output()).shape.as_deref();
            let size = sizes.and_then(|s| s.get(map.axis)).and_then(Dim::known);
            (size == Some(map.atoms.len())).then_some(1)
        }
    };
    let times = times.and_then(|t| usize::try_from(t).ok());
    let atoms = match times.filter(|&t| t > 0) {
        Some(1) => map.atoms,
        Some(times) => cx.list(map.atoms.repeat(times)),
        None => return Err("channels that are repeated by a computed number"),
    };
    cx.set(node.output(), map.axis, atoms);
    Ok(())
}

/// Padding of axes other than the channels.
pub(super) fn pad(cx: &mut Context<'_>, node: &Node, op: &Opaque) -> Result<(), &'static str> {
    let (Some(map), Some(rank)) = (cx.map(node, 0), cx.input_rank(node)) else {
        return Err("a padding of unknown rank");
    };
    let stated = op.ints("pads").or_else(|| list(cx, node, 1));
    let stated = stated.map(|pads| pads.into_iter().map(Some).collect());
    let pads = stated.or_else(|| cx.graph.entries(node.input(1)?));
    let pads: Vec<Option<i64>> = pads.ok_or("a padding by computed amounts")?;
    let axes = match node.input(3) {
        None => (0..rank as i64).collect(),
        Some(_) => list(cx, node, 3).ok_or("a padding of computed axes")?,
    };
    let half = axes.len();
    let at = axes
        .iter()
        .position(|&a| Context::axis(a, rank) == Some(map.axis));
    let padded = at.map(|at| (pads.get(at), pads.get(at + half)));
    if !matches!(padded, None | Some((Some(Some(0)), Some(Some(0))))) {
        return Err("a padding of the channels other than by a constant");
    }
    cx.set(node.output(), map.axis, map.atoms);
    Ok(())
}

/// A range, with computed bounds, of axes other than the channels.
pub(super) fn slice(cx: &mut Context<'_>, node: &Node, op: &Opaque) -> Result<(), &'static str> {
    let (Some(map), Some(rank)) = (cx.map(node, 0), cx.input_rank(node)) else {
        return Err("a slice of unknown rank");
    };
    let axes = op.ints("axes").or_else(|| list(cx, node, 3));
    let axes = axes.ok_or("a slice of computed axes, or of all")?;
    if axes
        .iter()
        .any(|&a| Context::axis(a, rank) == Some(map.axis))
    {
        return Err("a slice of the channels with computed bounds");
    }
    cx.set(node.output(), map.axis, map.atoms);
    Ok(())
}

/// Parts, of computed sizes, of an axis other than the channels.
pub(super) fn split(cx: &mut Context<'_>, node: &Node, op: &Opaque) -> Result<(), &'static str> {
    let (Some(map), Some(rank)) = (cx.map(node, 0), cx.input_rank(node)) else {
        return Err("a split of unknown rank");
    };
    if Context::axis(op.int("axis", 0), rank).is_none_or(|axis| axis == map.axis) {
        return Err("a split of the channels into parts of computed sizes");
    }
    for &part in node.outputs.iter().flatten() {
        cx.set(part, map.axis, map.atoms.clone());
    }
    Ok(())
}

/// Entries of an axis other than the channels, by computed numbers.
pub(super) fn gather(cx: &mut Context<'_>, node: &Node, op: &Opaque) -> Result<(), &'static str> {
    if let Some(numbers) = cx.map(node, 1) {
        let reason = "channels that are read as numbers";
        cx.pin(&numbers.atoms, &node.name, reason);
    }
    let Some(map) = cx.map(node, 0) else {
        table(cx, node, op);
        return Ok(());
    };
    let picked = node.input(1).and_then(|v| cx.rank(v));
    let axis = cx
        .input_rank(node)
        .and_then(|r| Context::axis(op.int("axis", 0), r));
    let (Some(axis), Some(picked)) = (axis, picked) else {
        return Err("a gathering of unknown rank");
    };
    if axis == map.axis {
        return Err("channels that are picked by number");
    }
    let to = if axis < map.axis {
        map.axis + picked - 1
    } else {
        map.axis
    };
    cx.set(node.output(), to, map.atoms);
    Ok(())
}

/// Whether a table holds floats, or bytes that encode such.
fn holds_features(table: &Tensor) -> bool {
    matches!(table.dtype(), DType::I8 | DType::U8) || table.to_f32s().is_some()
}

/// A table with a row of features for each number makes channels, as a layer does: the columns.
fn table(cx: &mut Context<'_>, node: &Node, op: &Opaque) {
    let id = cx.ends.producers[node.output().index()];
    let rank = cx.rank(node.output());
    let (Some(id), Some(rank), Some(table), 0) = (id, rank, node.input(0), op.int("axis", 0))
    else {
        return;
    };
    let columns = match cx.graph.constant(table) {
        Some(constant) if holds_features(constant) => match constant.dims() {
            &[_, columns] => columns,
            _ => return,
        },
        _ => return,
    };
    let channels = cx.produce(id, columns);
    cx.bind(table, 1, &channels);
    cx.set(node.output(), rank - 1, channels);
}

/// Elements along an axis other than the channels, by numbers for each channel: those follow the
/// channels, and so do updates.
pub(super) fn elements(cx: &mut Context<'_>, node: &Node, op: &Opaque) -> Result<(), &'static str> {
    let maps: Vec<Option<Map>> = (0..node.inputs.len()).map(|i| cx.map(node, i)).collect();
    let Some(map) = maps.iter().flatten().next().cloned() else {
        return Ok(());
    };
    let axis = cx
        .input_rank(node)
        .and_then(|r| Context::axis(op.int("axis", 0), r));
    if axis.is_none_or(|axis| axis == map.axis) {
        return Err("channels that are picked by number");
    }
    for (i, other) in maps.iter().enumerate() {
        let follows = match (other, node.input(i)) {
            (Some(other), _) => {
                let same = other.axis == map.axis && other.atoms.len() == map.atoms.len();
                if same {
                    cx.unite(&map.atoms, &other.atoms);
                }
                same
            }
            (None, Some(id)) => cx.adopt(id, map.axis, &map.atoms),
            (None, None) => true,
        };
        if !follows {
            return Err("the other operand's channels are not followed");
        }
    }
    cx.set(node.output(), map.axis, map.atoms);
    Ok(())
}

/// Slices of the leading axes, before the channels, that the last axis of the numbers selects;
/// updates follow the channels.
pub(super) fn scatter_slices(
    cx: &mut Context<'_>,
    node: &Node,
    _: &Opaque,
) -> Result<(), &'static str> {
    let (Some(map), None) = (cx.map(node, 0), cx.map(node, 1)) else {
        return Err("the channels of this scattering are not followed");
    };
    let (depth, lead) = selected(cx, node).ok_or("a scattering of unknown rank")?;
    let to = (map.axis + lead)
        .checked_sub(depth)
        .filter(|_| map.axis >= depth);
    let to = to.ok_or("channels that are picked by number")?;
    match (cx.map(node, 2), node.input(2)) {
        (Some(other), _) if other.axis == to && other.atoms.len() == map.atoms.len() => {
            cx.unite(&map.atoms, &other.atoms);
        }
        (None, Some(id)) if cx.adopt(id, to, &map.atoms) => {}
        _ => return Err("the other operand's channels are not followed"),
    }
    cx.set(node.output(), map.axis, map.atoms);
    Ok(())
}

/// As [`scatter_slices`], reading the slices.
pub(super) fn gather_slices(
    cx: &mut Context<'_>,
    node: &Node,
    op: &Opaque,
) -> Result<(), &'static str> {
    let batch = usize::try_from(op.int("batch_dims", 0));
    let (Some(map), None, Ok(batch)) = (cx.map(node, 0), cx.map(node, 1), batch) else {
        return Err("the channels of this gathering are not followed");
    };
    let (depth, lead) = selected(cx, node).ok_or("a gathering of unknown rank")?;
    // The axes of the batch are among those of the numbers, too.
    let depth = depth.saturating_add(batch);
    let to = (map.axis + lead)
        .checked_sub(depth)
        .filter(|_| map.axis >= depth);
    let to = to.ok_or("channels that are picked by number")?;
    cx.set(node.output(), to, map.atoms);
    Ok(())
}

/// The number of leading axes that the numbers of input 1 select from, and of those axes that
/// replace them.
fn selected(cx: &Context<'_>, node: &Node) -> Option<(usize, usize)> {
    let shape = cx.graph.value(node.input(1)?).shape.as_deref()?;
    let (depth, lead) = shape.split_last()?;
    Some((depth.known()?, lead.len()))
}
