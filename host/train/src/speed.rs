//! Measures which memory order, precision and number of threads train a network fastest on this
//! machine. bfloat16 and the memory order nearly double the speed of some networks and halve that
//! of others.

use std::num::NonZero;
use std::time::{Duration, Instant};

use collective::Place;
use onnx_graph::Graph;
use tch::{Device, Kind, Tensor};
use torch_exec::{ExecOptions, MemoryFormat, NormMode, Params, Precision, has_bf16};

use crate::TrainError;
use crate::network::{Network, Runtime};
use crate::task::float_outputs;

/// Timed steps per setting.
const STEPS: usize = 3;

/// Most time for the steps of one setting; at least one step is timed.
const LONGEST: Duration = Duration::from_secs(4);

/// Numbers of threads are tried in descending order until one takes this multiple of the best
/// time.
const SLOWER: f64 = 1.25;

/// Time of a training step under given options.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepTime {
    /// Memory order and precision.
    pub options: ExecOptions,
    /// The fastest of a few steps (forward and backward), without data loading and the optimiser.
    pub step: Duration,
}

/// Time of a training step with a given number of threads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ThreadTime {
    /// Threads per operation.
    pub threads: usize,
    /// The median of a few steps, as in [`StepTime`].
    pub step: Duration,
}

/// Returns the numbers of threads to try on a machine with `cores` cores, descending: all, all
/// but one, and halves.
#[must_use]
pub fn thread_counts(cores: usize) -> Vec<usize> {
    let cores = cores.max(1);
    let halves = std::iter::successors(Some(cores), |n| (*n > 1).then_some(n / 2));
    let mut counts: Vec<usize> = halves.chain([(cores - 1).max(1)]).collect();
    counts.sort_unstable_by_key(|&n| std::cmp::Reverse(n));
    counts.dedup();
    counts
}

/// Returns the number of cores available to this process: its part of the machine's, if several
/// processes of a run train on it.
#[must_use]
pub fn cores() -> usize {
    let place = Place::from_env().ok().flatten();
    let here = place.and_then(|place| place.local_size).unwrap_or(1);
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    (cores / here.max(1)).max(1)
}

/// Times a training step of `graph` on random images `[batch, C, H, W]` with several numbers of
/// threads and returns the fastest first. If other processes keep some cores busy, all threads
/// wait for the one that shares its core, and fewer threads are much faster. Restores the number
/// of threads.
///
/// # Errors
/// Errors of compiling and running the graph.
pub fn thread_times(
    graph: &Graph,
    image: [usize; 3],
    batch: usize,
    runtime: Runtime,
) -> Result<Vec<ThreadTime>, TrainError> {
    let before = torch_exec::threads();
    let times = timed_threads(graph, image, batch, runtime);
    torch_exec::set_threads(before);
    times
}

fn timed_threads(
    graph: &Graph,
    image: [usize; 3],
    batch: usize,
    runtime: Runtime,
) -> Result<Vec<ThreadTime>, TrainError> {
    let images = random_batch(image, batch, runtime.device)?;
    let mut times: Vec<ThreadTime> = Vec::new();
    for threads in thread_counts(cores()) {
        torch_exec::set_threads(threads);
        let mut steps = time(graph, &images, runtime.options)?;
        steps.sort_unstable();
        // The median: on busy cores the fastest step is not typical of a training.
        let step = steps[steps.len() / 2];
        let best = times.iter().map(|t| t.step).min();
        times.push(ThreadTime { threads, step });
        if best.is_some_and(|best| step > best.mul_f64(SLOWER)) {
            break;
        }
    }
    times.sort_by_key(|t| t.step);
    Ok(times)
}

fn random_batch(
    [channels, height, width]: [usize; 3],
    batch: usize,
    device: Device,
) -> Result<Tensor, TrainError> {
    let shape = [batch, channels, height, width].map(|d| d as i64);
    // From 0 to 1: an input of integers then is 0 throughout, which is an index into any table.
    Ok(Tensor::f_rand(shape, (Kind::Float, device))?)
}

/// Times a training step of `graph` on random images `[batch, C, H, W]` in every memory order and
/// every precision that `device` supports, and returns the fastest first.
///
/// # Errors
/// Errors of compiling and running the graph.
pub fn step_times(
    graph: &Graph,
    image: [usize; 3],
    batch: usize,
    device: Device,
) -> Result<Vec<StepTime>, TrainError> {
    let images = random_batch(image, batch, device)?;
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
            let steps = time(graph, &images, options)?;
            // The fastest: other load only slows steps down.
            let step = steps.into_iter().min().unwrap_or(Duration::MAX);
            times.push(StepTime { options, step });
        }
    }
    times.sort_by_key(|t| t.step);
    Ok(times)
}

/// Times up to [`STEPS`] steps, at least one.
fn time(graph: &Graph, images: &Tensor, options: ExecOptions) -> Result<Vec<Duration>, TrainError> {
    let network = Network::with_heads(graph, options, float_outputs(graph))?;
    let params = Params::with_options(graph, images.device(), &options)?;
    let trained: Vec<Tensor> = params
        .trainable(graph)
        .into_iter()
        .map(|(_, _, t)| t)
        .collect();
    let mut times = Vec::new();
    let begun = Instant::now();
    // The first step is not timed: it also selects kernels and allocates memory.
    for step in 0..=STEPS {
        let start = Instant::now();
        let outputs = network.outputs(images, &params, None, NormMode::Batch, &[])?;
        // Any loss that depends on every output takes the time of a training step.
        let squares = outputs
            .heads
            .iter()
            .map(|head| head.f_square()?.f_mean(Kind::Float));
        let squares: Vec<Tensor> = squares.collect::<Result<_, _>>()?;
        let loss = Tensor::f_stack(&squares, 0)?.f_sum(Kind::Float)?;
        let gradients = Tensor::f_run_backward(&[&loss], &trained, false, false)?;
        // Reading a value waits for the GPU.
        gradients
            .iter()
            .rfind(|gradient| gradient.defined())
            .map(|g| g.f_sum(Kind::Float)?.f_double_value(&[]))
            .transpose()?;
        if step > 0 {
            times.push(start.elapsed());
            if begun.elapsed() > LONGEST {
                break;
            }
        }
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_cores_all_but_one_and_halves_are_tried() {
        for (cores, expected) in [
            (0, &[1][..]),
            (1, &[1]),
            (2, &[2, 1]),
            (3, &[3, 2, 1]),
            (8, &[8, 7, 4, 2, 1]),
            (12, &[12, 11, 6, 3, 1]),
        ] {
            assert_eq!(thread_counts(cores), expected, "{cores}");
        }
    }
}
