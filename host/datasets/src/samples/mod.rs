//! Samples for networks of any inputs: arrays by name, image and sound files with or without
//! labels, tables of paths.

mod arrays;
mod folders;
mod image;
mod listing;
mod mask;
mod npy;
mod record;
mod table;
mod wanted;
mod wav;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

pub use wanted::{Targets, TensorSpec, Wanted};

use crate::array::hex;
use crate::split::StoredSplits;
use crate::{DataError, DataSpec, Dataset, InputSpec, Source};
use record::{Inputs, Part, Record, Target, check_images, not_an_image};

/// Samples that are read when they are needed.
#[derive(Debug)]
pub struct SampleDataset {
    from: String,
    wanted: Wanted,
    records: Vec<Record>,
    classes: Vec<String>,
    input: InputSpec,
    hash: String,
}

impl SampleDataset {
    fn new(from: String, part: Part, wanted: &Wanted) -> Result<Self, DataError> {
        let Part {
            records,
            mut classes,
        } = part;
        let fail = |reason: String| DataError::Unfit {
            path: PathBuf::from(&from),
            reason,
        };
        if records.is_empty() {
            return Err(fail("it holds no sample".into()));
        }
        if wanted.targets == Targets::Class && records.iter().any(|r| r.label.is_none()) {
            return Err(fail("its samples have no class labels".into()));
        }
        let needs_target = wanted.targets.size() > 0;
        if needs_target && records.iter().any(|r| matches!(r.target, Target::None)) {
            let what = match wanted.targets {
                Targets::Mask { .. } => "masks",
                _ => "values to compare the outputs with",
            };
            return Err(fail(format!("its samples have no {what}")));
        }
        check_images(&records)?;
        if classes.is_empty() {
            classes.push(String::new());
        }
        let mut hasher = Sha256::new();
        for record in &records {
            hasher.update(format!("{:?}", record.described()));
            hasher.update([0]);
        }
        let input = input_spec(wanted, &records)?;
        Ok(Self {
            from,
            wanted: wanted.clone(),
            records,
            classes,
            input,
            hash: hex(&hasher.finalize()),
        })
    }
}

/// How the loader normalises: pixels as the user sets it, anything else not at all.
fn input_spec(wanted: &Wanted, records: &[Record]) -> Result<InputSpec, DataError> {
    let is_image = records.iter().any(|r| matches!(r.inputs, Inputs::Image(_)));
    match &wanted.inputs[..] {
        [input] if is_image => match input.dims[..] {
            [channels, height, width] => {
                let shape = [channels, height, width];
                wanted.preprocessing.input(wanted.preset, shape)
            }
            _ => Err(not_an_image(input)),
        },
        inputs => Ok(InputSpec {
            channels: 1,
            height: 1,
            width: inputs.iter().map(TensorSpec::size).sum(),
            ..InputSpec::default()
        }),
    }
}

