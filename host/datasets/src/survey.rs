//! Classifies the files of a folder: usable images, unusable images with reasons, other files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use image::{ImageFormat, ImageReader};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::DataError;

/// Extensions of image files, readable or not.
const EXTENSIONS: [&str; 22] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff",
    "avif", "heic", "heif", "jp2", "jxl", "ico", "tga", "ppm", "pgm", "qoi",
];

/// Bytes at each end of a file that identify it.
const SAMPLE: usize = 4096;

/// Most examples listed per reason.
const EXAMPLES: usize = 3;

/// Files left out for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Skipped {
    /// The reason, as a plural: "cut-off JPEG images".
    pub reason: String,
    /// Number of files.
    pub count: usize,
    /// The first files.
    pub examples: Vec<String>,
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let more = if self.count > self.examples.len() {
            ", ..."
        } else {
            ""
        };
        write!(
            f,
            "{} {} ({}{more})",
            self.count,
            self.reason,
            self.examples.join(", ")
        )
    }
}

/// Observations made while opening data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notes {
    /// Number of image files, usable or not; 0 for data in other files.
    pub files: usize,
    /// Image files that are left out.
    pub skipped: Vec<Skipped>,
    /// Files that are left out because they are not images.
    pub others: Vec<Skipped>,
    /// Faults of the data that make accuracies doubtful.
    pub warnings: Vec<String>,
}

impl Notes {
    /// Number of image files that are left out.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.skipped.iter().map(|s| s.count).sum()
    }

    /// The reasons in words.
    #[must_use]
    pub fn reasons(&self) -> String {
        let all: Vec<String> = self.skipped.iter().map(ToString::to_string).collect();
        all.join("; ")
    }

    /// Adds the notes of another part of the data.
    pub(crate) fn add(&mut self, other: Self) {
        self.files += other.files;
        for (mine, theirs) in [
            (&mut self.skipped, other.skipped),
            (&mut self.others, other.others),
        ] {
            for new in theirs {
                match mine.iter_mut().find(|s| s.reason == new.reason) {
                    Some(held) => {
                        held.count += new.count;
                        held.examples.extend(new.examples);
                        held.examples.truncate(EXAMPLES);
                    }
                    None => mine.push(new),
                }
            }
        }
        self.warnings.extend(other.warnings);
    }
}

/// Counts files by verdict.
#[derive(Default)]
pub(crate) struct Tally {
    files: usize,
    skipped: BTreeMap<String, Skipped>,
    others: BTreeMap<String, Skipped>,
}

impl Tally {
    /// Counts a file; returns its content hash if it is usable.
    pub fn count(&mut self, path: &Path, verdict: Verdict) -> Option<u64> {
        let (by_reason, reason) = match verdict {
            Verdict::Image(content_hash) => {
                self.files += 1;
                return Some(content_hash);
            }
            Verdict::Unusable(reason) => {
                self.files += 1;
                (&mut self.skipped, reason)
            }
            Verdict::NoImage => (&mut self.others, "files that are no images".to_owned()),
        };
        let entry = by_reason.entry(reason.clone()).or_default();
        entry.reason = reason;
        entry.count += 1;
        if entry.examples.len() < EXAMPLES {
            entry.examples.push(path.display().to_string());
        }
        None
    }

    pub fn notes(self) -> Notes {
        Notes {
            files: self.files,
            skipped: self.skipped.into_values().collect(),
            others: self.others.into_values().collect(),
            warnings: Vec::new(),
        }
    }

    /// The reasons so far, in words.
    pub fn reasons(&self) -> String {
        let all: Vec<String> = self.skipped.values().map(ToString::to_string).collect();
        all.join("; ")
    }
}

/// Result of examining a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A complete JPEG or PNG with the extension of any image, and its content hash.
    Image(u64),
    /// An unusable image, with the reason as a plural.
    Unusable(String),
    /// Not an image.
    NoImage,
}

/// Returns whether the file has the extension of an image.
pub(crate) fn named_as_image(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str())
}

/// Classifies a file by its content and checks that it is complete.
pub(crate) fn examine(path: &Path) -> Result<Verdict, DataError> {
    let fail = |e| DataError::io(path, e);
    let mut file = File::open(path).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    examine_in(&mut file, length, path)
}

/// As [`examine`], for `length` bytes that are a file of the name `path` in another file.
pub(crate) fn examine_in<S: Read + Seek>(
    file: &mut S,
    length: u64,
    path: &Path,
) -> Result<Verdict, DataError> {
    examine_as(file, length, (path, named_as_image(path)))
}

