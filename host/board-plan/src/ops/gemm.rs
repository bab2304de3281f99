//! [Gemm](https://onnx.ai/onnx/operators/onnx__Gemm.html) and
//! [MatMul](https://onnx.ai/onnx/operators/onnx__MatMul.html) of one row.

use int8_engine::Window;
use onnx_graph::ops::Gemm;

use super::context::Context;
use crate::layer::{Layer, bias, integers};
use crate::state::{Pending, State, Work};
use crate::value::{Integers, tensor};

pub(super) fn lower(context: Context<'_>, op: &Gemm) -> Result<State, String> {
    if op.alpha != 1.0 || op.beta != 1.0 || op.trans_a {
        return Err("boards take no factors, and no transposed input".into());
    }
    multiply(context, op.trans_b)
}

pub(super) fn product(context: Context<'_>) -> Result<State, String> {
    multiply(context, false)
}

fn multiply(context: Context<'_>, by_output: bool) -> Result<State, String> {
    let read = context.integers(0)?;
    let (weights, scales) = integers(context.graph, context.node, usize::from(!by_output))?;
    let bias = bias(context.graph, context.node, (read.scale, &scales))?;
    let [height, width, channels] = read.dims();
    let (pixels, outputs) = (height * width, bias.len());
    let entries = pixels * channels;
    let rank = context.dims(context.node.input(0))?.len();
    if rank != 2 || entries * outputs != weights.len() {
        return Err("its input is not one row".into());
    }
    // Columns of the matrix in the arena's order: a flattened image has its channels last.
    let weight = |output: usize, entry: usize| {
        let column = entry % channels * pixels + entry / channels;
        match by_output {
            true => weights[output * entries + column],
            false => weights[column * outputs + output],
        }
    };
    let turned = (0..outputs).flat_map(|o| (0..entries).map(move |e| (o, e)));
    let entries = u16::try_from(entries).map_err(|_| "its row exceeds 65535 entries")?;
    let layer = Layer {
        input: Integers {
            tensor: tensor([1, 1, entries], read.tensor.offset, read.tensor.zero_point),
            ..read
        },
        output: context.output()?,
        window: Window::ONE,
        groups: 1,
        weights: turned.map(|(o, e)| weight(o, e)).collect(),
        bias,
        scales,
    };
    Ok(State::Pending(Pending::new(
        &context.node.name,
        Work::Layer(layer),
    )))
}
