//! Averages: [AveragePool](https://onnx.ai/onnx/operators/onnx__AveragePool.html),
//! GlobalAveragePool and ReduceMean over rows and columns.

use int8_engine::Window;
use onnx_graph::ops::{AveragePool, ReduceMean};

use super::context::Context;
use super::window;
use crate::state::{Average, Pending, State, Work};

pub(super) fn windows(context: Context<'_>, op: &AveragePool) -> Result<State, String> {
    let window = window::window(&op.kernel, &op.strides, &[1, 1], &op.pads)?;
    if op.ceil_mode && op.count_include_pad {
        return Err("windows beyond the padding".into());
    }
    average(context, window, op.count_include_pad)
}

pub(super) fn global(context: Context<'_>) -> Result<State, String> {
    let tensor = context.image(0)?.tensor;
    let window = Window {
        kernel: [tensor.height, tensor.width],
        ..Window::ONE
    };
    average(context, window, true)
}

pub(super) fn mean(context: Context<'_>, op: &ReduceMean) -> Result<State, String> {
    let rank = context.dims(context.node.input(0))?.len();
    let mut axes = op.axes(rank).ok_or("an axis is out of range")?;
    axes.sort_unstable();
    if rank != 4 || axes != [2, 3] {
        return Err("boards average over rows and columns".into());
    }
    global(context)
}

fn average(context: Context<'_>, window: Window, padding_counts: bool) -> Result<State, String> {
    let work = Work::Average(Average {
        input: context.image(0)?,
        output: context.output()?,
        window,
        padding_counts,
    });
    Ok(State::Pending(Pending::new(&context.node.name, work)))
}
