//! Errors of this crate.

use std::path::{Path, PathBuf};

/// Errors of reading data. Every variant names the file, class or option.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A data specification does not parse.
    #[error("data '{text}': {reason}")]
    Spec {
        /// The text.
        text: String,
        /// The fault and the accepted forms.
        reason: String,
    },
    /// An option of the input, the loader or the augmentation is invalid.
    #[error("{option}: {reason}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// The fault.
        reason: String,
    },
    /// A file or folder is missing.
    #[error("'{}' is missing: expected {expected}", path.display())]
    Missing {
        /// The missing file or folder.
        path: PathBuf,
        /// Its expected content.
        expected: String,
    },
    /// Reading a file or folder failed.
    #[error("cannot read '{}': {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file ends early or has trailing bytes.
    #[error("'{}' is truncated or not in the expected format: {reason}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The sizes that do not fit.
        reason: String,
    },
    /// A file does not start with the magic number of its format.
    #[error("'{}' starts with {found:#010x}, not {expected:#010x}: not {what}", path.display())]
    Magic {
        /// The file.
        path: PathBuf,
        /// Its first bytes.
        found: u32,
        /// The magic number.
        expected: u32,
        /// The format.
        what: &'static str,
    },
    /// A compressed file does not decompress.
    #[error("'{}' is corrupt: {reason}; fetch it again", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Error of the decompressor.
        reason: String,
    },
    /// The label of a record is not a class.
    #[error("record {record} of '{}' has label {label}, but there are {classes} classes", path.display())]
    Label {
        /// The file.
        path: PathBuf,
        /// Index of the record in the file.
        record: usize,
        /// The label.
        label: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A class folder contains no usable image.
    #[error(
        "class folder '{}' holds no JPEG or PNG image that can be used{}{holds}; remove the folder or fill it",
        path.display(),
        if holds.is_empty() { "" } else { ", only " }
    )]
    EmptyClass {
        /// The folder.
        path: PathBuf,
        /// Its unusable images, in words.
        holds: String,
    },
    /// Too many image files are unusable.
    #[error(
        "{skipped} of {files} image files in '{}' cannot be used: {reasons}. Repair, convert or remove them; to continue without \
         them: --allow-skipped (allow_skipped in the configuration)",
        path.display()
    )]
    TooManySkipped {
        /// The outer folder.
        path: PathBuf,
        /// Number of unusable image files.
        skipped: usize,
        /// Number of image files.
        files: usize,
        /// Reasons with examples.
        reasons: String,
    },
    /// A folder of images has no usable structure.
    #[error("'{}' is not a folder of images per class: {reason}", path.display())]
    Layout {
        /// The folder.
        path: PathBuf,
        /// The missing part.
        reason: String,
    },
    /// An image does not decode.
    #[error("image '{}' is broken: {reason}; remove or replace it", path.display())]
    BrokenImage {
        /// The file.
        path: PathBuf,
        /// Error of the decoder.
        reason: String,
    },
    /// A file does not fit what the network takes, or what its task compares with.
    #[error("'{}' does not fit: {reason}", path.display())]
    Unfit {
        /// The file or folder.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The data's images do not fit the model's input.
    #[error(
        "the model takes {}, but {data} has images of {}: {hint}",
        shape_text(model),
        shape_text(images)
    )]
    InputMismatch {
        /// The data set.
        data: String,
        /// The model's input: channels, height, width.
        model: [usize; 3],
        /// The data's images: channels, height, width.
        images: [usize; 3],
        /// Suggested remedy.
        hint: String,
    },
    /// The requested splits are impossible.
    #[error("cannot split {data}: {reason}")]
    Split {
        /// The data set.
        data: String,
        /// The reason.
        reason: String,
    },
    /// A worker thread of the loader failed.
    #[error("loading batch {batch} of epoch {epoch} failed: {reason}")]
    Worker {
        /// The epoch.
        epoch: u64,
        /// The batch.
        batch: usize,
        /// Message of the panic.
        reason: String,
    },
}

impl DataError {
    pub(crate) fn option(option: &'static str, reason: impl Into<String>) -> Self {
        Self::Option {
            option,
            reason: reason.into(),
        }
    }

    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_path_buf(),
            source,
        }
    }

    /// [`DataError::Missing`] if `source` is "not found", otherwise [`DataError::Io`].
    pub(crate) fn missing_or_io(path: &Path, source: std::io::Error, expected: &str) -> Self {
        match source.kind() {
            std::io::ErrorKind::NotFound => Self::Missing {
                path: path.to_path_buf(),
                expected: expected.to_owned(),
            },
            _ => Self::io(path, source),
        }
    }

    /// [`DataError::InputMismatch`] with a remedy.
    pub(crate) fn mismatch(data: &str, images: [usize; 3], model: [usize; 3]) -> Self {
        let hint = if images[0] != model[0] {
            "grey and colour are not converted into one another unless --grey (input.grey) asks for it; or choose data or a model with as many channels".to_owned()
        } else if model[1] == model[2] {
            let side = model[1];
            let pad = if images[1] <= side && images[2] <= side {
                format!(" or ,pad={side}")
            } else {
                String::new()
            };
            format!("to adapt the images, add ,resize={side}{pad} to the data option")
        } else {
            "choose data or a model of the other's size".to_owned()
        };
        Self::InputMismatch {
            data: data.to_owned(),
            model,
            images,
            hint,
        }
    }
}

fn shape_text(shape: &[usize; 3]) -> String {
    let [channels, height, width] = shape;
    let plural = if *channels == 1 { "" } else { "s" };
    format!("{channels} channel{plural} of {height}x{width}")
}
