//! [MatMulNBits](https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md): a
//! product with a matrix whose elements have a few bits. The matrix has a row for each output
//! channel, with scales and zero points of its own. Along the inputs, several elements share a byte
//! and a scale, so that these stay.

use onnx_graph::ops::Opaque;
use onnx_graph::{Node, Tensor};

use crate::atoms::{Context, Edit};

const PACKED: &str = "a product with packed weights";

pub(super) fn rule(cx: &mut Context<'_>, node: &Node, op: &Opaque) -> Result<(), &'static str> {
    let id = cx.ends.producers[node.output().index()].ok_or(PACKED)?;
    let made = usize::try_from(op.int("N", 0)).map_err(|_| PACKED)?;
    let rank = cx.input_rank(node).ok_or(PACKED)?;
    // Rows, scales, zero points and biases lie along the first axis, several for each channel.
    let mut along = Vec::new();
    for i in [1, 2, 3, 5] {
        let Some(value) = node.input(i) else { continue };
        let rows = cx.graph.constant(value).map(Tensor::dims);
        let rows = *rows.and_then(<[usize]>::first).ok_or(PACKED)?;
        if made == 0 || rows == 0 || rows % made != 0 {
            return Err(PACKED);
        }
        along.push((value, rows / made));
    }
    if let Some(map) = cx.map(node, 0) {
        if map.axis + 1 < rank {
            cx.set(node.output(), map.axis, map.atoms);
            return Ok(());
        }
        cx.pin(&map.atoms, &node.name, PACKED);
    }
    let channels = cx.produce(id, made);
    for (value, each) in along {
        let repeated = channels.iter().flat_map(|&a| std::iter::repeat_n(a, each));
        let repeated: Vec<u32> = repeated.collect();
        let repeated = cx.list(repeated);
        cx.bind(value, 0, &repeated);
    }
    let (name, counted) = ("N", channels.clone());
    cx.edits.push((id, Edit::Attribute { name, counted }));
    cx.set(node.output(), rank - 1, channels);
    Ok(())
}
