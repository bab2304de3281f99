//! Data for networks: images by class, and samples of any inputs with or without targets. Reading,
//! splitting, augmenting and loading in parallel with training.
//!
//! [`open`] turns a [`DataSpec`] (`shapes`, `cifar10:DIR`, `mnist:DIR`, `folder:DIR`, ...) and an
//! [`InputSpec`] (the model's input) into [`Splits`]; [`open_samples`] does so for the inputs and
//! targets of any network ([`Wanted`]). A [`Loader`] turns a split into batches.
//!
//! Invariants:
//! - The three splits share no record. `search` is held out of the training data (stratified by
//!   class, seeded) or is the data set's own validation part; `test` is the data set's own test
//!   part if it has one.
//! - Batches depend only on (spec, input, loader seed, epoch), never on the number of workers or
//!   on timing.
//! - Images are `f32` in NCHW order, normalised by [`InputSpec`]. Data is never silently adapted
//!   to a model of another shape: that is [`DataError::InputMismatch`].
//! - Dropping an unfinished epoch stops and joins its worker threads.
//!
//! Out of scope: downloads, tensors of any framework.

#![forbid(unsafe_code)]

mod array;
mod augment;
mod cifar;
mod dataset;
mod error;
mod folder;
mod idx;
mod input;
mod loader;
mod open;
mod png;
mod samples;
mod scale;
mod shapes;
mod shards;
mod spec;
mod split;
mod survey;

pub use array::ArrayDataset;
pub use augment::{Augment, ColourJitter};
pub use dataset::{Dataset, verify};
pub use error::DataError;
pub use folder::FolderDataset;
pub use input::{InputSpec, Normalise, PRESETS, PixelScale};
pub use loader::{Batch, Epoch, Loader, LoaderConfig};
pub use open::{open, open_samples, open_with};
pub use png::write_png;
pub use samples::{SampleDataset, Targets, TensorSpec, Wanted, has_classes};
pub use shapes::{SHAPE_CLASSES, render_shape};
pub use spec::{DataSpec, IdxFlavour, KINDS, Portion, Source};
pub use split::{Splits, Subset};
pub use survey::{Notes, Skipped};
