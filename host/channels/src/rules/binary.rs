//! [Add](https://onnx.ai/onnx/operators/onnx__Add.html), Sub, Mul, Div and PRelu with
//! broadcasting: equal indices of the channel axes are united, and a constant operand follows the
//! channels. A map of one channel, such as the mask of a spatial attention, is the same for all
//! channels of the other operand, so that it relates nothing.

use onnx_graph::{Dim, Node, ValueId};

use crate::atoms::{Atoms, Context};

enum Operand<'g> {
    /// Atoms on an axis, counted from the right.
    Channels {
        from_right: usize,
        atoms: Atoms,
    },
    Constant {
        id: ValueId,
        dims: &'g [usize],
    },
    Unknown,
}

fn operand<'g>(cx: &Context<'g>, id: ValueId) -> Operand<'g> {
    if let Some(constant) = cx.graph.constant(id) {
        return Operand::Constant {
            id,
            dims: constant.dims(),
        };
    }
    match (&cx.maps[id.index()], cx.rank(id)) {
        (Some(map), Some(rank)) => Operand::Channels {
            from_right: rank - map.axis,
            atoms: map.atoms.clone(),
        },
        _ => Operand::Unknown,
    }
}

pub(super) fn rule(cx: &mut Context<'_>, node: &Node) {
    let (Some(left), Some(right)) = (node.input(0), node.input(1)) else {
        return;
    };
    let Some(out_rank) = cx.rank(left).zip(cx.rank(right)).map(|(l, r)| l.max(r)) else {
        return cx.pin_inputs(node, "an operand of unknown shape");
    };
    match (operand(cx, left), operand(cx, right)) {
        (Operand::Channels { from_right, atoms }, Operand::Constant { id, dims })
        | (Operand::Constant { id, dims }, Operand::Channels { from_right, atoms }) => {
            with_constant(cx, node, (from_right, atoms), (id, dims), out_rank);
        }
        (
            Operand::Channels {
                from_right: fa,
                atoms: a,
            },
            Operand::Channels {
                from_right: fb,
                atoms: b,
            },
        ) => {
            if fa == fb && a.len() == b.len() {
                cx.unite(&a, &b);
                return cx.set(node.output(), out_rank - fa, a);
            }
            match (a.len(), b.len()) {
                (1, n) if n > 1 => spread(cx, node, (left, a), (fb, b), out_rank),
                (n, 1) if n > 1 => spread(cx, node, (right, b), (fa, a), out_rank),
                _ => cx.pin_inputs(node, "the operands' channels do not line up index by index"),
            }
        }
        (Operand::Channels { from_right, atoms }, Operand::Unknown) => {
            with_unknown(cx, node, right, (from_right, atoms), out_rank);
        }
        (Operand::Unknown, Operand::Channels { from_right, atoms }) => {
            with_unknown(cx, node, left, (from_right, atoms), out_rank);
        }
        _ => {}
    }
}

fn with_constant(
    cx: &mut Context<'_>,
    node: &Node,
    (from_right, atoms): (usize, Atoms),
    (id, dims): (ValueId, &[usize]),
    out_rank: usize,
) {
    match dims
        .len()
        .checked_sub(from_right)
        .map(|axis| (axis, dims[axis]))
    {
        Some((axis, size)) if size == atoms.len() && size > 1 => cx.bind(id, axis, &atoms),
        Some((_, 1)) | None => {}
        Some(_) if atoms.len() == 1 => {
            return cx.pin_inputs(node, "one channel spread over many by a constant");
        }
        Some(_) => return cx.pin_inputs(node, "a constant whose size does not fit the channels"),
    }
    cx.set(node.output(), out_rank - from_right, atoms);
}

/// Keeps the single channel of the operand `one`, which the result has no axis for, and passes
/// the channels of the other operand through.
fn spread(
    cx: &mut Context<'_>,
    node: &Node,
    (id, one): (ValueId, Atoms),
    many: (usize, Atoms),
    out_rank: usize,
) {
    cx.pin(&one, &node.name, "one channel spread over many");
    with_unknown(cx, node, id, many, out_rank);
}

/// Passes the channels through if the other operand, whose channels are unknown, has one value
/// for all of them.
fn with_unknown(
    cx: &mut Context<'_>,
    node: &Node,
    other: ValueId,
    (from_right, atoms): (usize, Atoms),
    out_rank: usize,
) {
    let shape = cx.graph.value(other).shape.clone().unwrap_or_default();
    let met = shape
        .len()
        .checked_sub(from_right)
        .map(|axis| shape[axis].clone());
    match met {
        None | Some(Dim::Known(1)) => cx.set(node.output(), out_rank - from_right, atoms),
        Some(_) => cx.pin_inputs(node, "the other operand's channels are not followed"),
    }
}
