//! Random samples of a data set for estimates.

use datasets::Dataset;
use onnx_graph::Graph;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::error::TrainError;
use crate::memory::images_of_a_backward_pass;

/// Settings of an [`Evaluator`](crate::Evaluator).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluatorConfig {
    /// Number of training batches on which BatchNorm is re-estimated.
    pub calibration_batches: usize,
    /// Images per calibration batch.
    pub calibration_batch: usize,
    /// Number of images drawn once from the search split; 0 takes all.
    pub search_images: usize,
    /// Images per batch of the search split.
    pub batch: usize,
    /// Seed of both draws.
    pub seed: u64,
}

impl Default for EvaluatorConfig {
    fn default() -> Self {
        Self {
            calibration_batches: 2,
            calibration_batch: 256,
            search_images: 1000,
            batch: 250,
            seed: 0,
        }
    }
}

/// Draws `count` of `total` indices, ascending.
pub(crate) fn draw(total: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut indices = rand::seq::index::sample(&mut rng, total, count.min(total)).into_vec();
    indices.sort_unstable();
    indices
}

/// Draws `count` images of `data` with their labels, in batches `[N, C, H, W]` and `[N]` (targets
/// `[N, targets]`) small enough for a backward pass through `graph`.
///
/// # Errors
/// [`TrainError::Data`] if an image cannot be read, [`TrainError::TooFewImages`] without any.
pub fn draw_batches(
    data: &dyn Dataset,
    graph: &Graph,
    count: usize,
    seed: u64,
    device: Device,
) -> Result<Vec<(Tensor, Tensor)>, TrainError> {
    let batch = images_of_a_backward_pass(graph);
    let indices = draw(data.len(), count, seed);
    if indices.is_empty() {
        return Err(TrainError::TooFewImages {
            what: "the data",
            held: 0,
            batch,
        });
    }
    let batches = indices.chunks(batch);
    batches.map(|batch| read(data, batch, device)).collect()
}

/// Reads normalised images `[N, C, H, W]` and labels `[N]`, or the targets `[N, targets]` of data
/// that has some, in parallel.
///
/// # Errors
/// [`TrainError::Data`] if an image cannot be read.
pub fn read(
    data: &dyn Dataset,
    indices: &[usize],
    device: Device,
) -> Result<(Tensor, Tensor), TrainError> {
    let shape = data.image_shape();
    let size: usize = shape.iter().product();
    let mut images = vec![0f32; indices.len() * size];
    images
        .par_chunks_mut(size.max(1))
        .zip(indices)
        .try_for_each(|(image, &i)| {
            data.decode(i, image)?;
            data.input().normalise(image);
            Ok::<_, datasets::DataError>(())
        })?;
    let labels = targets(data, indices)?;
    let dims = [
        indices.len() as i64,
        shape[0] as i64,
        shape[1] as i64,
        shape[2] as i64,
    ];
    let images = Tensor::f_from_slice(&images)?
        .f_reshape(dims)?
        .f_to_device(device)?;
    Ok((images, labels.f_to_device(device)?))
}

/// The labels `[N]` of samples, or their targets `[N, targets]` if the data has some.
fn targets(data: &dyn Dataset, indices: &[usize]) -> Result<Tensor, TrainError> {
    let size = data.target_len();
    if size == 0 {
        let labels: Vec<i64> = indices.iter().map(|&i| data.label(i) as i64).collect();
        return Ok(Tensor::f_from_slice(&labels)?);
    }
    let mut rows = vec![0f32; indices.len() * size];
    for (row, &index) in rows.chunks_mut(size).zip(indices) {
        data.target(index, row)?;
    }
    let dims = [indices.len() as i64, size as i64];
    Ok(Tensor::f_from_slice(&rows)?.f_reshape(dims)?)
}

/// The numbers of a tensor, row-major.
pub(crate) fn floats(tensor: &Tensor) -> Result<Vec<f32>, TrainError> {
    let tensor = tensor
        .f_to_device(tch::Device::Cpu)?
        .f_to_kind(tch::Kind::Float)?
        .f_contiguous()?;
    let mut values = vec![0f32; tensor.numel()];
    let count = values.len();
    tensor.f_copy_data(&mut values, count)?;
    Ok(values)
}
