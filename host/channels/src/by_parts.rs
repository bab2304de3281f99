//! What a second analysis does otherwise where the first one leaves channels pinned or tied:
//! channels are kept or dropped by groups or heads.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use onnx_graph::NodeId;
use onnx_graph::ops::Op;

use crate::atoms::{Atoms, Context, PinReason};

/// The channels that stay for another reason than to be inputs or outputs.
fn pinned_inside(cx: &mut Context<'_>) -> BTreeSet<u32> {
    let union = &mut cx.union;
    let mut atoms = |pins: &[(Atoms, PinReason)]| -> BTreeSet<u32> {
        let atoms = pins.iter().flat_map(|(atoms, _)| atoms.iter());
        atoms.map(|&atom| union.root(atom)).collect()
    };
    let (ends, inside) = cx.pins.split_at(cx.ends_pinned);
    let (ends, inside) = (atoms(ends), atoms(inside));
    (0..union.len() as u32)
        .filter(|&atom| {
            let root = union.root(atom);
            inside.contains(&root) && !ends.contains(&root)
        })
        .collect()
}

/// How much an analysis leaves to choose, least for the best: the channels that stay, and the
/// sets that can be dropped.
pub(crate) fn choice(cx: &mut Context<'_>) -> (usize, Reverse<usize>) {
    let stay = pinned_inside(cx).len();
    let union = &mut cx.union;
    let pinned = cx.pins.iter().flat_map(|(atoms, _)| atoms.iter());
    let pinned: BTreeSet<u32> = pinned.map(|&atom| union.root(atom)).collect();
    let produced = cx.layers.iter().flat_map(|(_, atoms)| atoms.iter());
    let free: BTreeSet<u32> = produced.map(|&atom| union.root(atom)).collect();
    (stay, Reverse(free.difference(&pinned).count()))
}

/// Grouped convolutions whose channels stay pinned or are all one: equal offsets of the groups are
/// coupled there, and the channels of each group elsewhere.
pub(crate) fn tied_groups(cx: &mut Context<'_>) -> BTreeSet<NodeId> {
    let grouped = |id: NodeId| match &cx.graph.node(id).op {
        Op::Conv(op) if op.group > 1 => {
            let weight = cx.graph.constant_input(cx.graph.node(id), 1);
            weight.is_some_and(|w| w.dims()[1] > 1)
        }
        _ => false,
    };
    let grouped: Vec<(NodeId, Atoms)> = cx
        .layers
        .iter()
        .filter(|(id, _)| grouped(*id))
        .cloned()
        .collect();
    if grouped.is_empty() {
        return BTreeSet::new();
    }
    let pinned = pinned_inside(cx);
    let mut tied = BTreeSet::new();
    for (id, atoms) in grouped {
        let first = atoms.first().map(|&atom| cx.union.root(atom));
        let one = atoms.iter().all(|&atom| Some(cx.union.root(atom)) == first);
        if one || atoms.iter().any(|atom| pinned.contains(atom)) {
            tied.insert(id);
        }
    }
    tied
}

/// Reshapes that split channels which stay pinned. The channels may be free along another part:
/// heads where an attention mixes the channels of each (Ali et al., XCiT, NeurIPS 2021), or groups
/// where statistics of each are expanded again (Liu et al., EvoNorm, NeurIPS 2020).
pub(crate) fn split_and_pinned(cx: &mut Context<'_>) -> BTreeSet<NodeId> {
    if cx.last.is_empty() || cx.pins.len() == cx.ends_pinned {
        return BTreeSet::new();
    }
    let pinned = pinned_inside(cx);
    let union = &mut cx.union;
    let crossed = cx.crossed.iter().flat_map(|atoms| atoms.iter());
    let crossed: BTreeSet<u32> = crossed.map(|&atom| union.root(atom)).collect();
    let mut stays = |atom: u32| pinned.contains(&atom) || crossed.contains(&union.root(atom));
    let split = cx.last.iter();
    split
        .filter(|(_, atoms)| atoms.iter().any(|&atom| stays(atom)))
        .map(|(id, _)| *id)
        .collect()
}
