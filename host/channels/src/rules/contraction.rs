//! Products of two values with a summed axis:
//! [MatMul](https://onnx.ai/onnx/operators/onnx__MatMul.html) of computed values and
//! [Einsum](https://onnx.ai/onnx/operators/onnx__Einsum.html).
//!
//! Axes are labelled, and those of one label are united. A dropped channel of a summed axis adds
//! nothing; one of another axis drops its part of the result.

use onnx_graph::{Dim, Node};

use crate::atoms::{Context, Map};

/// The labels of the axes of each operand and of the result.
pub(super) struct Labels {
    pub operands: Vec<Vec<u32>>,
    pub output: Vec<u32>,
}

impl Labels {
    /// The axes of `numpy.matmul` for operands of the given ranks, at least 2 each.
    pub fn matmul(left: usize, right: usize) -> Self {
        let (inner, rows, columns) = (0, 1, 2);
        // Leading axes align on the right.
        let lead = |rank: usize| (0..rank - 2).rev().map(|i| 3 + i as u32);
        Self {
            operands: vec![
                lead(left).chain([rows, inner]).collect(),
                lead(right).chain([inner, columns]).collect(),
            ],
            output: lead(left.max(right)).chain([rows, columns]).collect(),
        }
    }
}

pub(super) fn rule(cx: &mut Context<'_>, node: &Node, labels: &Labels) {
    let maps: Vec<Option<Map>> = (0..labels.operands.len())
        .map(|i| cx.map(node, i))
        .collect();
    let label = |i: usize| maps[i].as_ref().map(|m| labels.operands[i][m.axis]);
    let mut carried: Option<(usize, Map)> = None;
    for (i, map) in maps.iter().enumerate() {
        let (Some(map), Some(name)) = (map, label(i)) else {
            continue;
        };
        for other in (0..maps.len()).filter(|&o| o != i) {
            let Some(axis) = labels.operands[other].iter().position(|&l| l == name) else {
                continue;
            };
            if label(other) == Some(name) {
                if let Some(theirs) = &maps[other]
                    && theirs.atoms.len() == map.atoms.len()
                {
                    cx.unite(&map.atoms, &theirs.atoms);
                    continue;
                }
                return cx.pin_inputs(node, "the operands' channels do not line up index by index");
            }
            let Some(id) = node.input(other) else {
                continue;
            };
            let size = cx.graph.value(id).shape.as_ref().map(|s| s[axis].clone());
            match size {
                Some(Dim::Known(1)) if map.atoms.len() > 1 => {}
                Some(Dim::Known(n)) if n == map.atoms.len() && cx.graph.constant(id).is_some() => {
                    cx.bind(id, axis, &map.atoms);
                }
                _ => return cx.pin_inputs(node, "the other operand's channels are not followed"),
            }
        }
        let Some(axis) = labels.output.iter().position(|&l| l == name) else {
            continue;
        };
        match &carried {
            Some((first, _)) if *first == axis => {}
            Some(_) => cx.pin(
                &map.atoms,
                &node.name,
                "a product with channels on two axes",
            ),
            None => carried = Some((axis, map.clone())),
        }
    }
    if let Some((axis, map)) = carried {
        cx.set(node.output(), axis, map.atoms);
    }
}
