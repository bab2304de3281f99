//! Folders of JPEG and PNG images, one subfolder per class.

use std::{
    io::{BufRead, Seek},
    path::{Path, PathBuf},
    sync::Arc,
};

use image::{DynamicImage, ImageDecoder, ImageReader, RgbImage, imageops};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::array::{hex, planes};
use crate::scale::{Area, Pixels};
use crate::split::StoredSplits;
use crate::survey::{Tally, Verdict, examine, files_below, named_as_image};
use crate::{DataError, Dataset, InputSpec, Notes};

/// Evaluation resizes the image to cover this multiple of the input and takes its centre: the
/// usual 256 for 224.
const EVALUATION_MARGIN: f64 = 256.0 / 224.0;
/// Bounds of a random resized crop (Szegedy et al., 2015): share of the area, side ratio.
const CROP_AREA: (f64, f64) = (0.08, 1.0);
const CROP_RATIO: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);
const CROP_TRIES: usize = 10;

/// Images of a folder, decoded on demand.
#[derive(Debug)]
pub struct FolderDataset {
    root: PathBuf,
    files: Vec<(PathBuf, u16)>,
    content_hashes: Vec<u64>,
    notes: Notes,
    classes: Vec<String>,
    input: InputSpec,
    hash: String,
}

impl FolderDataset {
    /// Lists the JPEG and PNG images of `root/CLASS/` and checks that they are complete; unusable
    /// ones are left out and noted. The classes are the sorted subfolders; if `classes` is given,
    /// every subfolder must be one of them. A model with one channel gets grey images.
    pub fn open(
        root: &Path,
        classes: Option<&[String]>,
        input: &InputSpec,
    ) -> Result<Self, DataError> {
        if ![1, 3].contains(&input.channels) {
            let images = [3, input.height, input.width];
            let data = format!("folder '{}'", root.display());
            return Err(DataError::mismatch(&data, images, input.shape()));
        }
        let folders = class_folders(root)?;
        let layout = |reason: String| DataError::Layout {
            path: root.to_path_buf(),
            reason,
        };
        if folders.len() < 2 {
            return Err(layout(format!(
                "it has {} class folders; at least 2 are needed",
                folders.len()
            )));
        }
        let classes = match classes {
            Some(classes) => {
                if let Some(unknown) = folders.iter().find(|name| !classes.contains(name)) {
                    return Err(layout(format!(
                        "class '{unknown}' is not among the training classes"
                    )));
                }
                classes.to_vec()
            }
            None => folders.clone(),
        };
        let (mut files, mut content_hashes) = (Vec::new(), Vec::new());
        let mut hasher = Sha256::new();
        let mut tally = Tally::default();
        for path in stray_images(root)? {
            let reason = "images outside of any class folder".to_owned();
            tally.count(&path, Verdict::Unusable(reason));
        }
        for name in &folders {
            let label = classes
                .iter()
                .position(|class| class == name)
                .unwrap_or_default();
            let label = u16::try_from(label)
                .map_err(|_| layout(format!("{} classes are too many", classes.len())))?;
            for (path, bytes, content_hash) in image_files(&root.join(name), &mut tally)? {
                hasher.update(name.as_bytes());
                hasher.update([0]);
                hasher.update(path.file_name().unwrap_or_default().as_encoded_bytes());
                hasher.update([0]);
                hasher.update(bytes.to_le_bytes());
                files.push((path, label));
                content_hashes.push(content_hash);
            }
        }
        let hash = hex(&hasher.finalize());
        Ok(Self {
            root: root.to_path_buf(),
            files,
            content_hashes,
            notes: tally.notes(),
            classes,
            input: input.clone(),
            hash,
        })
    }

    /// Files that were left out.
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// The file of image `index`.
    pub fn path(&self, index: usize) -> &Path {
        &self.files[index].0
    }
}

/// Reads an image upright, over white.
pub(crate) fn read_image(path: &Path) -> Result<RgbImage, DataError> {
    let file = ImageReader::open(path)
        .map_err(|e| DataError::missing_or_io(path, e, "an image listed before"))?;
    decode_image(file, path)
}

