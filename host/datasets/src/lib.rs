//! Image classification data: reading, splitting, augmenting and loading in parallel with training.
//!
//! [`open`] turns a [`DataSpec`] (`shapes`, `cifar10:DIR`, `mnist:DIR`, `folder:DIR`, ...) and an [`InputSpec`] (what
//! the model takes) into [`Splits`]; a [`Loader`] turns a split into batches.
//!
//! Invariants:
//! - The three splits share no record. `search` is held out of the training data (stratified by class, seeded) or is the
//!   data set's own validation folder; `test` is the data set's own test part wherever it has one.
//! - What is loaded depends only on (spec, input, loader seed, epoch): never on the number of workers or on timing.
//! - Images are `f32` in NCHW order, normalised as [`InputSpec`] says. Data is never silently adapted to a model of
//!   another shape: that is [`DataError::InputMismatch`].
//! - Dropping a half-read epoch stops and joins its worker threads.
//!
//! Deliberately absent: downloads, tensors of any framework, label formats other than one class per image.

#![forbid(unsafe_code)]

mod array;
mod augment;
mod cifar;
mod error;
mod folder;
mod idx;
mod input;
mod loader;
mod shapes;
mod spec;
mod split;

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

pub use array::ArrayDataset;
pub use augment::{Augment, ColourJitter};
pub use error::DataError;
pub use folder::FolderDataset;
pub use input::{InputSpec, Normalise, PRESETS, PixelScale};
pub use loader::{Batch, Epoch, Loader, LoaderConfig};
pub use shapes::{SHAPE_CLASSES, render_shape};
pub use spec::{DataSpec, IdxFlavour, Portion, Source};
pub use split::Subset;

/// A finite, indexable set of labelled images of one shape.
pub trait Dataset: Send + Sync {
    /// Number of images.
    fn len(&self) -> usize;

    /// True if there is no image.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names of the classes; a label is an index into it.
    fn classes(&self) -> &[String];

    /// Shape of every image as decoded: channels, height, width.
    fn image_shape(&self) -> [usize; 3];

    /// Class of image `index`. Panics if `index >= len()`.
    fn label(&self, index: usize) -> usize;

    /// Decodes image `index` into `out` (channels x height x width, values 0..=1) as evaluation sees it.
    fn decode(&self, index: usize, out: &mut [f32]) -> Result<(), DataError>;

    /// As [`Dataset::decode`], but a random part of the image where that makes sense (photographs larger than the
    /// input). The default is [`Dataset::decode`].
    fn decode_random_crop(
        &self,
        index: usize,
        _rng: &mut ChaCha8Rng,
        out: &mut [f32],
    ) -> Result<(), DataError> {
        self.decode(index, out)
    }

    /// What the model takes; the loader normalises with it.
    fn input(&self) -> &InputSpec;

    /// What this data is, for the records of a run: kind, number of images and a SHA-256 of its content (array data) or of
    /// its file list (folders). Equal identities mean equal data.
    fn identity(&self) -> String;
}

/// The three disjoint parts of a data set.
#[derive(Clone)]
pub struct Splits {
    /// For training.
    pub train: Arc<dyn Dataset>,
    /// For the search's accuracies: held out of the training data.
    pub search: Arc<dyn Dataset>,
    /// For the final figure only.
    pub test: Arc<dyn Dataset>,
}

impl std::fmt::Debug for Splits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Splits")
            .field("train", &self.train.identity())
            .field("search", &self.search.identity())
            .field("test", &self.test.identity())
            .finish()
    }
}

/// Training data, and what a data set has of its own for search and test.
type Parts = (
    Arc<dyn Dataset>,
    Option<Arc<dyn Dataset>>,
    Option<Arc<dyn Dataset>>,
);

/// Opens a data set for a model's input. Array data is read (or rendered) whole; folders are only listed.
pub fn open(spec: &DataSpec, input: &InputSpec) -> Result<Splits, DataError> {
    input.check()?;
    let (train, held_out, test): Parts = match &spec.source {
        Source::Shapes => {
            let (train, test) = shapes::open(spec, input)?;
            (Arc::new(train), None, Some(Arc::new(test)))
        }
        Source::Cifar10 { dir } => {
            let (train, test) = cifar::open(dir, spec, input)?;
            (Arc::new(train), None, Some(Arc::new(test)))
        }
        Source::Idx { dir, flavour } => {
            let (train, test) = idx::open(dir, *flavour, spec, input)?;
            (Arc::new(train), None, Some(Arc::new(test)))
        }
        Source::Folder { dir } => folder::open(dir, input)?,
    };
    split::splits(spec, train, held_out, test)
}

/// Decodes every image once, in parallel, and returns the first error by index. Worth its time before a long run on a
/// folder, whose images are otherwise decoded only when their turn comes.
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