impl Dataset for SampleDataset {
    fn len(&self) -> usize {
        self.records.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn image_shape(&self) -> [usize; 3] {
        self.input.shape()
    }

    fn label(&self, index: usize) -> usize {
        self.records[index].label.unwrap_or(0)
    }

    fn decode(&self, index: usize, out: &mut [f32]) -> Result<(), DataError> {
        match &self.records[index].inputs {
            Inputs::Image(path) => image::read(path, &self.input, out),
            Inputs::Sound(path) => wav::read(path, out),
            Inputs::Arrays(all) => {
                let mut rest = out;
                for (array, spec) in all.iter().zip(&self.wanted.inputs) {
                    let (own, others) = rest.split_at_mut(spec.size());
                    array.read(own)?;
                    rest = others;
                }
                Ok(())
            }
        }
    }

    fn target_len(&self) -> usize {
        self.wanted.targets.size()
    }

    fn target(&self, index: usize, out: &mut [f32]) -> Result<(), DataError> {
        match (&self.records[index].target, &self.wanted.targets) {
            (Target::Values(values), _) => out.copy_from_slice(values),
            (Target::Mask(path), Targets::Mask { dims, classes, .. }) => {
                let (height, width) = (dims.first(), dims.get(1));
                let size = (height.map_or(1, |&h| h), width.map_or(1, |&w| w));
                mask::read(path, &self.input, size, out)?;
                check_classes(path, out, *classes)?;
            }
            (Target::Arrays(all), Targets::Values(outputs)) => {
                let mut rest = out;
                for (array, spec) in all.iter().zip(outputs) {
                    let (own, others) = rest.split_at_mut(spec.size());
                    array.read(own)?;
                    rest = others;
                }
            }
            (Target::Arrays(all), Targets::Mask { classes, .. }) => {
                if let Some(array) = all.first() {
                    array.read(out)?;
                    check_classes(Path::new(&self.from), out, *classes)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn file(&self, index: usize) -> Option<&Path> {
        match &self.records[index].inputs {
            Inputs::Image(path) | Inputs::Sound(path) => Some(path),
            Inputs::Arrays(_) => None,
        }
    }

    fn identity(&self) -> String {
        format!(
            "'{}' ({} samples, sha256 of the list {})",
            self.from,
            self.len(),
            self.hash
        )
    }
}

/// Refuses class numbers that the network does not have; 255 does not count.
fn check_classes(path: &Path, numbers: &[f32], classes: usize) -> Result<(), DataError> {
    let most = classes as f32;
    match numbers
        .iter()
        .find(|&&class| class >= most && class != mask::IGNORED)
    {
        Some(class) => Err(arrays::unfit(
            path,
            format!("a mask names the class {class}, and the network has {classes} classes"),
        )),
        None => Ok(()),
    }
}

/// Opens the parts of the data.
pub(crate) fn open(spec: &DataSpec, wanted: &Wanted) -> Result<StoredSplits, DataError> {
    if wanted.inputs.is_empty() {
        return Err(DataError::Option {
            option: "data",
            reason: "the network has no input".into(),
        });
    }
    let array = matches!(spec.source, Source::Cifar10 { .. } | Source::Idx { .. });
    let Some(dir) = spec.dir().filter(|_| !array) else {
        let kind = spec.kind();
        let reason =
            format!("'{kind}' holds images by class, and nothing that this task compares with");
        return Err(DataError::Option {
            option: "data",
            reason,
        });
    };
    let dataset = |from: &std::path::Path, classes: Option<&[String]>| {
        let part = match &spec.source {
            Source::Csv { .. } => table::part(from, wanted)?,
            Source::Npz { .. } => folders::archives(from, wanted)?,
            Source::Npy { .. } => folders::arrays(from, wanted)?,
            Source::Wav { .. } => folders::sounds(from, wanted, classes)?,
            _ => folders::images(from, wanted, classes)?,
        };
        SampleDataset::new(from.display().to_string(), part, wanted)
    };
    let train = dir.join("train");
    if matches!(spec.source, Source::Csv { .. }) || !train.is_dir() {
        return Ok(StoredSplits {
            train: Arc::new(dataset(dir, None)?),
            validation: None,
            test: None,
        });
    }
    let train = dataset(&train, None)?;
    let classes = (!train.classes[0].is_empty()).then(|| train.classes.clone());
    let part = |names: &[&str]| -> Result<Option<Arc<dyn Dataset>>, DataError> {
        let Some(name) = names.iter().find(|name| dir.join(name).is_dir()) else {
            return Ok(None);
        };
        Ok(Some(Arc::new(dataset(
            &dir.join(name),
            classes.as_deref(),
        )?)))
    };
    let (validation, test) = (part(&["validation", "valid", "val"])?, part(&["test"])?);
    let train = Arc::new(train);
    Ok(StoredSplits::of_parts(train, validation, test))
}

/// Whether the data has a class for each sample.
///
/// # Errors
/// When the folder or the table cannot be read.
pub fn has_classes(spec: &DataSpec) -> Result<bool, DataError> {
    let Some(dir) = spec.dir() else {
        return Ok(true);
    };
    let train = dir.join("train");
    let part = if train.is_dir() { &*train } else { dir };
    match &spec.source {
        Source::Csv { .. } => table::has_labels(dir),
        Source::Npz { .. } => folders::has_label_array(part),
        Source::Npy { .. } => Ok(false),
        Source::Wav { .. } => folders::has_class_folders(part, listing::SOUNDS),
        Source::Images { .. } | Source::Folder { .. } => {
            folders::has_class_folders(part, listing::IMAGES)
        }
        Source::Shapes
        | Source::Cifar10 { .. }
        | Source::Idx { .. }
        | Source::Shards { .. }
        | Source::Parquet { .. } => Ok(true),
    }
}
