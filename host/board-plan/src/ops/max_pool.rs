//! [MaxPool](https://onnx.ai/onnx/operators/onnx__MaxPool.html) and GlobalMaxPool.

use int8_engine::Window;
use onnx_graph::ops::MaxPool;

use super::context::Context;
use super::window;
use crate::state::State;

pub(super) fn windows(context: Context<'_>, op: &MaxPool) -> Result<State, String> {
    let window = window::window(&op.kernel, &op.strides, &op.dilations, &op.pads)?;
    pool(context, window)
}

pub(super) fn global(context: Context<'_>) -> Result<State, String> {
    let tensor = context.image(0)?.tensor;
    let window = Window {
        kernel: [tensor.height, tensor.width],
        ..Window::ONE
    };
    pool(context, window)
}

fn pool(mut context: Context<'_>, window: Window) -> Result<State, String> {
    let input = context.image(0)?;
    let output = context.tensor_like(&input)?;
    let op = int8_engine::MaxPool {
        input: input.tensor,
        output: output.tensor,
        window,
    };
    context.program.push(&context.node.name, op);
    Ok(State::Integers(output))
}
