//! Data specifications in text form: `cifar10:DIR`, `shapes:train=20000,seed=1`, ...

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Augment, ColourJitter, DataError, Preset};

/// Accepted forms of a [`DataSpec`].
pub const KINDS: &str = "shapes, cifar10:DIR, mnist:DIR, fashion-mnist:DIR, idx:DIR, folder:DIR, wds:SHARDS, parquet:FILES, images:DIR, \
                     npz:DIR, npy:DIR, wav:DIR or csv:FILE, each with optional ,train=N ,test=N ,search=N (or a fraction) ,seed=N \
                     ,resize=N ,pad=N";

/// Source of the records.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// Built-in data: ten rendered classes of shapes in clutter.
    Shapes,
    /// CIFAR-10's binary version: `data_batch_*.bin`, `test_batch.bin`, optionally
    /// `batches.meta.txt`.
    Cifar10 {
        /// Folder of the files.
        dir: PathBuf,
    },
    /// IDX files, gzipped or not: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
    /// `t10k-...`.
    Idx {
        /// Folder of the files.
        dir: PathBuf,
        /// Determines class names and augmentation.
        flavour: IdxFlavour,
    },
    /// One folder of images per class, below `train/`, `test/` and optionally `validation/`, or
    /// directly in `dir`.
    Folder {
        /// The outer folder.
        dir: PathBuf,
    },
    /// Tar files of images by class, as webdataset writes them.
    Shards {
        /// A folder of tar files or, for one part, their path with `{000..146}` or `*` in its
        /// last component.
        pattern: PathBuf,
    },
    /// Parquet files of images by class, as Hugging Face's datasets have them.
    Parquet {
        /// A folder of files or, for one part, their path with `{000..146}` or `*` in its last
        /// component.
        pattern: PathBuf,
    },
    /// Image files without labels, or in class folders, or in `images` beside `masks`.
    Images {
        /// The outer folder.
        dir: PathBuf,
    },
    /// NumPy archives with an array for each input, by its name.
    Npz {
        /// Folder of the files.
        dir: PathBuf,
    },
    /// NumPy arrays of the only input, or in a folder for each input.
    Npy {
        /// Folder of the files.
        dir: PathBuf,
    },
    /// WAV files without labels, or in class folders.
    Wav {
        /// The outer folder.
        dir: PathBuf,
    },
    /// A table of paths with labels, values or masks.
    Csv {
        /// The table.
        file: PathBuf,
    },
}

/// Kind of data in an IDX folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdxFlavour {
    /// Handwritten digits.
    Mnist,
    /// Clothing.
    FashionMnist,
    /// Any data: the training labels determine the number of classes.
    Plain,
}

/// A part of a whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Portion {
    /// A fraction strictly between 0 and 1.
    Fraction(f64),
    /// A number of records.
    Count(usize),
}

impl Portion {
    /// Returns the number of records out of `total`.
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Fraction(fraction) => (fraction * total as f64).round() as usize,
            Self::Count(count) => count,
        }
    }
}

/// Data source, size and splits. Parsed from text and written as text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DataSpec {
    /// Source of the records.
    pub source: Source,
    /// Most training records, including the search split; for shapes, the number to render.
    pub train: Option<usize>,
    /// Most test records.
    pub test: Option<usize>,
    /// Training records held out for the search.
    pub search: Portion,
    /// Seed of the splits and of rendered shapes.
    pub seed: u64,
    /// Resizes images to N x N (array data only).
    pub resize: Option<usize>,
    /// Pads images with black to N x N, after `resize` (array data only).
    pub pad: Option<usize>,
}

impl DataSpec {
    /// Creates a specification with default options.
    pub fn new(source: Source) -> Self {
        Self {
            source,
            train: None,
            test: None,
            search: Portion::Fraction(0.1),
            seed: 0,
            resize: None,
            pad: None,
        }
    }

