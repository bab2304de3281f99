//! Reference outputs to compare an exported file with.

use datasets::Dataset;
use onnx_graph::Graph;
use torch_exec::{NormMode, Params, Program};

use crate::TrainError;
use crate::network::{Network, Runtime, batch_first};
use crate::samples::{floats, read};
use crate::task::float_outputs;

/// Returns the normalised images at `indices` `[N, C, H, W]` and the network's first output for
/// them under BatchNorm's stored statistics, both row-major.
///
/// # Errors
/// [`TrainError::Data`] if an image cannot be read; errors of running the graph.
pub fn reference_outputs(
    graph: &Graph,
    data: &dyn Dataset,
    indices: &[usize],
    runtime: Runtime,
) -> Result<(Vec<f32>, Vec<f32>), TrainError> {
    let _guard = tch::no_grad_guard();
    let (images, _) = read(data, indices, runtime.device)?;
    let program = Program::with_options(graph, runtime.options)?;
    let params = Params::with_options(graph, runtime.device, &runtime.options)?;
    let outputs = program.forward(&images, &params, None, NormMode::Running)?;
    Ok((floats(&images)?, floats(&outputs)?))
}

/// Returns the inputs of the samples at `indices`, row by row, and each output of floats for them,
/// row-major, under BatchNorm's stored statistics.
///
/// # Errors
/// As [`reference_outputs`].
pub fn all_outputs(
    graph: &Graph,
    data: &dyn Dataset,
    indices: &[usize],
    runtime: Runtime,
) -> Result<(Vec<f32>, Vec<Vec<f32>>), TrainError> {
    let _guard = tch::no_grad_guard();
    let (rows, _) = read(data, indices, runtime.device)?;
    let program = Program::with_options(graph, runtime.options)?;
    let params = Params::with_options(graph, runtime.device, &runtime.options)?;
    let outputs = float_outputs(graph);
    let mode = NormMode::Running;
    let (_, values) = program.forward_with(&rows, &params, None, mode, &outputs)?;
    let values = values.iter().zip(&outputs);
    let values = values.map(|(value, &id)| floats(&batch_first(value, graph.batch_axis(id))?));
    let values: Result<_, _> = values.collect();
    Ok((floats(&rows)?, values?))
}

/// Returns the logits of a classifier for the images at `indices`, row-major `[N, classes]`, under
/// BatchNorm's stored statistics. A final softmax is left out.
///
/// # Errors
/// As [`reference_outputs`].
pub fn reference_logits(
    graph: &Graph,
    data: &dyn Dataset,
    indices: &[usize],
    runtime: Runtime,
) -> Result<Vec<f32>, TrainError> {
    let _guard = tch::no_grad_guard();
    let (images, _) = read(data, indices, runtime.device)?;
    let network = Network::new(graph, runtime.options)?;
    let params = Params::with_options(graph, runtime.device, &runtime.options)?;
    floats(&network.logits(&images, &params, None, NormMode::Running)?)
}

/// Returns the inputs of the samples at `indices`, row by row.
///
/// # Errors
/// [`TrainError::Data`] if a sample cannot be read.
pub fn rows(data: &dyn Dataset, indices: &[usize]) -> Result<Vec<f32>, TrainError> {
    floats(&read(data, indices, tch::Device::Cpu)?.0)
}
