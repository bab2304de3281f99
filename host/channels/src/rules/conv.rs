//! [Conv](https://onnx.ai/onnx/operators/onnx__Conv.html): input channels meet axis 1 of the weight, output
//! channels are fresh. Depthwise: channels pass through. Grouped: equal offsets of the groups go together.

use onnx_graph::ops::Conv;
use onnx_graph::{Node, NodeId};

use crate::atoms::{Context, Edit};

pub(super) fn rule(cx: &mut Context<'_>, id: NodeId, node: &Node, op: &Conv) {
    let input = cx.map(node, 0);
    let weight = cx.graph.constant_input(node, 1).map(|w| w.dims().to_vec());
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
                let carried: Vec<u32> = (0..outputs).map(|o| map.atoms[o / multiplier]).collect();
                cx.unite(&made, &carried);
                cx.edits.insert(
                    id,
                    Edit::Depthwise {
                        input: map.atoms.clone(),
                    },
                );
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
            cx.bind(weight_id, 1, &map.atoms[..per_group].into());
        }
        made
    };
    cx.bind(weight_id, 0, &made);
    if let Some(bias) = bias {
        cx.bind(bias, 0, &made);
    }
    cx.set(node.output(), 1, made);
}