    /// Short name of the kind: `shapes`, `cifar10`, `npz`, ...
    pub fn kind(&self) -> &'static str {
        match &self.source {
            Source::Shapes => "shapes",
            Source::Cifar10 { .. } => "cifar10",
            Source::Idx {
                flavour: IdxFlavour::Mnist,
                ..
            } => "mnist",
            Source::Idx {
                flavour: IdxFlavour::FashionMnist,
                ..
            } => "fashion-mnist",
            Source::Idx {
                flavour: IdxFlavour::Plain,
                ..
            } => "idx",
            Source::Folder { .. } => "folder",
            Source::Shards { .. } => "wds",
            Source::Parquet { .. } => "parquet",
            Source::Images { .. } => "images",
            Source::Npz { .. } => "npz",
            Source::Npy { .. } => "npy",
            Source::Wav { .. } => "wav",
            Source::Csv { .. } => "csv",
        }
    }

    /// Folder of the data, or its table; `None` for shapes.
    pub fn dir(&self) -> Option<&std::path::Path> {
        match &self.source {
            Source::Shapes => None,
            Source::Cifar10 { dir }
            | Source::Idx { dir, .. }
            | Source::Folder { dir }
            | Source::Images { dir }
            | Source::Npz { dir }
            | Source::Npy { dir }
            | Source::Wav { dir } => Some(dir),
            Source::Csv { file } => Some(file),
            Source::Shards { pattern } | Source::Parquet { pattern } => Some(pattern),
        }
    }

    /// Whether the source holds images by class and nothing else.
    pub fn is_images_by_class(&self) -> bool {
        matches!(
            self.source,
            Source::Shapes
                | Source::Cifar10 { .. }
                | Source::Idx { .. }
                | Source::Folder { .. }
                | Source::Shards { .. }
                | Source::Parquet { .. }
        )
    }

    /// Channels, height and width of the data, for a network built to fit it. Photographs count
    /// as 224 x 224, as usual for ImageNet.
    pub fn natural_shape(&self) -> [usize; 3] {
        let (channels, side) = match &self.source {
            Source::Shapes | Source::Cifar10 { .. } => (3, 32),
            Source::Idx { .. } => (1, 28),
            _ => (3, 224),
        };
        let side = self.pad.or(self.resize).unwrap_or(side);
        [channels, side, side]
    }

    /// Normalisation preset for this data if the model does not determine one.
    pub fn default_preset(&self) -> Preset {
        match self.kind() {
            "cifar10" => Preset::Cifar10,
            "mnist" | "fashion-mnist" => Preset::Mnist,
            "folder" | "wds" | "parquet" | "images" | "csv" => Preset::Imagenet,
            _ => Preset::Half,
        }
    }

    /// Augmentation that suits this data: digits are not mirrored, photographs get random resized
    /// crops.
    pub fn default_augment(&self) -> Augment {
        let none = Augment::none();
        match self.kind() {
            "cifar10" => Augment {
                crop_pad: 4,
                flip: true,
                ..none
            },
            "shapes" | "fashion-mnist" => Augment {
                crop_pad: 2,
                flip: true,
                ..none
            },
            "folder" | "wds" | "parquet" => Augment {
                random_resized_crop: true,
                flip: true,
                colour: Some(ColourJitter::default()),
                ..none
            },
            "mnist" | "idx" => Augment {
                crop_pad: 2,
                ..none
            },
            // A mask or a value of a changed image would be another one.
            _ => none,
        }
    }
}

impl FromStr for DataSpec {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let fail = |reason: String| DataError::Spec {
            text: text.to_owned(),
            reason,
        };
        let trimmed = text.trim();
        let (kind, rest) = match trimmed.split_once([':', ',']) {
            Some((kind, rest)) => (kind, rest),
            None => (trimmed, ""),
        };
        // Folder names may contain commas: only trailing parts with a known key are options.
        let mut dir = rest;
        let mut options = Vec::new();
        loop {
            let (head, tail) = dir.rsplit_once(',').unwrap_or(("", dir));
            let Some((key, value)) = tail.split_once('=') else {
                break;
            };
            let known = ["train", "test", "search", "seed", "resize", "pad"].contains(&key);
            if !known {
                if kind == "shapes" {
                    return Err(fail(format!("unknown option '{key}'; accepted: {KINDS}")));
                }
                break;
            }
            options.push((key, value));
            dir = head;
            if dir.is_empty() {
                break;
            }
        }
        let needs_dir = || {
            if dir.is_empty() {
                Err(fail(format!("needs a folder, as {kind}:DIR")))
            } else {
                Ok(PathBuf::from(dir))
            }
        };
        let source = match kind {
            "shapes" if dir.is_empty() => Source::Shapes,
            "shapes" => return Err(fail(format!("'{dir}' is not an option; accepted: {KINDS}"))),
            "cifar10" => Source::Cifar10 { dir: needs_dir()? },
            "mnist" => Source::Idx {
                dir: needs_dir()?,
                flavour: IdxFlavour::Mnist,
            },
            "fashion-mnist" => Source::Idx {
                dir: needs_dir()?,
                flavour: IdxFlavour::FashionMnist,
            },
            "idx" => Source::Idx {
                dir: needs_dir()?,
                flavour: IdxFlavour::Plain,
            },
            "folder" => Source::Folder { dir: needs_dir()? },
            "wds" => Source::Shards {
                pattern: needs_dir()?,
            },
            "parquet" => Source::Parquet {
                pattern: needs_dir()?,
            },
            "images" => Source::Images { dir: needs_dir()? },
            "npz" => Source::Npz { dir: needs_dir()? },
            "npy" => Source::Npy { dir: needs_dir()? },
            "wav" => Source::Wav { dir: needs_dir()? },
            "csv" => Source::Csv { file: needs_dir()? },
            _ => {
                return Err(fail(format!(
                    "'{kind}' is no kind of data; accepted: {KINDS}"
                )));
            }
        };
        let mut spec = Self::new(source);
        for (key, value) in options.into_iter().rev() {
            let number = || {
                value
                    .parse::<usize>()
                    .map_err(|_| fail(format!("{key}={value}: not a whole number")))
            };
            let positive = || match number()? {
                0 => Err(fail(format!("{key}=0: must be at least 1"))),
                n => Ok(n),
            };
            match key {
                "train" => spec.train = Some(positive()?),
                "test" => spec.test = Some(positive()?),
                "seed" => spec.seed = number()? as u64,
                "resize" => spec.resize = Some(positive()?),
                "pad" => spec.pad = Some(positive()?),
                _ => {
                    spec.search = if value.contains('.') {
                        match value.parse::<f64>() {
                            Ok(f) if f > 0.0 && f < 1.0 => Portion::Fraction(f),
                            _ => {
                                return Err(fail(format!(
                                    "search={value}: a fraction lies between 0 and 1"
                                )));
                            }
                        }
                    } else {
                        Portion::Count(positive()?)
                    };
                }
            }
        }
        Ok(spec)
    }
}