/// Decodes the image of a reader, upright, over white. `path` is its name.
pub(crate) fn decode_image<R: BufRead + Seek>(
    reader: ImageReader<R>,
    path: &Path,
) -> Result<RgbImage, DataError> {
    let broken = |reason: String| DataError::BrokenImage {
        path: path.to_path_buf(),
        reason,
    };
    let mut decoder = reader
        .with_guessed_format()
        .map_err(|e| DataError::io(path, e))?
        .into_decoder()
        .map_err(|e| broken(e.to_string()))?;
    let orientation = decoder.orientation().map_err(|e| broken(e.to_string()))?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(|e| broken(e.to_string()))?;
    image.apply_orientation(orientation);
    Ok(over_white(image))
}

/// Scales a part of the image of a file to the input and writes its planes.
pub(crate) fn write_area(
    path: &Path,
    image: &RgbImage,
    area: Area,
    input: &InputSpec,
    out: &mut [f32],
) -> Result<(), DataError> {
    let (width, height) = (input.width as u32, input.height as u32);
    let bytes = Pixels::of(image).scaled(area, (width, height), path)?;
    let scaled = RgbImage::from_raw(width, height, bytes).unwrap_or_default();
    if input.channels == 3 {
        planes(&scaled, out);
        return Ok(());
    }
    for (value, pixel) in out.iter_mut().zip(imageops::grayscale(&scaled).pixels()) {
        *value = f32::from(pixel.0[0]) * (1.0 / 255.0);
    }
    Ok(())
}

/// Returns the centre part of a `width` x `height` image with the side ratio of the input,
/// without the margin.
pub(crate) fn centre(width: u32, height: u32, input: &InputSpec) -> Area {
    middle(width, height, input, EVALUATION_MARGIN)
}

/// Returns the largest centre part of an image with the side ratio of the input.
pub(crate) fn fitted(width: u32, height: u32, input: &InputSpec) -> Area {
    middle(width, height, input, 1.0)
}

/// Returns the centre part of an image that is `margin` times smaller than the largest.
fn middle(width: u32, height: u32, input: &InputSpec, margin: f64) -> Area {
    let (input_width, input_height) = (input.width as f64, input.height as f64);
    // Image pixels per input pixel if the image just covers input x margin.
    let scale = (f64::from(width) / input_width).min(f64::from(height) / input_height) / margin;
    let side = |pixels: f64, most: u32| ((pixels * scale).round() as u32).clamp(1, most);
    let (w, h) = (side(input_width, width), side(input_height, height));
    Area {
        left: (width - w) / 2,
        top: (height - h) / 2,
        width: w,
        height: h,
    }
}

pub(crate) fn random_area(
    width: u32,
    height: u32,
    input: &InputSpec,
    rng: &mut ChaCha8Rng,
) -> Area {
    let whole = f64::from(width) * f64::from(height);
    let shape = input.width as f64 / input.height as f64;
    for _ in 0..CROP_TRIES {
        let area = whole * rng.random_range(CROP_AREA.0..=CROP_AREA.1);
        let ratio = shape
            * rng
                .random_range(CROP_RATIO.0.ln()..=CROP_RATIO.1.ln())
                .exp();
        let (w, h) = (
            (area * ratio).sqrt().round() as u32,
            (area / ratio).sqrt().round() as u32,
        );
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            let (left, top) = (
                rng.random_range(0..=width - w),
                rng.random_range(0..=height - h),
            );
            return Area {
                left,
                top,
                width: w,
                height: h,
            };
        }
    }
    centre(width, height, input)
}

/// Blends transparent pixels with white.
fn over_white(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let rgba = image.into_rgba8();
    RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [r, g, b, a] = rgba.get_pixel(x, y).0;
        let mix = |value: u8| {
            ((u16::from(value) * u16::from(a) + 255 * (255 - u16::from(a))) / 255) as u8
        };
        image::Rgb([mix(r), mix(g), mix(b)])
    })
}

