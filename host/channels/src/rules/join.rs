//! Operands that broadcast against each other: equal indices of the channel axes are united, and
//! constant operands follow the channels. A map of one channel, such as the mask of a spatial
//! attention, is the same for all channels of the other operands, so that it relates nothing.

use onnx_graph::{Dim, Node, ValueId};

use crate::atoms::{Atoms, Context};

/// The channels of an operand, and the position of their axis from the right.
struct Channels {
    operand: ValueId,
    from_right: usize,
    atoms: Atoms,
}

/// Relates the channels of `operands`, and returns whether they pass on to the output.
fn related(cx: &mut Context<'_>, node: &Node, operands: &[ValueId]) -> Result<(), &'static str> {
    let ranks: Option<Vec<usize>> = operands.iter().map(|&v| cx.rank(v)).collect();
    let ranks = ranks.ok_or("an operand of unknown shape")?;
    let out_rank = ranks.iter().copied().max().unwrap_or(0);
    let channels = |(&operand, rank): (&ValueId, &usize)| {
        let map = cx.maps[operand.index()].as_ref()?;
        Some(Channels {
            operand,
            from_right: rank - map.axis,
            atoms: map.atoms.clone(),
        })
    };
    let maps: Vec<Channels> = operands.iter().zip(&ranks).filter_map(channels).collect();
    let wide = maps.iter().find(|m| m.atoms.len() > 1);
    let Some(first) = wide.or(maps.first()) else {
        return Ok(());
    };
    let (from_right, atoms) = (first.from_right, first.atoms.clone());
    for map in &maps {
        let same = map.from_right == from_right && map.atoms.len() == atoms.len();
        if !same && map.atoms.len() > 1 {
            return Err("the operands' channels do not line up index by index");
        }
    }
    let followed = |v: ValueId| {
        let same = |m: &Channels| m.from_right == from_right && m.atoms.len() == atoms.len();
        maps.iter().any(|m| m.operand == v && same(m))
    };
    for &operand in operands.iter().filter(|&&v| !followed(v)) {
        let size = met(cx, operand, from_right);
        let constant = cx.graph.constant(operand).is_some();
        match size {
            None | Some(Dim::Known(1)) => {}
            Some(Dim::Known(n)) if constant && n == atoms.len() => {}
            _ if constant && atoms.len() == 1 => {
                return Err("one channel spread over many by a constant");
            }
            _ if constant => return Err("a constant whose size does not fit the channels"),
            Some(_) => return Err("the other operand's channels are not followed"),
        }
    }
    for &operand in operands {
        if let Some(map) = maps.iter().find(|m| m.operand == operand) {
            if followed(operand) {
                cx.unite(&atoms, &map.atoms);
            } else {
                cx.pin(&map.atoms, &node.name, "one channel spread over many");
            }
        } else if let Some(constant) = cx.graph.constant(operand) {
            let dims = constant.dims();
            if let Some(axis) = dims.len().checked_sub(from_right)
                && dims[axis] == atoms.len()
                && dims[axis] > 1
            {
                cx.bind(operand, axis, &atoms);
            }
        }
    }
    cx.set(node.output(), out_rank - from_right, atoms);
    Ok(())
}

/// The size of the axis of `operand` that meets the channels, if it has one there.
fn met(cx: &Context<'_>, operand: ValueId, from_right: usize) -> Option<Dim> {
    let shape = cx.graph.value(operand).shape.as_ref()?;
    let axis = shape.len().checked_sub(from_right)?;
    Some(shape[axis].clone())
}

pub(super) fn rule(cx: &mut Context<'_>, node: &Node) {
    let operands: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
    if let Err(reason) = related(cx, node, &operands) {
        cx.pin_inputs(node, reason);
    }
}
