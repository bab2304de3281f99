//! A folder of JPEG and PNG images, one subfolder per class.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    sync::Arc,
};

use image::{DynamicImage, ImageDecoder, ImageReader, RgbImage, imageops};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::{
    DataError, Dataset, InputSpec, Parts,
    array::{hex, mismatch, planes},
    cifar::missing_or_io,
};

/// Evaluation resizes the image to cover this many times the input, then takes its centre (256 for 224, as is usual).
const EVALUATION_MARGIN: f64 = 256.0 / 224.0;
/// Bounds of a random resized crop (Szegedy et al., 2015): part of the area, side ratio.
const CROP_AREA: (f64, f64) = (0.08, 1.0);
const CROP_RATIO: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);
const CROP_TRIES: usize = 10;

/// Images of a folder, decoded when asked for.
#[derive(Debug)]
pub struct FolderDataset {
    root: PathBuf,
    files: Vec<(PathBuf, u16)>,
    classes: Vec<String>,
    input: InputSpec,
    hash: String,
}

impl FolderDataset {
    /// Lists `root/CLASS/*.{jpg,jpeg,png}` and reads every image's header. Classes are the subfolders in the order of
    /// their names, or `classes` if given, of which each subfolder must be one.
    pub fn open(
        root: &Path,
        classes: Option<&[String]>,
        input: &InputSpec,
    ) -> Result<Self, DataError> {
        if input.channels != 3 {
            return Err(mismatch(
                &format!("folder '{}'", root.display()),
                [3, input.height, input.width],
                input,
            ));
        }
        let found = class_folders(root)?;
        let layout = |reason: String| DataError::Layout {
            path: root.to_path_buf(),
            reason,
        };
        if found.len() < 2 {
            return Err(layout(format!(
                "it has {} class folders; at least 2 are needed",
                found.len()
            )));
        }
        let classes = match classes {
            Some(classes) => {
                if let Some(stranger) = found.iter().find(|name| !classes.contains(name)) {
                    return Err(layout(format!(
                        "class '{stranger}' is not among the training classes"
                    )));
                }
                classes.to_vec()
            }
            None => found.clone(),
        };
        let mut files = Vec::new();
        let mut hasher = Sha256::new();
        for name in &found {
            let label = classes
                .iter()
                .position(|class| class == name)
                .unwrap_or_default();
            let label = u16::try_from(label)
                .map_err(|_| layout(format!("{} classes are too many", classes.len())))?;
            for (path, bytes) in image_files(&root.join(name))? {
                hasher.update(name.as_bytes());
                hasher.update([0]);
                hasher.update(path.file_name().unwrap_or_default().as_encoded_bytes());
                hasher.update([0]);
                hasher.update(bytes.to_le_bytes());
                files.push((path, label));
            }
        }
        let hash = hex(&hasher.finalize());
        let dataset = Self {
            root: root.to_path_buf(),
            files,
            classes,
            input: input.clone(),
            hash,
        };
        dataset
            .files
            .par_iter()
            .map(|(path, _)| header(path))
            .find_first(Result::is_err)
            .unwrap_or(Ok(()))?;
        Ok(dataset)
    }

    /// The file of image `index`.
    pub fn path(&self, index: usize) -> &Path {
        &self.files[index].0
    }

    fn read(&self, index: usize) -> Result<RgbImage, DataError> {
        let path = self.path(index);
        let broken = |reason: String| DataError::BrokenImage {
            path: path.to_path_buf(),
            reason,
        };
        let mut decoder = reader(path)?
            .into_decoder()
            .map_err(|e| broken(e.to_string()))?;
        let orientation = decoder.orientation().map_err(|e| broken(e.to_string()))?;
        let mut image = DynamicImage::from_decoder(decoder).map_err(|e| broken(e.to_string()))?;
        image.apply_orientation(orientation);
        Ok(over_white(image))
    }

