//! Products of two values with a summed axis:
//! [MatMul](https://onnx.ai/onnx/operators/onnx__MatMul.html) of computed values and
//! [Einsum](https://onnx.ai/onnx/operators/onnx__Einsum.html).
//!
//! Axes are labelled, and those of one label are united. A dropped channel of a summed axis adds
//! nothing; one of another axis drops its part of the result.

use onnx_graph::{Dim, Node, ValueId};

use crate::atoms::{Atoms, Context, Map};

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

/// What an axis of another operand does with the channels of its label.
enum Meeting {
    /// They are its own channels.
    Same(Atoms),
    /// An axis of a constant follows them.
    Bound(ValueId, usize),
    /// It is of size one, and read for each of them.
    Single,
}

pub(super) fn rule(cx: &mut Context<'_>, node: &Node, labels: &Labels) {
    let mut maps: Vec<Option<Map>> = (0..labels.operands.len())
        .map(|i| cx.map(node, i))
        .collect();
    let mut carried: Option<(usize, Map)> = None;
    for i in 0..maps.len() {
        let Some(map) = maps[i].clone() else {
            continue;
        };
        let name = labels.operands[i][map.axis];
        match meetings(cx, node, labels, &maps, i) {
            Ok(meetings) => {
                for meeting in meetings {
                    match meeting {
                        Meeting::Same(theirs) => cx.unite(&map.atoms, &theirs),
                        Meeting::Bound(id, axis) => cx.bind(id, axis, &map.atoms),
                        Meeting::Single => {}
                    }
                }
            }
            Err(reason) => {
                cx.pin(&map.atoms, &node.name, reason);
                maps[i] = None;
                continue;
            }
        }
        let Some(axis) = labels.output.iter().position(|&l| l == name) else {
            continue;
        };
        carried = match carried {
            Some((first, kept)) if first == axis => Some((first, kept)),
            Some((first, kept)) => {
                let second = (axis, map);
                let wider = second.1.atoms.len() > kept.atoms.len();
                let (kept, other) = match wider {
                    true => (second, (first, kept)),
                    false => ((first, kept), second),
                };
                let reason = "a product with channels on two axes";
                cx.pin(&other.1.atoms, &node.name, reason);
                cx.crossed.push(kept.1.atoms.clone());
                Some(kept)
            }
            None => Some((axis, map)),
        };
    }
    if let Some((axis, map)) = carried {
        cx.set(node.output(), axis, map.atoms);
    }
}

/// How the other operands meet the channels of operand `i`.
fn meetings(
    cx: &Context<'_>,
    node: &Node,
    labels: &Labels,
    maps: &[Option<Map>],
    i: usize,
) -> Result<Vec<Meeting>, &'static str> {
    let label = |i: usize| maps[i].as_ref().map(|m| labels.operands[i][m.axis]);
    let (Some(map), Some(name)) = (&maps[i], label(i)) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for other in (0..maps.len()).filter(|&o| o != i) {
        let Some(axis) = labels.operands[other].iter().position(|&l| l == name) else {
            continue;
        };
        if let Some(theirs) = maps[other].as_ref().filter(|_| label(other) == Some(name)) {
            if theirs.atoms.len() != map.atoms.len() {
                return Err("the operands' channels do not line up index by index");
            }
            found.push(Meeting::Same(theirs.atoms.clone()));
            continue;
        }
        let Some(id) = node.input(other) else {
            continue;
        };
        let size = cx.graph.value(id).shape.as_ref().map(|s| s[axis].clone());
        found.push(match size {
            Some(Dim::Known(1)) => Meeting::Single,
            Some(Dim::Known(n)) if n == map.atoms.len() && cx.graph.constant(id).is_some() => {
                Meeting::Bound(id, axis)
            }
            _ => return Err("the other operand's channels are not followed"),
        });
    }
    Ok(found)
}