/// As [`examine_in`], for bytes whose place says whether they are an image, `named`.
pub(crate) fn examine_as<S: Read + Seek>(
    file: &mut S,
    length: u64,
    (path, named): (&Path, bool),
) -> Result<Verdict, DataError> {
    let fail = |e| DataError::io(path, e);
    let whole = |file: &mut S| {
        let mut bytes = Vec::new();
        let read = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
        read.map(|_| bytes).map_err(fail)
    };
    let mut head = Vec::new();
    file.by_ref()
        .take(SAMPLE as u64)
        .read_to_end(&mut head)
        .map_err(fail)?;
    let format = match image::guess_format(&head) {
        Ok(format @ (ImageFormat::Jpeg | ImageFormat::Png)) => format,
        // Short magic numbers such as BM begin many files, so the extension must agree.
        Ok(other) if named => {
            return Ok(Verdict::Unusable(format!(
                "{} images (only JPEG and PNG are read)",
                name_of(other)
            )));
        }
        _ if named && length == 0 => return Ok(Verdict::Unusable("empty image files".into())),
        _ if named => {
            let kind = path.extension().unwrap_or_default().to_string_lossy();
            let kind = kind.to_ascii_lowercase();
            return Ok(Verdict::Unusable(match &*kind {
                "" => "images that are neither JPEG nor PNG".into(),
                kind => format!("files named .{kind} that hold no JPEG or PNG image"),
            }));
        }
        _ => return Ok(Verdict::NoImage),
    };
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(SAMPLE as u64)))
        .and_then(|_| file.read_to_end(&mut tail))
        .map_err(fail)?;
    let name = name_of(format);
    // Decoders fill missing parts with grey without an error.
    let complete = match format {
        ImageFormat::Jpeg => tail.ends_with(&[0xff, 0xd9]) || jpeg_ends(&whole(file)?),
        _ => tail.ends_with(b"\0\0\0\0IEND\xaeB`\x82") || png_ends(&whole(file)?),
    };
    if !complete {
        return Ok(Verdict::Unusable(format!("cut-off {name} images")));
    }
    if !named {
        return Ok(Verdict::Unusable(format!(
            "{name} images without an image's extension"
        )));
    }
    file.rewind().map_err(fail)?;
    let size = ImageReader::new(BufReader::new(file))
        .with_guessed_format()
        .map_err(fail)?
        .into_dimensions();
    match size {
        Ok((width, height)) if width > 0 && height > 0 => {}
        _ => return Ok(Verdict::Unusable(format!("broken {name} images"))),
    }
    let mut hash = Sha256::new();
    hash.update(length.to_le_bytes());
    hash.update(&head);
    hash.update(&tail);
    let mut content_hash = [0; 8];
    content_hash.copy_from_slice(&hash.finalize()[..8]);
    Ok(Verdict::Image(u64::from_le_bytes(content_hash)))
}

/// Lists all files below `dir`, sorted.
pub(crate) fn files_below(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|e| DataError::io(&folder, e))? {
            let entry = entry.map_err(|e| DataError::io(&folder, e))?;
            // Links are not followed: they could form a cycle.
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                folders.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

fn name_of(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Png => "PNG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Tiff => "TIFF",
        ImageFormat::Avif => "AVIF",
        ImageFormat::Ico => "ICO",
        _ => "other",
    }
}

/// Returns whether a JPEG has an end-of-image marker after image data (ITU-T T.81, annex B).
/// Segments are followed because cameras append data after the end, and because thumbnails in the
/// header have end markers, too.
fn jpeg_ends(bytes: &[u8]) -> bool {
    let mut offset = 2;
    let mut scanned = false;
    loop {
        // The next marker is 0xff without a stuffed zero, a restart or a fill byte after it.
        let Some(marker) = bytes.get(offset..).and_then(|rest| {
            rest.windows(2)
                .position(|w| w[0] == 0xff && !matches!(w[1], 0x00 | 0x01 | 0xd0..=0xd7 | 0xff))
        }) else {
            return false;
        };
        offset += marker + 2;
        match bytes[offset - 1] {
            0xd9 => return scanned,
            0xd8 => {}
            kind => {
                scanned |= kind == 0xda;
                let Some(&[high, low]) = bytes.get(offset..offset + 2) else {
                    return false;
                };
                offset += usize::from(u16::from_be_bytes([high, low]));
            }
        }
    }
}

/// Returns whether a PNG has an end chunk.
fn png_ends(bytes: &[u8]) -> bool {
    let mut offset = 8;
    while let Some(&[a, b, c, d, ref kind @ ..]) = bytes.get(offset..offset + 8) {
        if kind == b"IEND" {
            return bytes.len() >= offset + 12;
        }
        offset = offset.saturating_add(u32::from_be_bytes([a, b, c, d]) as usize + 12);
    }
    false
}