    fn scaled(&self, image: &RgbImage, area: Area, width: u32, height: u32) -> RgbImage {
        let view = imageops::crop_imm(image, area.left, area.top, area.width, area.height);
        imageops::resize(&*view, width, height, imageops::FilterType::Triangle)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Area {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

/// The centre part of a `width` x `height` image with the side ratio of the input, less the margin.
fn centre(width: u32, height: u32, input: &InputSpec) -> Area {
    let (wanted_width, wanted_height) = (input.width as f64, input.height as f64);
    // How many image pixels one input pixel takes when the image just covers input x margin.
    let step = (f64::from(width) / wanted_width).min(f64::from(height) / wanted_height)
        / EVALUATION_MARGIN;
    let side = |wanted: f64, most: u32| ((wanted * step).round() as u32).clamp(1, most);
    let (w, h) = (side(wanted_width, width), side(wanted_height, height));
    Area {
        left: (width - w) / 2,
        top: (height - h) / 2,
        width: w,
        height: h,
    }
}

fn random_area(width: u32, height: u32, input: &InputSpec, rng: &mut ChaCha8Rng) -> Area {
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

/// Transparent pixels lie on white.
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

fn reader(path: &Path) -> Result<ImageReader<BufReader<File>>, DataError> {
    let reader =
        ImageReader::open(path).map_err(|e| missing_or_io(path, e, "an image listed before"))?;
    reader
        .with_guessed_format()
        .map_err(|e| DataError::io(path, e))
}

fn header(path: &Path) -> Result<(), DataError> {
    let broken = |reason: String| DataError::BrokenImage {
        path: path.to_path_buf(),
        reason,
    };
    let (width, height) = reader(path)?
        .into_dimensions()
        .map_err(|e| broken(e.to_string()))?;
    if width == 0 || height == 0 {
        Err(broken(format!("its size is {width}x{height}")))
    } else {
        Ok(())
    }
}

fn class_folders(root: &Path) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root)
        .map_err(|e| missing_or_io(root, e, "a folder with one folder of images per class"))?
    {
        let entry = entry.map_err(|e| DataError::io(root, e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn image_files(dir: &Path) -> Result<Vec<(PathBuf, u64)>, DataError> {
    let mut files = Vec::new();
    let mut others = 0usize;
    for entry in std::fs::read_dir(dir).map_err(|e| DataError::io(dir, e))? {
        let path = entry.map_err(|e| DataError::io(dir, e))?.path();
        let extension = path
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .to_ascii_lowercase();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && ["jpg", "jpeg", "png"].contains(&extension.as_str()) {
            let bytes = std::fs::metadata(&path)
                .map_err(|e| DataError::io(&path, e))?
                .len();
            files.push((path, bytes));
        } else {
            others += 1;
        }
    }
    if files.is_empty() {
        return Err(DataError::EmptyClass {
            path: dir.to_path_buf(),
        });
    }
    if others > 0 {
        tracing::warn!(folder = %dir.display(), others, "entries that are not JPEG or PNG are left out");
    }
    files.sort();
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
        let image = self.read(index)?;
        let area = centre(image.width(), image.height(), &self.input);
        planes(
            &self.scaled(
                &image,
                area,
                self.input.width as u32,
                self.input.height as u32,
            ),
            out,
        );
        Ok(())
    }

    fn decode_random_crop(
        &self,
        index: usize,
        rng: &mut ChaCha8Rng,
        out: &mut [f32],
    ) -> Result<(), DataError> {
        let image = self.read(index)?;
        let area = random_area(image.width(), image.height(), &self.input, rng);
        planes(
            &self.scaled(
                &image,
                area,
                self.input.width as u32,
                self.input.height as u32,
            ),
            out,
        );
        Ok(())
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

/// Training data, its validation part and its test part, as far as the folder has them. With `validation/` but no `test/`
/// the former is the test part, as in ImageNet's layout.
pub(crate) fn open(dir: &Path, input: &InputSpec) -> Result<Parts, DataError> {
    let train_dir = dir.join("train");
    if !train_dir.is_dir() {
        return Ok((Arc::new(FolderDataset::open(dir, None, input)?), None, None));
    }
    let train = FolderDataset::open(&train_dir, None, input)?;
    let part = |names: &[&str]| -> Result<Option<Arc<dyn Dataset>>, DataError> {
        let Some(name) = names.iter().find(|name| dir.join(name).is_dir()) else {
            return Ok(None);
        };
        Ok(Some(Arc::new(FolderDataset::open(
            &dir.join(name),
            Some(&train.classes),
            input,
        )?)))
    };
    let (validation, test) = (part(&["validation", "valid", "val"])?, part(&["test"])?);
    let train: Arc<dyn Dataset> = Arc::new(train);
    match test {
        Some(test) => Ok((train, validation, Some(test))),
        None => Ok((train, None, validation)),
    }
}