impl fmt::Display for DataSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        let mut separator = ':';
        if let Some(dir) = self.dir() {
            write!(f, ":{}", dir.display())?;
            separator = ',';
        }
        let mut option = |key: &str, value: Option<String>| {
            let Some(value) = value else { return Ok(()) };
            write!(f, "{separator}{key}={value}")?;
            separator = ',';
            Ok(())
        };
        option("train", self.train.map(|v| v.to_string()))?;
        option("test", self.test.map(|v| v.to_string()))?;
        option(
            "search",
            match self.search {
                Portion::Fraction(0.1) => None,
                Portion::Fraction(fraction) => Some(fraction.to_string()),
                Portion::Count(count) => Some(count.to_string()),
            },
        )?;
        option("seed", (self.seed != 0).then(|| self.seed.to_string()))?;
        option("resize", self.resize.map(|v| v.to_string()))?;
        option("pad", self.pad.map(|v| v.to_string()))
    }
}

impl TryFrom<String> for DataSpec {
    type Error = DataError;

    fn try_from(text: String) -> Result<Self, DataError> {
        text.parse()
    }
}

impl From<DataSpec> for String {
    fn from(spec: DataSpec) -> Self {
        spec.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specification_survives_a_round_trip() {
        let check = |text: &str, kind: &str, dir: Option<&str>| {
            let spec: DataSpec = text.parse().unwrap();
            assert_eq!(spec.kind(), kind, "{text}");
            assert_eq!(spec.dir().map(|d| d.to_str().unwrap()), dir, "{text}");
            assert_eq!(spec.to_string(), text);
            let json = serde_json::to_string(&spec).unwrap();
            assert_eq!(serde_json::from_str::<DataSpec>(&json).unwrap(), spec);
        };
        check("shapes", "shapes", None);
        check("shapes:train=20000,test=4000,seed=1", "shapes", None);
        check("cifar10:a/b", "cifar10", Some("a/b"));
        check("mnist:C:/digits,search=500", "mnist", Some("C:/digits"));
        check(
            "fashion-mnist:x,search=0.25,resize=32",
            "fashion-mnist",
            Some("x"),
        );
        check("idx:x,resize=28,pad=32", "idx", Some("x"));
        check(
            "wds:a/t-{00..12}.tar,seed=1",
            "wds",
            Some("a/t-{00..12}.tar"),
        );
        check("folder:a,b=c,d,seed=3", "folder", Some("a,b=c,d"));
    }

    #[test]
    fn an_invalid_specification_lists_the_accepted_forms() {
        let check = |text: &str, part: &str| {
            let error = text.parse::<DataSpec>().unwrap_err().to_string();
            assert!(
                error.contains(part) && error.contains(text),
                "{text}: {error}"
            );
        };
        check("", "cifar10:DIR");
        check("imagenet:x", "folder:DIR");
        check("cifar10", "cifar10:DIR");
        check("cifar10:", "needs a folder");
        check("cifar10:train=5", "needs a folder");
        check("shapes:x", "'x' is not an option");
        check("shapes:tren=5", "unknown option 'tren'");
        check("shapes:train=five", "not a whole number");
        check("shapes:train=0", "at least 1");
        check("shapes:search=1.5", "between 0 and 1");
    }
}
