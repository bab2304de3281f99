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
mod survey;

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
pub use spec::{DataSpec, IdxFlavour, KINDS, Portion, Source};
pub use split::Subset;
pub use survey::{Notes, Skipped};

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

    /// A number that equal images share and others hardly ever, where images can be told apart without decoding them.
    fn mark(&self, _index: usize) -> Option<u64> {
        None
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
    /// What was left out, and what a user should know.
    pub notes: Notes,
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

/// Of a hundred image files, so many may be unusable unless that is allowed.
const MOST_SKIPPED: usize = 1;

/// Opens a data set for a model's input. Array data is read (or rendered) whole; folders are listed, and the ends of their files
/// looked at. More than one image file in a hundred that cannot be used is an error.
pub fn open(spec: &DataSpec, input: &InputSpec) -> Result<Splits, DataError> {
    open_with(spec, input, false)
}

/// As [`open`]; with `allow_skipped` however many image files cannot be used.
pub fn open_with(
    spec: &DataSpec,
    input: &InputSpec,
    allow_skipped: bool,
) -> Result<Splits, DataError> {
    input.check()?;
    let whole = |(train, test): (ArrayDataset, ArrayDataset)| -> (Parts, Notes) {
        let parts: Parts = (Arc::new(train), None, Some(Arc::new(test)));
        (parts, Notes::default())
    };
    let ((train, held_out, test), notes) = match &spec.source {
        Source::Shapes => whole(shapes::open(spec, input)?),
        Source::Cifar10 { dir } => whole(cifar::open(dir, spec, input)?),
        Source::Idx { dir, flavour } => whole(idx::open(dir, *flavour, spec, input)?),
        Source::Folder { dir } => {
            let (parts, notes) = folder::open(dir, input)?;
            if notes.left_out() * 100 > notes.files * MOST_SKIPPED && !allow_skipped {
                return Err(DataError::TooManySkipped {
                    path: dir.clone(),
                    skipped: notes.left_out(),
                    files: notes.files,
                    reasons: notes.reasons(),
                });
            }
            (parts, notes)
        }
    };
    let mut splits = split::splits(spec, train, held_out, test)?;
    splits.notes = notes;
    splits.notes.warnings.extend(split::doubts(&splits));
    Ok(splits)
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
