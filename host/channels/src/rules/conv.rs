//! [Conv](https://onnx.ai/onnx/operators/onnx__Conv.html): input channels meet axis 1 of the weight, output
//! channels are fresh. Depthwise: channels pass through. Grouped: equal offsets of the groups go together.

use onnx_graph::ops::Conv;
use onnx_graph::{Node, NodeId, Tensor};

use crate::atoms::{Context, Edit};

pub(super) fn rule(cx: &mut Context<'_>, id: NodeId, node: &Node, op: &Conv) {
    let input = cx.map(node, 0);
    let weight = cx.graph.constant_input(node, 1).map(Tensor::dims);
    let (Some(weight), Some(weight_id)) = (weight, node.input(1)) else {
        return cx.pin_inputs(
            node,
            "the weight of this convolution is computed, not constant",
        );
    };
    let bias = node.input(2);
    if bias.is_some_and(|b| cx.graph.constant(b).is_none()) {
        return cx.pin_inputs(
            node,
            "the bias of this convolution is computed, not constant",
        );
    }
    let (outputs, per_group) = (weight[0], weight[1]);
    let inputs = per_group * op.group;
    if let Some(map) = &input
        && (map.axis != 1 || map.atoms.len() != inputs)
    {
        return cx.pin_inputs(
            node,
            "the channels arrive on an axis a convolution does not read them from",
        );
    }

    let made = if op.group == 1 {
        if let Some(map) = &input {
            cx.bind(weight_id, 1, &map.atoms);
        }
        cx.make(id, outputs)
    } else if per_group == 1 {
        let made = cx.make(id, outputs);
        match &input {
            Some(map) => {
                let multiplier = outputs / inputs;
                for (&carried, made) in map.atoms.iter().zip(made.chunks(multiplier.max(1))) {
                    made.iter().for_each(|&m| cx.union.unite(carried, m));
                }
                let input = map.atoms.clone();
                cx.edits.push((id, Edit::Depthwise { input }));
            }
            None => cx.pin(
                &made,
                &node.name,
                "a depthwise convolution whose input channels are not followed",
            ),
        }
        made
    } else {
        let made = cx.make(id, outputs);
        for group in 1..op.group {
            let size = outputs / op.group;
            cx.unite(&made[..size], &made[group * size..(group + 1) * size]);
            if let Some(map) = &input {
                cx.unite(
                    &map.atoms[..per_group],
                    &map.atoms[group * per_group..(group + 1) * per_group],
                );
            }
        }
        if let Some(map) = &input {
            let first = cx.list(&map.atoms[..per_group]);
            cx.bind(weight_id, 1, &first);
        }
        made
    };
    cx.bind(weight_id, 0, &made);
    if let Some(bias) = bias {
        cx.bind(bias, 0, &made);
    }
    cx.set(node.output(), 1, made);
}
