//! Inputs that stand beside a value with an open batch.

use super::{Opening, with_size};
use crate::dims;
use crate::graph::Graph;
use crate::ops::{Expand, Op};
use crate::sizes::Size;
use crate::value::{Dim, Shape, ValueId};

/// Opaque operators that broadcast their inputs.
const BROADCASTING: [&str; 16] = [
    "And",
    "BitShift",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Mean",
    "Min",
    "Mod",
    "Or",
    "Sum",
];

impl Opening {
    /// Replaces inputs that contain the batch as a number by forms that fit an open batch.
    pub(super) fn align(&self, graph: &mut Graph, index: usize) -> Result<usize, String> {
        let node = &graph.nodes[index];
        let joins = match &node.op {
            Op::Concat(_) => true,
            Op::Add(_)
            | Op::Sub(_)
            | Op::Mul(_)
            | Op::Div(_)
            | Op::Where(_)
            | Op::MatMul(_)
            | Op::PRelu(_) => false,
            Op::Opaque(op)
                if op.domain.is_empty() && BROADCASTING.contains(&op.op_type.as_str()) =>
            {
                false
            }
            _ => return Ok(index),
        };
        let output = node.outputs.first().copied().flatten();
        let shapes: Vec<Option<Shape>> = node
            .inputs
            .iter()
            .map(|v| graph.value((*v)?).shape.clone())
            .collect();
        let rank = shapes.iter().flatten().map(Vec::len).max().unwrap_or(0);
        // The axis that contains the batch, counted from the end.
        let follows = |shape: &Shape| {
            let axis = shape.iter().position(|d| self.follows(d))?;
            Some((shape.len() - axis, shape[axis].clone()))
        };
        let Some((from_end, dim)) = shapes.iter().flatten().find_map(follows) else {
            return Ok(index);
        };
        let joined = match &node.op {
            Op::Concat(op) => dims::axis(op.axis, rank).ok().map(|axis| rank - axis),
            _ => None,
        };
        if joined == Some(from_end) {
            return Err("it joins images to the batch".into());
        }
        // The last two axes of a product are no batch of matrices.
        if matches!(node.op, Op::MatMul(_)) && from_end <= 2 {
            return Ok(index);
        }
        let size = with_size(&dim, &self.symbol, self.batch).and_then(|d| d.known());
        let mut fixed = Vec::new();
        for (i, shape) in shapes.iter().enumerate() {
            let Some(shape) = shape else { continue };
            let axis = shape.len().checked_sub(from_end);
            let Some((axis, Dim::Known(n))) = axis.map(|a| (a, &shape[a])) else {
                continue;
            };
            if joins || (*n > 1 && Some(*n) == size) {
                fixed.push((i, axis));
            }
        }
        if fixed.is_empty() {
            return Ok(index);
        }
        let added = graph.nodes.len();
        for (i, axis) in fixed {
            let input = graph.nodes[index].input(i).ok_or("an input is missing")?;
            let open = (dim == self.open()).then_some(axis).filter(|_| joins);
            let narrow = self.narrowed(graph, input, axis)?;
            let narrow = match open {
                Some(axis) => self.expanded(graph, narrow, axis)?,
                None if joins => return Err(format!("it joins to parts of {dim:?} images")),
                None => narrow,
            };
            graph.nodes[index].inputs[i] = Some(narrow);
        }
        graph
            .sort_nodes(added)
            .map_err(|_| "its inputs would wait for it".to_owned())?;
        let moved = graph
            .nodes
            .iter()
            .position(|n| n.outputs.first() == Some(&output));
        moved.ok_or_else(|| "it is lost".to_owned())
    }

    /// The part of a constant for one image, if it is the same for all.
    fn narrowed(&self, graph: &mut Graph, id: ValueId, axis: usize) -> Result<ValueId, String> {
        let name = graph.value(id).name.clone();
        let Some(tensor) = graph.constant(id) else {
            return Err(format!(
                "it reads '{name}', which does not follow the batch"
            ));
        };
        if tensor.dims()[axis] == 1 {
            return Ok(id);
        }
        let part = |i: usize| tensor.select(axis, &[i]).map_err(|e| e.to_string());
        let first = part(0)?;
        for i in 1..tensor.dims()[axis] {
            if !part(i)?.same_bits(&first) {
                return Err(format!(
                    "it reads '{name}', which differs from image to image"
                ));
            }
        }
        Ok(graph.add_constant(&name, first))
    }

    /// The value of one image, repeated along `axis` for the whole batch.
    fn expanded(&self, graph: &mut Graph, id: ValueId, axis: usize) -> Result<ValueId, String> {
        let input = *graph.inputs.first().ok_or("there is no input")?;
        let rank = graph.value(id).shape.as_ref().map_or(0, Vec::len);
        let name = format!("{}_batch", graph.value(id).name);
        let size = |i| {
            if i == axis {
                Size::Of(input, 0)
            } else {
                Size::Known(1)
            }
        };
        let list = graph.list_sizes(&name, (0..rank).map(size).collect());
        let list = list.map_err(|e| e.to_string())?;
        let size = |i| {
            if i == axis {
                self.open()
            } else {
                Dim::Known(1)
            }
        };
        let op = Expand {
            sizes: (0..rank).map(size).collect(),
        };
        graph
            .push(&name, op.into(), &[id, list])
            .map_err(|e| e.to_string())
    }
}
