//! Channel shuffle (ShuffleNet, Zhang et al., CVPR 2018): a [Reshape](https://onnx.ai/onnx/operators/onnx__Reshape.html)
//! that splits the channels into rows, a [Transpose](https://onnx.ai/onnx/operators/onnx__Transpose.html) that swaps rows
//! and columns, and a Reshape back. The three are followed as one permutation; channels of one column go together, so
//! that the rows stay of equal length.

use onnx_graph::ops::{Op, Reshape};
use onnx_graph::{Dim, Node, NodeId};

use crate::atoms::{Context, Edit, Map};

/// Follows a shuffle that starts at the Reshape `id`; gives false where there is none.
pub(super) fn rule(cx: &mut Context<'_>, id: NodeId, node: &Node, op: &Reshape, map: &Map) -> bool {
    let Some(shuffle) = find(cx, node, op, map) else {
        return false;
    };
    let Shuffle {
        rows,
        columns,
        last,
    } = shuffle;
    for row in 1..rows {
        cx.unite(
            &map.atoms[..columns],
            &map.atoms[row * columns..(row + 1) * columns],
        );
    }
    let shuffled: std::sync::Arc<[u32]> = (0..rows * columns)
        .map(|i| map.atoms[(i % rows) * columns + i / rows])
        .collect();
    let mut edit = |node: NodeId, target: &[i64], position: usize, output: &[u32]| {
        if target[position] != -1 {
            let output = output.into();
            cx.edits.insert(node, Edit::Reshape { position, output });
        }
    };
    edit(id, &op.target, 2, &map.atoms[..columns]);
    let end = cx.graph.node(last);
    if let Op::Reshape(back) = &end.op {
        edit(last, &back.target, 1, &shuffled);
    }
    cx.set(end.output(), 1, shuffled);
    true
}

struct Shuffle {
    rows: usize,
    columns: usize,
    /// The Reshape back.
    last: NodeId,
}

fn find(cx: &Context<'_>, node: &Node, op: &Reshape, map: &Map) -> Option<Shuffle> {
    let shape = |node: &Node| cx.graph.value(node.output()).shape.as_deref();
    let from = cx.graph.value(node.input(0)?).shape.as_deref()?;
    let split = shape(node)?;
    let (&[rows, columns], 1) = (&[split.get(1)?.known()?, split.get(2)?.known()?], map.axis)
    else {
        return None;
    };
    let fits = rows * columns == map.atoms.len() && split[3..] == from[2..] && split[0] == from[0];
    let named = |target: &[i64], at: usize| target.get(at).is_some_and(|&t| t == -1 || t > 0);
    if !fits || op.target.get(1) != Some(&i64::try_from(rows).ok()?) || !named(&op.target, 2) {
        return None;
    }
    let consumers = cx.graph.consumers();
    let only = |node: &Node| match consumers[node.output().index()].as_slice() {
        [one] if !cx.graph.outputs().contains(&node.output()) => Some(*one),
        _ => None,
    };
    let swap = cx.graph.node(only(node)?);
    let swapped: Vec<usize> = [0, 2, 1].into_iter().chain(3..split.len()).collect();
    if !matches!(&swap.op, Op::Transpose(t) if t.perm == swapped) {
        return None;
    }
    let last = only(swap)?;
    let end = cx.graph.node(last);
    let back = shape(end)?;
    let same = back.len() == from.len()
        && back[1] == Dim::Known(map.atoms.len())
        && back[2..] == from[2..];
    let merges = matches!(&end.op, Op::Reshape(r) if named(&r.target, 1));
    (same && merges).then_some(Shuffle {
        rows,
        columns,
        last,
    })
}