fn class_folders(root: &Path) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    let entries = std::fs::read_dir(root).map_err(|e| {
        DataError::missing_or_io(root, e, "a folder with one folder of images per class")
    })?;
    for entry in entries {
        let entry = entry.map_err(|e| DataError::io(root, e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Lists files directly in `root` with the extension of an image.
fn stray_images(root: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut images = Vec::new();
    for entry in std::fs::read_dir(root).map_err(|e| DataError::io(root, e))? {
        let path = entry.map_err(|e| DataError::io(root, e))?.path();
        if !hidden(&path) && named_as_image(&path) && !path.is_dir() {
            images.push(path);
        }
    }
    images.sort();
    Ok(images)
}

/// Lists the usable images of a class folder with their lengths and content hashes, sorted by
/// name.
fn image_files(dir: &Path, tally: &mut Tally) -> Result<Vec<(PathBuf, u64, u64)>, DataError> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| DataError::io(dir, e))? {
        let path = entry.map_err(|e| DataError::io(dir, e))?.path();
        if hidden(&path) {
            continue;
        }
        if path.is_dir() {
            for inner in files_below(&path)?.iter().filter(|p| named_as_image(p)) {
                let reason = "images in a folder inside a class folder".to_owned();
                tally.count(inner, Verdict::Unusable(reason));
            }
        } else {
            paths.push(path);
        }
    }
    paths.sort();
    let verdicts: Vec<Result<Verdict, DataError>> = paths.par_iter().map(|p| examine(p)).collect();
    let mut files = Vec::new();
    let mut own = Tally::default();
    for (path, verdict) in paths.into_iter().zip(verdicts) {
        let verdict = verdict?;
        own.count(&path, verdict.clone());
        if let Some(content_hash) = tally.count(&path, verdict) {
            let bytes = std::fs::metadata(&path)
                .map_err(|e| DataError::io(&path, e))?
                .len();
            files.push((path, bytes, content_hash));
        }
    }
    if files.is_empty() {
        return Err(DataError::EmptyClass {
            path: dir.to_path_buf(),
            holds: own.reasons(),
        });
    }
    Ok(files)
}

impl Dataset for FolderDataset {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn image_shape(&self) -> [usize; 3] {
        self.input.shape()
    }

    fn label(&self, index: usize) -> usize {
        usize::from(self.files[index].1)
    }

    fn decode(&self, index: usize, out: &mut [f32]) -> Result<(), DataError> {
        let path = self.path(index);
        let image = read_image(path)?;
        let area = centre(image.width(), image.height(), &self.input);
        write_area(path, &image, area, &self.input, out)
    }

    fn decode_random_crop(
        &self,
        index: usize,
        rng: &mut ChaCha8Rng,
        out: &mut [f32],
    ) -> Result<(), DataError> {
        let path = self.path(index);
        let image = read_image(path)?;
        let area = random_area(image.width(), image.height(), &self.input, rng);
        write_area(path, &image, area, &self.input, out)
    }

    fn content_hash(&self, index: usize) -> Option<u64> {
        self.content_hashes.get(index).copied()
    }

    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn identity(&self) -> String {
        format!(
            "folder '{}' ({} images, sha256 of the list {})",
            self.root.display(),
            self.len(),
            self.hash
        )
    }
}

/// Opens the parts of a folder and notes the files that were left out. A `validation/` without
/// `test/` is the test part, as in ImageNet's layout.
pub(crate) fn open(dir: &Path, input: &InputSpec) -> Result<(StoredSplits, Notes), DataError> {
    let train_dir = dir.join("train");
    if !train_dir.is_dir() {
        let all = FolderDataset::open(dir, None, input)?;
        let notes = all.notes.clone();
        let stored = StoredSplits {
            train: Arc::new(all),
            validation: None,
            test: None,
        };
        return Ok((stored, notes));
    }
    let train = FolderDataset::open(&train_dir, None, input)?;
    let mut notes = train.notes.clone();
    let mut part = |names: &[&str]| -> Result<Option<Arc<dyn Dataset>>, DataError> {
        let Some(name) = names.iter().find(|name| dir.join(name).is_dir()) else {
            return Ok(None);
        };
        let part = FolderDataset::open(&dir.join(name), Some(&train.classes), input)?;
        notes.add(part.notes.clone());
        Ok(Some(Arc::new(part)))
    };
    let (validation, test) = (part(&["validation", "valid", "val"])?, part(&["test"])?);
    let (validation, test) = match test {
        Some(test) => (validation, Some(test)),
        None => (None, validation),
    };
    let stored = StoredSplits {
        train: Arc::new(train),
        validation,
        test,
    };
    Ok((stored, notes))
}
