//! Operands that broadcast against each other: equal indices of the channel axes are united, and
//! constant operands follow the channels. A map of one channel, such as the mask of a spatial
//! attention, is the same for all channels of the other operands, so that it relates nothing. Of
//! channels on two axes, those on the wider one pass on.

use onnx_graph::{Dim, Node, ValueId};

use crate::atoms::{Atoms, Context};

/// The channels of an operand, and the position of their axis from the right.
struct Channels {
    operand: ValueId,
    from_right: usize,
    atoms: Atoms,
}

/// Relates the channels of `operands`, and passes those on that all operands can follow.
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
    // Of channels on two axes, the wider ones pass on, unless another operand cannot follow them.
    let mut candidates: Vec<&Channels> = Vec::new();
    for map in &maps {
        if candidates
            .iter()
            .all(|c| c.from_right != map.from_right || c.atoms.len() == 1)
        {
            candidates.push(map);
        }
    }
    candidates.sort_by_key(|map| std::cmp::Reverse(map.atoms.len()));
    let mut refused = None;
    for passing in candidates {
        match followed(cx, operands, &maps, passing) {
            Ok(()) => {
                unite(cx, node, operands, &maps, passing);
                let axis = out_rank - passing.from_right;
                cx.set(node.output(), axis, passing.atoms.clone());
                return Ok(());
            }
            Err(reason) => refused = refused.or(Some(reason)),
        }
    }
    refused.map_or(Ok(()), Err)
}

impl Channels {
    /// Whether these are on the same axis of the result, and as many.
    fn line_up(&self, other: &Self) -> bool {
        self.from_right == other.from_right && self.atoms.len() == other.atoms.len()
    }
}

/// Whether all operands can follow the channels `passing`.
fn followed(
    cx: &Context<'_>,
    operands: &[ValueId],
    maps: &[Channels],
    passing: &Channels,
) -> Result<(), &'static str> {
    let (from_right, atoms) = (passing.from_right, &passing.atoms);
    for map in maps {
        let beside = map.from_right == from_right && map.atoms.len() != atoms.len();
        if beside && map.atoms.len() > 1 {
            return Err("the operands' channels do not line up index by index");
        }
    }
    let follows = |v: ValueId| maps.iter().any(|m| m.operand == v && m.line_up(passing));
    for &operand in operands.iter().filter(|&&v| !follows(v)) {
        let constant = cx.graph.constant(operand).is_some();
        match met(cx, operand, from_right) {
            None | Some(Dim::Known(1)) => {}
            Some(Dim::Known(n)) if constant && n == atoms.len() => {}
            _ if constant && atoms.len() == 1 => {
                return Err("one channel spread over many by a constant");
            }
            _ if constant => return Err("a constant whose size does not fit the channels"),
            Some(_) if adopts(cx, operand, passing) => {}
            Some(_) => return Err("the other operand's channels are not followed"),
        }
    }
    Ok(())
}

/// Ties the operands to the channels `passing`.
fn unite(
    cx: &mut Context<'_>,
    node: &Node,
    operands: &[ValueId],
    maps: &[Channels],
    passing: &Channels,
) {
    let atoms = &passing.atoms;
    for &operand in operands {
        if let Some(map) = maps.iter().find(|m| m.operand == operand) {
            if map.line_up(passing) {
                cx.unite(atoms, &map.atoms);
            } else {
                let reason = match map.atoms.len() {
                    1 => "one channel spread over many",
                    _ => "operands with channels on two axes",
                };
                cx.pin(&map.atoms, &node.name, reason);
                cx.crossed.push(atoms.clone());
            }
        } else if let Some(axis) = axis_in(cx, operand, passing.from_right)
            && cx.graph.constant(operand).is_none()
        {
            if met(cx, operand, passing.from_right) != Some(Dim::Known(1))
                && !cx.adopt(operand, axis, atoms)
            {
                let reason = "the other operand's channels are not followed";
                cx.pin(atoms, &node.name, reason);
            }
        } else if let Some(constant) = cx.graph.constant(operand) {
            let dims = constant.dims();
            if let Some(axis) = dims.len().checked_sub(passing.from_right)
                && dims[axis] == atoms.len()
                && dims[axis] > 1
            {
                cx.bind(operand, axis, atoms);
            }
        }
    }
}

/// The axis of `operand` that meets the channels, if it has one there.
fn axis_in(cx: &Context<'_>, operand: ValueId, from_right: usize) -> Option<usize> {
    cx.rank(operand)?.checked_sub(from_right)
}

/// The size of that axis.
fn met(cx: &Context<'_>, operand: ValueId, from_right: usize) -> Option<Dim> {
    let axis = axis_in(cx, operand, from_right)?;
    Some(cx.graph.value(operand).shape.as_ref()?[axis].clone())
}

/// Whether an operand that is made of constants can take on the channels `passing`.
fn adopts(cx: &Context<'_>, operand: ValueId, passing: &Channels) -> bool {
    let free = cx.maps[operand.index()].is_none() && passing.atoms.len() > 1;
    let axis = axis_in(cx, operand, passing.from_right).filter(|_| free);
    axis.is_some_and(|axis| cx.adopts(operand, axis, &passing.atoms))
}

pub(super) fn rule(cx: &mut Context<'_>, node: &Node) {
    let operands: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
    if let Err(reason) = related(cx, node, &operands) {
        cx.pin_inputs(node, reason);
    }
}
