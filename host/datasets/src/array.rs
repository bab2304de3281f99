//! Images in memory as bytes.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use image::{GrayImage, imageops};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::geometry::Sizing;
use crate::picture::fitted;
use crate::{DataError, DataSpec, Dataset, InputSpec};

/// Images of one shape in memory, one byte per value.
///
/// # Examples
/// ```
/// use datasets::{ArrayDataset, Dataset, InputSpec};
///
/// let input = InputSpec::preset("unit", [1, 2, 2])?;
/// let classes = vec!["black".to_owned(), "white".to_owned()];
/// let pixels = vec![0, 0, 0, 0, 255, 255, 255, 255];
/// let data = ArrayDataset::new("squares", pixels, vec![0, 1], classes, &input)?;
/// let mut image = [0.0; 4];
/// data.decode(1, &mut image)?;
/// assert_eq!((data.label(1), image), (1, [1.0; 4]));
/// # Ok::<(), datasets::DataError>(())
/// ```
pub struct ArrayDataset {
    name: String,
    pixels: Vec<u8>,
    labels: Vec<u16>,
    shape: [usize; 3],
    classes: Vec<String>,
    input: InputSpec,
    hash: String,
}

impl ArrayDataset {
    /// Creates a data set from `pixels`, the concatenated images (channels x height x width of
    /// `input` each), and `labels`, one class per image. `name` appears in messages. Fails with
    /// [`DataError::Split`] if lengths or labels do not fit.
    pub fn new(
        name: &str,
        pixels: Vec<u8>,
        labels: Vec<u16>,
        classes: Vec<String>,
        input: &InputSpec,
    ) -> Result<Self, DataError> {
        let shape = input.shape();
        let split = |reason: String| DataError::Split {
            data: name.to_owned(),
            reason,
        };
        if pixels.len() != labels.len() * shape.iter().product::<usize>() {
            let reason = format!(
                "{} bytes are not {} images of {shape:?}",
                pixels.len(),
                labels.len()
            );
            return Err(split(reason));
        }
        if let Some(&label) = labels
            .iter()
            .find(|&&label| usize::from(label) >= classes.len())
        {
            return Err(split(format!(
                "label {label} is not one of the {} classes",
                classes.len()
            )));
        }
        let mut hasher = Sha256::new();
        for dim in shape {
            hasher.update((dim as u64).to_le_bytes());
        }
        for label in &labels {
            hasher.update(label.to_le_bytes());
        }
        hasher.update(&pixels);
        let hash = hex(&hasher.finalize());
        Ok(Self {
            name: name.to_owned(),
            pixels,
            labels,
            shape,
            classes,
            input: input.clone(),
            hash,
        })
    }
}

impl Dataset for ArrayDataset {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn image_shape(&self) -> [usize; 3] {
        self.shape
    }

    fn label(&self, index: usize) -> usize {
        usize::from(self.labels[index])
    }

    fn decode(&self, index: usize, out: &mut [f32]) -> Result<(), DataError> {
        let size = self.shape.iter().product::<usize>();
        for (value, &byte) in out
            .iter_mut()
            .zip(&self.pixels[index * size..(index + 1) * size])
        {
            *value = f32::from(byte) * (1.0 / 255.0);
        }
        Ok(())
    }

    fn content_hash(&self, index: usize) -> Option<u64> {
        let size = self.shape.iter().product::<usize>();
        let mut hasher = DefaultHasher::new();
        self.pixels[index * size..(index + 1) * size].hash(&mut hasher);
        Some(hasher.finish())
    }

    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn identity(&self) -> String {
        format!(
            "{} ({} images, sha256 {})",
            self.name,
            self.len(),
            self.hash
        )
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Records of array data at the size stored in their files.
pub(crate) struct Raw {
    pub(crate) pixels: Vec<u8>,
    pub(crate) labels: Vec<u16>,
    pub(crate) shape: [usize; 3],
}

impl Raw {
    /// Applies `resize` and `pad`, checks the shape against the model's input and builds the data
    /// set.
    pub(crate) fn into_dataset(
        self,
        name: &str,
        dir: &Path,
        classes: Vec<String>,
        spec: &DataSpec,
        input: &InputSpec,
    ) -> Result<ArrayDataset, DataError> {
        let mut raw = self;
        if let Some(side) = spec.resize {
            raw = raw.resized(side);
        }
        if let Some(side) = spec.pad {
            raw = raw.padded(side, name)?;
        }
        raw = raw.fitted(input, dir)?;
        if raw.shape != input.shape() {
            let data = format!("{} ('{}')", spec.kind(), dir.display());
            return Err(DataError::mismatch(&data, raw.shape, input.shape()));
        }
        ArrayDataset::new(name, raw.pixels, raw.labels, classes, input)
    }

    /// Scales and colours the images as the input says, where it says so.
    pub(crate) fn fitted(self, input: &InputSpec, dir: &Path) -> Result<Self, DataError> {
        let [channels, height, width] = self.shape;
        let is_scaled = input.geometry.sizing != Sizing::Cover;
        let fits = [height, width] == [input.height, input.width];
        let is_coloured = channels == input.channels || input.grey;
        let is_picture = [channels, input.channels]
            .iter()
            .all(|of| [1, 3].contains(of));
        let is_changed = is_scaled || (input.grey && fits);
        if !(is_changed && is_coloured && is_picture) {
            return Ok(self);
        }
        let images = self.pixels.par_chunks_exact(channels * height * width);
        let images: Result<Vec<Vec<u8>>, DataError> = images
            .map(|image| fitted(image, self.shape, input, dir))
            .collect();
        Ok(Self {
            pixels: images?.concat(),
            labels: self.labels,
            shape: input.shape(),
        })
    }

    fn resized(self, side: usize) -> Self {
        let [channels, height, width] = self.shape;
        if (height, width) == (side, side) {
            return self;
        }
        let (old, new) = ((width as u32, height as u32), side as u32);
        let mut pixels = Vec::with_capacity(self.labels.len() * channels * side * side);
        for plane in self.pixels.chunks_exact(height * width) {
            let image = GrayImage::from_raw(old.0, old.1, plane.to_vec()).unwrap_or_default();
            pixels.extend_from_slice(&imageops::resize(
                &image,
                new,
                new,
                imageops::FilterType::Triangle,
            ));
        }
        Self {
            pixels,
            labels: self.labels,
            shape: [channels, side, side],
        }
    }

    fn padded(self, side: usize, name: &str) -> Result<Self, DataError> {
        let [channels, height, width] = self.shape;
        if height > side || width > side {
            let reason = format!(
                "pad={side} is smaller than its images of {height}x{width}; use resize={side}"
            );
            return Err(DataError::Split {
                data: name.to_owned(),
                reason,
            });
        }
        let (top, left) = ((side - height) / 2, (side - width) / 2);
        let mut pixels = vec![0; self.labels.len() * channels * side * side];
        for (from, to) in self
            .pixels
            .chunks_exact(height * width)
            .zip(pixels.chunks_exact_mut(side * side))
        {
            for (y, row) in from.chunks_exact(width).enumerate() {
                let start = (y + top) * side + left;
                to[start..start + width].copy_from_slice(row);
            }
        }
        Ok(Self {
            pixels,
            labels: self.labels,
            shape: [channels, side, side],
        })
    }
}
