//! [Conv](https://onnx.ai/onnx/operators/onnx__Conv.html).

use onnx_graph::ops::Conv;

use super::context::Context;
use super::window;
use crate::layer::{Layer, bias, integers};
use crate::state::{Pending, State, Work};

pub(super) fn lower(context: Context<'_>, op: &Conv) -> Result<State, String> {
    let input = context.image(0)?;
    let window = window::window(&op.kernel, &op.strides, &op.dilations, &op.pads)?;
    let (weights, scales) = integers(context.graph, context.node, 0)?;
    let bias = bias(context.graph, context.node, (input.scale, &scales))?;
    let entries = weights.len() / bias.len().max(1);
    let positions = window.positions() as usize;
    let channels = entries / positions;
    // From channels, rows, columns to rows, columns, channels.
    let turned = weights.chunks(entries.max(1)).flat_map(|filter| {
        (0..entries).map(move |i| filter[i % channels * positions + i / channels])
    });
    let layer = Layer {
        input,
        output: context.output()?,
        window,
        groups: u16::try_from(op.group).map_err(|_| "too many groups")?,
        weights: turned.collect(),
        bias,
        scales,
    };
    Ok(State::Pending(Pending::new(
        &context.node.name,
        Work::Layer(layer),
    )))
}
