//! Errors of this crate.

use std::path::{Path, PathBuf};

/// What can be wrong with data. Every variant names the file, class or option it is about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The text of a data specification is not understood.
    #[error("data '{text}': {reason}")]
    Spec {
        /// The text.
        text: String,
        /// What is wrong and what is accepted.
        reason: String,
    },
    /// An option of the input, the loader or the augmentation makes no sense.
    #[error("{option}: {reason}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A file or folder is not there.
    #[error("'{}' is missing: expected {expected}", path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
        /// What should have been there.
        expected: String,
    },
    /// The operating system could not read something.
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
    /// A file starts with other bytes than its format requires.
    #[error("'{}' starts with {found:#010x}, not {expected:#010x}: not {what}", path.display())]
    Magic {
        /// The file.
        path: PathBuf,
        /// What it starts with.
        found: u32,
        /// What it should start with.
        expected: u32,
        /// The format.
        what: &'static str,
    },
    /// A compressed file does not decompress.
    #[error("'{}' is corrupt: {reason}; fetch it again", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What the decompressor said.
        reason: String,
    },
    /// A record has a label that is no class.
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
    /// A class folder holds no image.
    #[error(
        "class folder '{}' holds no JPEG or PNG image that can be used{}{holds}; remove the folder or fill it",
        path.display(),
        if holds.is_empty() { "" } else { ", only " }
    )]
    EmptyClass {
        /// The folder.
        path: PathBuf,
        /// Images that it holds and that cannot be used, in words.
        holds: String,
    },
    /// Too many image files cannot be used.
    #[error(
        "{skipped} of {files} image files in '{}' cannot be used: {reasons}. Repair, convert or remove them; to go on without \
         them: --allow-skipped (allow_skipped in the configuration)",
        path.display()
    )]
    TooManySkipped {
        /// The outer folder.
        path: PathBuf,
        /// Those that cannot be used.
        skipped: usize,
        /// All of them.
        files: usize,
        /// Why, with examples.
        reasons: String,
    },
    /// A folder of images has no usable structure.
    #[error("'{}' is not a folder of images per class: {reason}", path.display())]
    Layout {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// An image does not decode.
    #[error("image '{}' is broken: {reason}; remove or replace it", path.display())]
    BrokenImage {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
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
        /// What to do.
        hint: String,
    },
    /// The splits cannot be made as asked.
    #[error("cannot split {data}: {reason}")]
    Split {
        /// The data set.
        data: String,
        /// Why not.
        reason: String,
    },
    /// A worker thread of the loader failed.
    #[error("loading batch {batch} of epoch {epoch} failed: {reason}")]
    Worker {
        /// The epoch.
        epoch: u64,
        /// The batch.
        batch: usize,
        /// What was caught.
        reason: String,
    },
}

impl DataError {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_path_buf(),
            source,
        }
    }
}

fn shape_text(shape: &[usize; 3]) -> String {
    let [channels, height, width] = shape;
    let plural = if *channels == 1 { "" } else { "s" };
    format!("{channels} channel{plural} of {height}x{width}")
}
