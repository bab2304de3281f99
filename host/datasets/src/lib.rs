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
//! - Images are `f32` in NCHW order, normalised by [`InputSpec`], which follows from the user's
//!   [`Preprocessing`]. Data is never silently adapted to a model of another shape: that is
//!   [`DataError::InputMismatch`].
//! - Dropping an unfinished epoch stops and joins its worker threads.
//!
//! Out of scope: downloads, tensors of any framework.

#![forbid(unsafe_code)]

mod array;
mod augment;
mod cifar;
mod crop;
mod dataset;
mod error;
mod folder;
mod geometry;
mod idx;
mod input;
mod loader;
mod open;
mod picture;
mod png;
mod preprocessing;
mod resize;
mod samples;
mod scale;
mod shapes;
mod shards;
mod sheet;
mod spec;
mod split;
mod survey;

pub use array::ArrayDataset;
pub use augment::{Augment, ColourJitter};
pub use dataset::{Dataset, image_sizes, unreadable, verify};
pub use error::DataError;
pub use folder::FolderDataset;
pub use geometry::{Geometry, Sizing};
pub use input::{ChannelOrder, InputSpec, Normalise};
pub use loader::{Batch, Epoch, Loader, LoaderConfig};
pub use open::{open, open_samples, open_with};
pub use png::encode_png;
pub use preprocessing::{Fit, Preprocessing, Preset};
pub use resize::Resize;
pub use samples::{SampleDataset, Targets, TensorSpec, Wanted, has_classes};
pub use scale::{Filter, Interpolation};
pub use shapes::{SHAPE_CLASSES, render_shape};
pub use sheet::{Line, Tile, Tone, contact_sheet};
pub use spec::{DataSpec, IdxFlavour, KINDS, Portion, Source};
pub use split::{Splits, Subset};
pub use survey::{Notes, Skipped};
