//! Images drawn from a data set for estimates: which ones, and reading them.

use datasets::Dataset;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::error::TrainError;

/// Settings of an [`Evaluator`](crate::Evaluator).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluatorConfig {
    /// Training batches on which BatchNorm is re-estimated.
    pub calibration_batches: usize,
    /// Images of each of them.
    pub calibration_batch: usize,
    /// Images of the search split that are used, drawn once; 0 takes all.
    pub search_images: usize,
    /// Images of a batch of these.
    pub batch: usize,
    /// Seed of both draws.
    pub seed: u64,
}

impl Default for EvaluatorConfig {
    fn default() -> Self {
        Self {
            calibration_batches: 4,
            calibration_batch: 256,
            search_images: 1000,
            batch: 250,
            seed: 0,
        }
    }
}

/// Positions of `wanted` of `held` images, ascending.
pub(crate) fn draw(held: usize, wanted: usize, seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut indices = rand::seq::index::sample(&mut rng, held, wanted.min(held)).into_vec();
    indices.sort_unstable();
    indices
}

/// Images `[N, C, H, W]`, normalised, and labels `[N]`, read in parallel.
///
/// # Errors
/// [`TrainError::Data`] for the first image that cannot be read.
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
    let labels: Vec<i64> = indices.iter().map(|&i| data.label(i) as i64).collect();
    let dims = [
        indices.len() as i64,
        shape[0] as i64,
        shape[1] as i64,
        shape[2] as i64,
    ];
    let images = Tensor::f_from_slice(&images)?
        .f_reshape(dims)?
        .f_to_device(device)?;
    Ok((images, Tensor::f_from_slice(&labels)?.f_to_device(device)?))
}
