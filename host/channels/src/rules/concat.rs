//! [Concat](https://onnx.ai/onnx/operators/onnx__Concat.html): along the channel axis the lists
//! of atoms are joined, along another axis the atoms are united index by index.

use onnx_graph::ops::Concat;
use onnx_graph::{Dim, Node};

use crate::atoms::{Context, Map};

pub(super) fn rule(cx: &mut Context<'_>, node: &Node, op: &Concat) {
    let inputs: Vec<_> = node.inputs.iter().flatten().copied().collect();
    let maps: Vec<Option<Map>> = inputs.iter().map(|v| cx.maps[v.index()].clone()).collect();
    let Some(first) = maps.iter().flatten().next().cloned() else {
        return;
    };
    let Some(axis) = cx
        .rank(node.output())
        .and_then(|rank| Context::axis(op.axis, rank))
    else {
        return cx.pin_inputs(node, "a concatenation of unknown rank");
    };
    if maps.iter().flatten().any(|m| m.axis != first.axis) {
        return cx.pin_inputs(
            node,
            "a concatenation of values whose channels lie on different axes",
        );
    }
    if axis != first.axis {
        for (&value, map) in inputs.iter().zip(&maps) {
            let follows = match map {
                Some(map) if map.atoms.len() == first.atoms.len() => {
                    cx.unite(&first.atoms, &map.atoms);
                    true
                }
                Some(_) => false,
                None => cx.adopt(value, first.axis, &first.atoms),
            };
            if !follows {
                return cx.pin_inputs(
                    node,
                    "a concatenation with a value whose channels are not followed",
                );
            }
        }
        return cx.set(node.output(), first.axis, first.atoms);
    }
    let mut strung = Vec::new();
    for (&id, map) in inputs.iter().zip(&maps) {
        let atoms = match map {
            Some(map) => map.atoms.clone(),
            None => {
                let size = cx
                    .graph
                    .value(id)
                    .shape
                    .as_ref()
                    .and_then(|s| s.get(axis))
                    .and_then(Dim::known);
                let Some(size) = size else {
                    return cx.pin_inputs(node, "a concatenation with a value of unknown size");
                };
                let atoms = cx.fresh(size);
                if cx.graph.constant(id).is_some() {
                    cx.bind(id, axis, &atoms);
                }
                cx.pin(&atoms, &node.name, "channels whose origin is not followed");
                atoms
            }
        };
        strung.extend_from_slice(&atoms);
    }
    let strung = cx.list(strung);
    cx.set(node.output(), axis, strung);
}
