//! [Conv](https://onnx.ai/onnx/operators/onnx__Conv.html): axis 1 of the weight follows the input
//! channels, axis 0 the output channels, which are new atoms. In a depthwise convolution the
//! channels pass through; in a grouped one equal offsets of the groups are united, or the channels
//! of each group where the channels around leave no other choice. A convolution may also slide
//! along the channels ([`neighbours`]).

use onnx_graph::ops::Conv;
use onnx_graph::{Node, NodeId, Tensor};

use super::neighbours;
use crate::atoms::{Atoms, Context, Edit, Map};

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
    if let Some(map) = neighbours::channels(cx, node) {
        if outputs > 1 {
            let own = cx.produce(id, outputs);
            cx.pin(&own, &node.name, "a convolution along the channels");
        }
        return neighbours::rule(cx, id, node, map);
    }
    if let Some(map) = &input
        && (map.axis != 1 || map.atoms.len() != inputs)
    {
        return cx.pin_inputs(
            node,
            "the channels arrive on an axis a convolution does not read them from",
        );
    }

    let channels = if op.group == 1 {
        if let Some(map) = &input {
            cx.bind(weight_id, 1, &map.atoms);
        }
        cx.produce(id, outputs)
    } else if per_group == 1 {
        depthwise(cx, id, node, input, outputs)
    } else if let Some(map) = input.as_ref().filter(|_| cx.whole.contains(&id)) {
        whole_groups(cx, id, &map.atoms, (outputs, op.group))
    } else {
        let channels = cx.produce(id, outputs);
        unite_groups(cx, &channels, op.group);
        if let Some(map) = &input {
            unite_groups(cx, &map.atoms, op.group);
            let first = cx.list(&map.atoms[..per_group]);
            cx.bind(weight_id, 1, &first);
        }
        channels
    };
    cx.bind(weight_id, 0, &channels);
    if let Some(bias) = bias {
        cx.bind(bias, 0, &channels);
    }
    cx.set(node.output(), 1, channels);
}

/// Unites channels of equal offset in their groups.
pub(super) fn unite_groups(cx: &mut Context<'_>, atoms: &Atoms, groups: usize) {
    let size = atoms.len() / groups;
    for group in 1..groups {
        cx.unite(&atoms[..size], &atoms[group * size..(group + 1) * size]);
    }
}

/// The output channels of a convolution whose groups are kept or dropped as a whole.
fn whole_groups(
    cx: &mut Context<'_>,
    id: NodeId,
    inputs: &Atoms,
    (outputs, groups): (usize, usize),
) -> Atoms {
    let channels = cx.produce(id, outputs);
    let parts = |atoms: &Atoms| atoms.len() / groups.max(1);
    let (read, made) = (parts(inputs), parts(&channels));
    let pairs = inputs.chunks(read.max(1)).zip(channels.chunks(made.max(1)));
    for (inputs, outputs) in pairs {
        for atom in inputs[1..].iter().chain(outputs) {
            cx.unite(&inputs[..1], std::slice::from_ref(atom));
        }
    }
    let first = channels.iter().step_by(made.max(1)).copied().collect();
    cx.edits.push((id, Edit::Groups { first }));
    channels
}

/// The output channels of a convolution with one or several per input channel.
pub(super) fn depthwise(
    cx: &mut Context<'_>,
    id: NodeId,
    node: &Node,
    input: Option<Map>,
    outputs: usize,
) -> Atoms {
    let Some(Map { atoms, .. }) = input else {
        let channels = cx.produce(id, outputs);
        let reason = "a depthwise convolution whose input channels are not followed";
        cx.pin(&channels, &node.name, reason);
        return channels;
    };
    let channels = match outputs / atoms.len().max(1) {
        1 => atoms.clone(),
        multiplier => {
            let each = atoms.iter();
            let repeated = each.flat_map(|&a| std::iter::repeat_n(a, multiplier));
            let repeated: Vec<u32> = repeated.collect();
            cx.list(repeated)
        }
    };
    cx.carry(id, channels.clone());
    cx.edits.push((id, Edit::Depthwise { input: atoms }));
    channels
}
