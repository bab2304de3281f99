//! The interface of samples: images or other arrays, with labels or targets.

use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::picture::image_size;
use crate::{DataError, InputSpec};

/// A finite, indexable set of samples of one shape. A sample is an image, or one row of numbers:
/// the inputs of a network, one after the other.
pub trait Dataset: Send + Sync {
    /// Number of images.
    fn len(&self) -> usize;

    /// Whether there are no images.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names of the classes, indexed by label.
    fn classes(&self) -> &[String];

    /// Shape of every decoded image: channels, height, width. A row of `n` numbers is `[1, 1, n]`.
    fn image_shape(&self) -> [usize; 3];

    /// Class of image `index`. Panics if `index >= len()`.
    fn label(&self, index: usize) -> usize;

    /// Decodes image `index` into `out` (channels x height x width; red, green, blue; values in
    /// 0..=1) as evaluation uses it.
    fn decode(&self, index: usize, out: &mut [f32]) -> Result<(), DataError>;

    /// As [`Dataset::decode`], but takes a random part of photographs larger than the input.
    /// Other data uses [`Dataset::decode`].
    fn decode_random_crop(
        &self,
        index: usize,
        _rng: &mut ChaCha8Rng,
        out: &mut [f32],
    ) -> Result<(), DataError> {
        self.decode(index, out)
    }

    /// Number of target values of a sample; 0 for data that is labelled by class, or not at all.
    fn target_len(&self) -> usize {
        0
    }

    /// Reads the target values of sample `index` into `out`, of length [`Dataset::target_len`].
    fn target(&self, _index: usize, _out: &mut [f32]) -> Result<(), DataError> {
        Ok(())
    }

    /// The file that holds sample `index` alone.
    fn file(&self, _index: usize) -> Option<&Path> {
        None
    }

    /// Hash of an image's content, for data whose images can be compared without decoding.
    fn content_hash(&self, _index: usize) -> Option<u64> {
        None
    }

    /// Input of the model; the loader normalises by it.
    fn input(&self) -> &InputSpec;

    /// Describes the data for the records of a run: kind, number of images and a SHA-256 of its
    /// content (array data) or of its file list (folders). Equal identities mean equal data.
    fn identity(&self) -> String;
}

/// Decodes every image once, in parallel, and returns the first error by index. Folders otherwise
/// decode an image only when it is needed, so this is useful before a long run.
pub fn verify(dataset: &dyn Dataset) -> Result<(), DataError> {
    let size = dataset.image_shape().iter().product();
    let broken = (0..dataset.len())
        .into_par_iter()
        .map_init(
            || vec![0.0; size],
            |buffer, index| dataset.decode(index, buffer),
        )
        .find_first(Result::is_err);
    broken.unwrap_or(Ok(()))
}

/// The samples that cannot be read, by index, with the reasons. All are decoded, in parallel.
pub fn unreadable(dataset: &dyn Dataset) -> Vec<(usize, DataError)> {
    let size = dataset.image_shape().iter().product();
    (0..dataset.len())
        .into_par_iter()
        .map_init(
            || (vec![0.0; size], vec![0.0; dataset.target_len()]),
            |(sample, target), index| {
                let read = dataset.decode(index, sample);
                let read = read.and_then(|()| dataset.target(index, target));
                read.err().map(|error| (index, error))
            },
        )
        .flatten()
        .collect()
}

/// Width and height of the image files of a data set that can be read, smallest area first.
pub fn image_sizes(dataset: &dyn Dataset) -> Vec<(u32, u32)> {
    let mut sizes: Vec<(u32, u32)> = (0..dataset.len())
        .into_par_iter()
        .filter_map(|index| image_size(dataset.file(index)?).ok())
        .collect();
    sizes.sort_by_key(|&(width, height)| (u64::from(width) * u64::from(height), width));
    sizes
}
