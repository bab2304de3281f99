//! Embeddings of positions by rotation
//! ([RotaryEmbedding](https://onnx.ai/onnx/operators/onnx__RotaryEmbedding.html), and that of [ONNX
//! Runtime](https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md)).
//!
//! Each pair of elements of a head is turned by an angle of its own, the same in all heads. A pair
//! is kept or dropped as a whole and in all heads, with its column of the tables of cosines and
//! sines.

use onnx_graph::Node;
use onnx_graph::ops::Opaque;

use crate::atoms::{Atoms, Context, Edit, Map};

const AXIS: &str = "channels on an axis that an embedding of positions does not turn";
const HEADS: &str = "an embedding of positions whose heads have an unknown width";
const PARTIAL: &str = "an embedding of positions that turns a part of each head";
const TABLES: &str = "an embedding of positions whose angles are not followed";

pub(super) fn rule(cx: &mut Context<'_>, node: &Node, op: &Opaque) -> Result<(), &'static str> {
    let of_runtime = !op.domain.is_empty();
    let (tables, positions) = if of_runtime { ([2, 3], 1) } else { ([1, 2], 3) };
    if let Some(map) = cx.map(node, positions) {
        cx.pin(
            &map.atoms,
            &node.name,
            "channels that are read as positions",
        );
    }
    let Some(Map { axis, atoms }) = cx.map(node, 0) else {
        return Ok(());
    };
    match (cx.input_rank(node), axis) {
        // Whole heads, each on its own.
        (Some(4), 1) => {}
        (Some(4), 3) => turned(cx, node, op, (&atoms, tables, atoms.len()))?,
        (Some(3), 2) => {
            let width = width(cx, node, op, (atoms.len(), tables[0])).ok_or(HEADS)?;
            turned(cx, node, op, (&atoms, tables, width))?;
        }
        _ => return Err(AXIS),
    }
    cx.set(node.output(), axis, atoms);
    Ok(())
}

/// The width of the heads that lie side by side in `all` channels.
fn width(
    cx: &Context<'_>,
    node: &Node,
    op: &Opaque,
    (all, table): (usize, usize),
) -> Option<usize> {
    let width = match usize::try_from(op.int("num_heads", 0)).ok()? {
        0 => {
            let shape = cx.graph.value(node.input(table)?).shape.as_ref()?;
            2 * shape.last()?.known()?
        }
        heads => (all % heads == 0).then_some(all / heads)?,
    };
    (width > 0 && all % width == 0).then_some(width)
}

/// Couples the elements of each pair, the pairs of all heads, and the columns of the tables.
fn turned(
    cx: &mut Context<'_>,
    node: &Node,
    op: &Opaque,
    (atoms, tables, width): (&Atoms, [usize; 2], usize),
) -> Result<(), &'static str> {
    let part = op.int("rotary_embedding_dim", 0);
    if width % 2 != 0 || part != 0 && usize::try_from(part) != Ok(width) {
        return Err(PARTIAL);
    }
    let half = width / 2;
    let pair = |i: usize| match op.int("interleaved", 0) {
        0 => [i, i + half],
        _ => [2 * i, 2 * i + 1],
    };
    let columns: Vec<u32> = (0..half).map(|i| atoms[pair(i)[0]]).collect();
    let columns = cx.list(columns);
    let last = |cx: &Context<'_>, i: usize| {
        let value = node.input(i)?;
        Some((value, cx.rank(value)?.checked_sub(1)?))
    };
    let [Some(cosines), Some(sines)] = tables.map(|i| last(cx, i)) else {
        return Err(TABLES);
    };
    if ![cosines, sines]
        .iter()
        .all(|&(value, axis)| cx.adopts(value, axis, &columns))
    {
        return Err(TABLES);
    }
    for head in atoms.chunks(width) {
        for i in 0..half {
            let [one, other] = pair(i).map(|at| head[at]);
            cx.unite(&[columns[i], one], &[one, other]);
        }
    }
    // The first has a map by now if the second is made of the same.
    for (value, axis) in [cosines, sines] {
        if !cx.adopt(value, axis, &columns) {
            cx.pin(&columns, &node.name, TABLES);
        }
    }
    if let Some(id) = cx.ends.producers[node.output().index()] {
        let counted = cx.list(&atoms[..width]);
        let name = "rotary_embedding_dim";
        if part != 0 {
            cx.edits.push((id, Edit::Attribute { name, counted }));
        }
    }
    Ok(())
}
