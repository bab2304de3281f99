//! Which way of running a network trains it fastest on this machine. bfloat16 nearly doubles some networks and halves
//! others, and so does the memory order, so it is measured instead of assumed.

use std::time::{Duration, Instant};

use onnx_graph::Graph;
use tch::{Device, Kind, Tensor};
use torch_exec::{ExecOptions, MemoryFormat, NormMode, Params, Precision, cross_entropy, has_bf16};

use crate::TrainError;
use crate::network::Network;

/// Timed steps of each way; the fastest counts, since whatever else the machine does only slows steps down.
const STEPS: usize = 3;

/// A way to run a network, and how long one training step took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepTime {
    /// Memory order and precision.
    pub options: ExecOptions,
    /// The fastest of a few steps (forward and backward), without data loading and the optimiser.
    pub step: Duration,
}

/// Times a training step of `graph` on random images `[batch, C, H, W]` in every memory order and precision that
/// `device` has; the fastest first.
///
/// # Errors
/// What compiling and running the graph gives.
pub fn step_times(
    graph: &Graph,
    [channels, height, width]: [usize; 3],
    batch: usize,
    device: Device,
) -> Result<Vec<StepTime>, TrainError> {
    let shape = [batch, channels, height, width].map(|d| d as i64);
    let images = Tensor::f_randn(shape, (Kind::Float, device))?;
    let labels = Tensor::f_zeros([batch as i64], (Kind::Int64, device))?;
    let mut times = Vec::new();
    for precision in [Precision::Full, Precision::Bf16] {
        if precision == Precision::Bf16 && !has_bf16(device) {
            continue;
        }
        for memory_format in [MemoryFormat::Contiguous, MemoryFormat::ChannelsLast] {
            let options = ExecOptions {
                memory_format,
                precision,
            };
            let step = time(graph, &images, &labels, options)?;
            times.push(StepTime { options, step });
        }
    }
    times.sort_by_key(|t| t.step);
    Ok(times)
}

fn time(
    graph: &Graph,
    images: &Tensor,
    labels: &Tensor,
    options: ExecOptions,
) -> Result<Duration, TrainError> {
    let network = Network::new(graph, options)?;
    let params = Params::with_options(graph, images.device(), &options)?;
    let trained: Vec<Tensor> = params
        .trainable(graph)
        .into_iter()
        .map(|(_, _, t)| t)
        .collect();
    let mut fastest = Duration::MAX;
    // The first step also pays for choosing kernels and taking memory.
    for step in 0..=STEPS {
        let start = Instant::now();
        let logits = network.logits(images, &params, None, NormMode::Batch)?;
        let loss = cross_entropy(&logits, labels, 0.0)?;
        let gradients = Tensor::f_run_backward(&[&loss], &trained, false, false)?;
        // Reading a value waits for a GPU's queue.
        gradients
            .last()
            .map(|g| g.f_sum(Kind::Float)?.f_double_value(&[]))
            .transpose()?;
        if step > 0 {
            fastest = fastest.min(start.elapsed());
        }
    }
    Ok(fastest)
}
