//! Which files of a folder are images that can be used, and why the others cannot.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use image::{ImageFormat, ImageReader};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::DataError;

/// Extensions of image files, whether or not they can be read.
const EXTENSIONS: [&str; 22] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff",
    "avif", "heic", "heif", "jp2", "jxl", "ico", "tga", "ppm", "pgm", "qoi",
];

/// Bytes of a file's beginning and of its end that tell it from others.
const SAMPLE: usize = 4096;

/// Files named as examples of a reason.
const EXAMPLES: usize = 3;

/// Files that are left out for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Skipped {
    /// Why, as a plural: "cut-off JPEG images".
    pub reason: String,
    /// How many.
    pub count: usize,
    /// The first of them.
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

/// What was noticed while data was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notes {
    /// Image files that were found, usable or not; none for data that is not in image files.
    pub files: usize,
    /// Image files that are left out.
    pub skipped: Vec<Skipped>,
    /// Files that are left out and are no images.
    pub others: Vec<Skipped>,
    /// What a user should know before believing figures on this data.
    pub warnings: Vec<String>,
}

impl Notes {
    /// Image files that are left out.
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

    /// Joins what was noticed of another part of the data.
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

/// Gathers reasons.
#[derive(Default)]
pub(crate) struct Tally {
    files: usize,
    skipped: BTreeMap<String, Skipped>,
    others: BTreeMap<String, Skipped>,
}

impl Tally {
    /// Counts a file; hands it back if it can be used.
    pub fn count(&mut self, path: &Path, verdict: Verdict) -> Option<u64> {
        let reasons = match verdict {
            Verdict::Image(mark) => {
                self.files += 1;
                return Some(mark);
            }
            Verdict::Unusable(reason) => {
                self.files += 1;
                (&mut self.skipped, reason)
            }
            Verdict::NoImage => (&mut self.others, "files that are no images".to_owned()),
        };
        let held = reasons.0.entry(reasons.1.clone()).or_default();
        held.reason = reasons.1;
        held.count += 1;
        if held.examples.len() < EXAMPLES {
            held.examples.push(path.display().to_string());
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

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A whole JPEG or PNG, whatever its name says, with a mark that equal files share.
    Image(u64),
    /// An image that cannot be used, with the reason as a plural.
    Unusable(String),
    /// No image.
    NoImage,
}

/// Whether the file is named as an image.
pub(crate) fn named_as_image(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str())
}

/// Looks into a file: at its content, not its name, and whether it is whole.
pub(crate) fn examine(path: &Path) -> Result<Verdict, DataError> {
    let fail = |e| DataError::io(path, e);
    let mut file = File::open(path).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    let mut head = Vec::new();
    file.by_ref()
        .take(SAMPLE as u64)
        .read_to_end(&mut head)
        .map_err(fail)?;
    let named = named_as_image(path);
    let format = match image::guess_format(&head) {
        Ok(format @ (ImageFormat::Jpeg | ImageFormat::Png)) => format,
        // Short marks such as BM begin many files; the name decides there.
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
            return Ok(Verdict::Unusable(format!(
                "files named .{kind} that hold no JPEG or PNG image"
            )));
        }
        _ => return Ok(Verdict::NoImage),
    };
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(SAMPLE as u64)))
        .and_then(|_| file.read_to_end(&mut tail))
        .map_err(fail)?;
    let name = name_of(format);
    // A decoder fills what is missing with grey and says nothing.
    let whole = match format {
        ImageFormat::Jpeg => tail.ends_with(&[0xff, 0xd9]) || jpeg_ends(&read(path)?),
        _ => tail.ends_with(b"\0\0\0\0IEND\xaeB`\x82") || png_ends(&read(path)?),
    };
    if !whole {
        return Ok(Verdict::Unusable(format!("cut-off {name} images")));
    }
    if !named {
        return Ok(Verdict::Unusable(format!(
            "{name} images without an image's extension"
        )));
    }
    let size = ImageReader::open(path)
        .map_err(fail)?
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
    let mut mark = [0; 8];
    mark.copy_from_slice(&hash.finalize()[..8]);
    Ok(Verdict::Image(u64::from_le_bytes(mark)))
}

/// Every file below `dir`, for folders whose place is not that of a class.
pub(crate) fn files_below(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|e| DataError::io(&folder, e))? {
            let entry = entry.map_err(|e| DataError::io(&folder, e))?;
            // A link could lead in a circle.
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                folders.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    std::fs::read(path).map_err(|e| DataError::io(path, e))
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

/// Whether a JPEG has its end-of-image marker behind image data (ITU-T T.81, annex B). Cameras append data of their own behind
/// it, and the thumbnails in a file's head have markers of their own, so segments are followed.
fn jpeg_ends(bytes: &[u8]) -> bool {
    let mut at = 2;
    let mut scanned = false;
    loop {
        // To the next marker: 0xff that is followed by neither a stuffed zero, a restart nor filling.
        let Some(marker) = bytes.get(at..).and_then(|rest| {
            rest.windows(2)
                .position(|w| w[0] == 0xff && !matches!(w[1], 0x00 | 0x01 | 0xd0..=0xd7 | 0xff))
        }) else {
            return false;
        };
        at += marker + 2;
        match bytes[at - 1] {
            0xd9 => return scanned,
            0xd8 => {}
            kind => {
                scanned |= kind == 0xda;
                let Some(&[high, low]) = bytes.get(at..at + 2) else {
                    return false;
                };
                at += usize::from(u16::from_be_bytes([high, low]));
            }
        }
    }
}

/// Whether a PNG has its end chunk.
fn png_ends(bytes: &[u8]) -> bool {
    let mut at = 8;
    while let Some(&[a, b, c, d, ref kind @ ..]) = bytes.get(at..at + 8) {
        if kind == b"IEND" {
            return bytes.len() >= at + 12;
        }
        at = at.saturating_add(u32::from_be_bytes([a, b, c, d]) as usize + 12);
    }
    false
}
