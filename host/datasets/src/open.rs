//! Opens the data that a specification names.

use std::path::Path;

use crate::samples::{self, Wanted};
use crate::split::{doubts, splits};
use crate::{
    DataError, DataSpec, InputSpec, Notes, Source, Splits, cifar, folder, idx, shapes, shards,
};

/// Tolerated percentage of unusable image files.
const MOST_SKIPPED: usize = 1;

/// Opens a data set for a model's input. Array data is read (or rendered) at once; folders are
/// listed, and both ends of their files inspected. More than one unusable image file in a hundred
/// is an error.
///
/// # Examples
/// ```
/// use datasets::{DataSpec, InputSpec, Loader, LoaderConfig};
///
/// let spec: DataSpec = "shapes:train=200,test=50,seed=1".parse()?;
/// let input = InputSpec::preset(spec.default_preset().name(), spec.natural_shape())?;
/// let splits = datasets::open(&spec, &input)?;
/// assert_eq!((splits.train.len(), splits.search.len(), splits.test.len()), (180, 20, 50));
///
/// let config = LoaderConfig {
///     batch: 64,
///     augment: spec.default_augment(),
///     ..LoaderConfig::default()
/// };
/// let loader = Loader::new(splits.train, config)?;
/// for batch in loader.epoch(0) {
///     let batch = batch?;
///     assert_eq!(batch.shape[1..], [3, 32, 32]);
///     assert_eq!(batch.labels.len(), batch.shape[0]);
/// }
/// # Ok::<(), datasets::DataError>(())
/// ```
pub fn open(spec: &DataSpec, input: &InputSpec) -> Result<Splits, DataError> {
    open_with(spec, input, false)
}

/// As [`open`]; `allow_skipped` tolerates any number of unusable image files.
pub fn open_with(
    spec: &DataSpec,
    input: &InputSpec,
    allow_skipped: bool,
) -> Result<Splits, DataError> {
    input.check()?;
    let (stored, notes) = match &spec.source {
        Source::Shapes => (shapes::open(spec, input)?, Notes::default()),
        Source::Cifar10 { dir } => (cifar::open(dir, spec, input)?, Notes::default()),
        Source::Idx { dir, flavour } => (idx::open(dir, *flavour, spec, input)?, Notes::default()),
        Source::Folder { dir } => {
            let (stored, notes) = folder::open(dir, input)?;
            refuse_skipped(&notes, dir, allow_skipped)?;
            (stored, notes)
        }
        Source::Shards { pattern } => {
            let (stored, notes) = shards::open_tars(pattern, input)?;
            refuse_skipped(&notes, pattern, allow_skipped)?;
            (stored, notes)
        }
        Source::Parquet { pattern } => {
            let (stored, notes) = shards::open_tables(pattern, input)?;
            refuse_skipped(&notes, pattern, allow_skipped)?;
            (stored, notes)
        }
        Source::Npz { .. }
        | Source::Npy { .. }
        | Source::Wav { .. }
        | Source::Csv { .. }
        | Source::Images { .. } => {
            let kind = spec.kind();
            let reason = format!("'{kind}' is not for this command: it reads images by class");
            return Err(DataError::Option {
                option: "data",
                reason,
            });
        }
    };
    let mut splits = splits(spec, stored)?;
    splits.notes = notes;
    splits.notes.warnings.extend(doubts(&splits));
    Ok(splits)
}

/// Refuses data with more unusable image files than are tolerated.
fn refuse_skipped(notes: &Notes, path: &Path, allow_skipped: bool) -> Result<(), DataError> {
    if notes.left_out() * 100 <= notes.files * MOST_SKIPPED || allow_skipped {
        return Ok(());
    }
    Err(DataError::TooManySkipped {
        path: path.to_owned(),
        skipped: notes.left_out(),
        files: notes.files,
        reasons: notes.reasons(),
    })
}

/// Opens samples for the inputs of any network, with the targets of its task. Files are listed and
/// their sizes checked at once, and read when they are needed.
///
/// # Errors
/// [`DataError::Unfit`] for a file that does not fit by name, rank, type or size;
/// [`DataError::Missing`] and [`DataError::Io`] for files that cannot be read.
pub fn open_samples(spec: &DataSpec, wanted: &Wanted) -> Result<Splits, DataError> {
    splits(spec, samples::open(spec, wanted)?)
}
