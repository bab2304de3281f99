//! [DeformConv](https://onnx.ai/onnx/operators/onnx__DeformConv.html): a convolution at positions
//! that are computed.

use onnx_graph::ops::Opaque;
use onnx_graph::{Node, Tensor};

use crate::atoms::Context;
use crate::rules::conv::unite_groups;

/// The groups of its channels are those of a convolution. The channels of offsets and masks are
/// positions and stay.
pub(super) fn rule(cx: &mut Context<'_>, node: &Node, op: &Opaque) -> Result<(), &'static str> {
    for i in [2, 4] {
        if let Some(map) = cx.map(node, i) {
            let reason = "channels that are read as positions";
            cx.pin(&map.atoms, &node.name, reason);
        }
    }
    let weight = cx.graph.constant_input(node, 1).map(Tensor::dims);
    let (Some(dims), Some(weight)) = (weight, node.input(1)) else {
        return Err("the weight of this convolution is computed, not constant");
    };
    let bias = node.input(3);
    if bias.is_some_and(|bias| cx.graph.constant(bias).is_none()) {
        return Err("the bias of this convolution is computed, not constant");
    }
    let count = |name: &str| usize::try_from(op.int(name, 1)).ok().filter(|&n| n > 0);
    let groups = (count("group"), count("offset_group"));
    let (&[outputs, each, ..], (Some(group), Some(offset_group))) = (dims, groups) else {
        return Err("a convolution without groups");
    };
    let map = cx.map(node, 0);
    if let Some(map) = &map {
        let fits = map.axis == 1 && map.atoms.len() == each * group;
        if !fits || map.atoms.len() % offset_group != 0 || outputs % group != 0 {
            return Err("the channels arrive on an axis a convolution does not read them from");
        }
        // Each group of channels keeps as many, so that the groups stay where they are.
        unite_groups(cx, &map.atoms, group);
        unite_groups(cx, &map.atoms, offset_group);
        let first = cx.list(&map.atoms[..each]);
        cx.bind(weight, 1, &first);
    }
    let made = cx.ends.producers[node.output().index()];
    let id = made.ok_or("a convolution without a result")?;
    let channels = cx.produce(id, outputs);
    unite_groups(cx, &channels, group);
    cx.bind(weight, 0, &channels);
    if let Some(bias) = bias {
        cx.bind(bias, 0, &channels);
    }
    cx.set(node.output(), 1, channels);
    Ok(())
}
