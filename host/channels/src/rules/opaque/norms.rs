//! Normalisations by the root of the mean square and others of
//! [ONNX Runtime](https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md).

use onnx_graph::Node;
use onnx_graph::ops::Opaque;

use crate::atoms::Context;

/// A normalisation over the axes from an attribute on: channels before them pass through.
///
/// Over the channels, the statistics of the pruned network are those of the kept ones.
pub(super) fn rows(cx: &mut Context<'_>, node: &Node, op: &Opaque) -> Result<(), &'static str> {
    let (Some(map), Some(rank)) = (cx.map(node, 0), cx.input_rank(node)) else {
        return Err("a normalisation of unknown rank");
    };
    let first = Context::axis(op.int("axis", -1), rank).ok_or("a normalisation of no axis")?;
    if map.axis >= first {
        let alone = first + 1 == rank && node.outputs.iter().skip(1).all(Option::is_none);
        let parameters = if op.is_root_mean_square() { 1..2 } else { 1..3 };
        if alone && cx.bind_parameters(node, parameters, &map.atoms) {
            cx.set(node.output(), map.axis, map.atoms);
            return Ok(());
        }
        return Err("a normalisation over the channels in a form that is not followed");
    }
    cx.set(node.output(), map.axis, map.atoms);
    Ok(())
}
