//! Tar files of images by class, as webdataset writes them: `KEY.jpg` (or `.png`) beside `KEY.cls`
//! or `KEY.json`.
//!
//! Opening reads the headers of the members, and both ends of each image. An image itself is read
//! where it lies, when a batch needs it, so an epoch holds no more of the data than its batches,
//! and of several processes each reads its own rows only.
//!
//! Parquet files of images are read alike: opening passes over all of them once.

mod index;
mod pattern;
mod sample;
mod table;
mod window;

use std::fs::File;
use std::io::{BufReader, Cursor};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{ImageReader, RgbImage};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::array::hex;
use crate::crop;
use crate::picture::{decode_image, write_planes};
use crate::split::StoredSplits;
use crate::survey::Tally;
use crate::{DataError, Dataset, InputSpec, Notes};
use index::index;
use sample::Sample;
use table::Table;
use window::Window;

/// The file beside the shards with the name of a class on each line.
const CLASSES: &str = "classes.txt";

/// What shards are.
#[derive(Debug)]
enum Content {
    Tars,
    /// Parquet files, all of them open.
    Tables(Vec<Table>),
}

impl Content {
    fn extension(&self) -> &'static str {
        match self {
            Self::Tars => "tar",
            Self::Tables(_) => "parquet",
        }
    }

    /// The same for other shards.
    fn of(&self, shards: &[PathBuf]) -> Result<Self, DataError> {
        Ok(match self {
            Self::Tars => Self::Tars,
            Self::Tables(_) => {
                let tables = shards.par_iter().map(|shard| Table::open(shard));
                Self::Tables(tables.collect::<Result<_, _>>()?)
            }
        })
    }

    fn index(&self, shard: (usize, &Path), tally: &mut Tally) -> Result<Vec<Sample>, DataError> {
        let (number, path) = shard;
        match self {
            Self::Tars => index((path, number), tally),
            Self::Tables(tables) => tables[number].index(number, tally),
        }
    }
}

/// Images in tar or Parquet files.
#[derive(Debug)]
struct ShardDataset {
    content: Content,
    pattern: PathBuf,
    shards: Vec<PathBuf>,
    samples: Vec<Sample>,
    classes: Vec<String>,
    input: InputSpec,
    hash: String,
}

impl ShardDataset {
    /// Lists the images of `shards`.
    fn open(
        (pattern, content): (&Path, Content),
        shards: Vec<PathBuf>,
        input: &InputSpec,
    ) -> Result<(Self, Notes), DataError> {
        let numbered: Vec<(usize, &PathBuf)> = shards.iter().enumerate().collect();
        let indexed: Vec<Result<(Vec<Sample>, Notes), DataError>> = numbered
            .into_par_iter()
            .map(|(number, shard)| {
                let mut tally = Tally::default();
                let samples = content.index((number, shard), &mut tally)?;
                Ok((samples, tally.notes()))
            })
            .collect();
        let (mut samples, mut notes) = (Vec::new(), Notes::default());
        for indexed in indexed {
            let (own, noted) = indexed?;
            samples.extend(own);
            notes.add(noted);
        }
        if samples.is_empty() {
            return Err(DataError::Unfit {
                path: pattern.to_owned(),
                reason: match content {
                    Content::Tars => format!(
                        "no shard holds an image with its class number beside it (KEY.jpg and KEY.cls); {}",
                        notes.reasons()
                    ),
                    Content::Tables(_) => {
                        format!(
                            "no file holds an image with its class number; {}",
                            notes.reasons()
                        )
                    }
                },
            });
        }
        let mut hasher = Sha256::new();
        for sample in &samples {
            let name = shards[sample.shard].file_name().unwrap_or_default();
            hasher.update(name.as_encoded_bytes());
            hasher.update(sample.start.to_le_bytes());
            hasher.update(sample.content_hash.to_le_bytes());
            hasher.update(sample.label.to_le_bytes());
        }
        let dataset = Self {
            content,
            pattern: pattern.to_owned(),
            shards,
            classes: Vec::new(),
            input: input.clone(),
            hash: hex(&hasher.finalize()),
            samples,
        };
        Ok((dataset, notes))
    }

    fn most(&self) -> usize {
        let labels = self.samples.iter().map(|sample| sample.label);
        labels.max().map_or(0, usize::from)
    }

    /// Decodes an image, and returns it with its name.
    fn image(&self, index: usize) -> Result<(RgbImage, PathBuf), DataError> {
        let sample = &self.samples[index];
        if let Content::Tables(tables) = &self.content {
            let (bytes, name) = tables[sample.shard].image(sample.start)?;
            let image = decode_image(ImageReader::new(Cursor::new(bytes)), &name)?;
            return Ok((image, name));
        }
        let shard = &self.shards[sample.shard];
        let file = File::open(shard)
            .map_err(|e| DataError::missing_or_io(shard, e, "a shard listed before"))?;
        let name = PathBuf::from(format!("{} at byte {}", shard.display(), sample.start));
        let window = Window::new(&file, sample.start, sample.length);
        let reader = ImageReader::new(BufReader::with_capacity(1 << 16, window));
        Ok((decode_image(reader, &name)?, name))
    }
}

impl Dataset for ShardDataset {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn image_shape(&self) -> [usize; 3] {
        self.input.shape()
    }

    fn label(&self, index: usize) -> usize {
        usize::from(self.samples[index].label)
    }

    fn decode(&self, index: usize, out: &mut [f32]) -> Result<(), DataError> {
        let (image, name) = self.image(index)?;
        let placement = crop::whole(image.dimensions(), &self.input);
        write_planes(&name, &image, &placement, &self.input, out)
    }

    fn decode_random_crop(
        &self,
        index: usize,
        rng: &mut ChaCha8Rng,
        out: &mut [f32],
    ) -> Result<(), DataError> {
        let (image, name) = self.image(index)?;
        let placement = crop::random(image.dimensions(), &self.input, rng);
        write_planes(&name, &image, &placement, &self.input, out)
    }

    fn content_hash(&self, index: usize) -> Option<u64> {
        self.samples.get(index).map(|sample| sample.content_hash)
    }

    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn identity(&self) -> String {
        format!(
            "{} shards '{}' ({} images, sha256 of the list {})",
            self.content.extension(),
            self.pattern.display(),
            self.len(),
            self.hash
        )
    }
}

/// Opens the parts of the tar files that `pattern` names, and notes the images that were left out.
pub(crate) fn open_tars(
    pattern: &Path,
    input: &InputSpec,
) -> Result<(StoredSplits, Notes), DataError> {
    open((pattern, &Content::Tars), input)
}

/// As [`open_tars`], for Parquet files.
pub(crate) fn open_tables(
    pattern: &Path,
    input: &InputSpec,
) -> Result<(StoredSplits, Notes), DataError> {
    open((pattern, &Content::Tables(Vec::new())), input)
}

fn open(
    (pattern, content): (&Path, &Content),
    input: &InputSpec,
) -> Result<(StoredSplits, Notes), DataError> {
    if ![1, 3].contains(&input.channels) {
        let images = [3, input.height, input.width];
        let data = format!("shards '{}'", pattern.display());
        return Err(DataError::mismatch(&data, images, input.shape()));
    }
    let parts = pattern::list(pattern, content.extension())?;
    let own = content.of(&parts.train)?;
    let (mut train, mut notes) = ShardDataset::open((pattern, own), parts.train, input)?;
    let mut others = Vec::new();
    for shards in [parts.validation, parts.test] {
        others.push(if shards.is_empty() {
            None
        } else {
            let own = content.of(&shards)?;
            let (part, noted) = ShardDataset::open((pattern, own), shards, input)?;
            notes.add(noted);
            Some(part)
        });
    }
    let classes = classes(pattern, &train)?;
    let share = |part: Option<ShardDataset>| -> Result<Option<Arc<dyn Dataset>>, DataError> {
        let Some(mut part) = part else {
            return Ok(None);
        };
        check(&part, &classes)?;
        part.classes.clone_from(&classes);
        Ok(Some(Arc::new(part)))
    };
    let test = share(others.pop().flatten())?;
    let validation = share(others.pop().flatten())?;
    check(&train, &classes)?;
    train.classes.clone_from(&classes);
    let stored = StoredSplits::of_parts(Arc::new(train), validation, test);
    Ok((stored, notes))
}

/// The names in `classes.txt` beside the shards, those in a table or, without either, the numbers
/// of the training data.
fn classes(pattern: &Path, train: &ShardDataset) -> Result<Vec<String>, DataError> {
    let folder = if pattern.is_dir() {
        pattern
    } else {
        pattern.parent().unwrap_or(Path::new("."))
    };
    let path = folder.join(CLASSES);
    if path.is_file() {
        let text = std::fs::read_to_string(&path).map_err(|e| DataError::io(&path, e))?;
        let names = text.lines().map(str::trim).filter(|name| !name.is_empty());
        return Ok(names.map(str::to_owned).collect());
    }
    if let Content::Tables(tables) = &train.content
        && let Some(names) = tables.first().and_then(Table::classes)
    {
        return Ok(names);
    }
    Ok((0..=train.most()).map(|label| label.to_string()).collect())
}

/// Refuses class numbers without a class.
fn check(part: &ShardDataset, classes: &[String]) -> Result<(), DataError> {
    let found = |sample: &&Sample| usize::from(sample.label) >= classes.len();
    match part.samples.iter().find(found) {
        Some(sample) => Err(DataError::Label {
            path: part.shards[sample.shard].clone(),
            record: part
                .samples
                .iter()
                .filter(|other| other.shard == sample.shard && other.start < sample.start)
                .count(),
            label: usize::from(sample.label),
            classes: classes.len(),
        }),
        None => Ok(()),
    }
}
