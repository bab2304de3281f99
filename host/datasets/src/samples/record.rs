//! A sample: where its inputs and its target are.

use std::path::PathBuf;

use rayon::prelude::*;

use super::arrays::{ArrayRef, unfit};
use super::listing;
use super::wanted::TensorSpec;
use crate::DataError;
use crate::picture::upright_size;

/// Where the inputs of a sample are.
#[derive(Debug, Clone)]
pub(super) enum Inputs {
    /// Of the only input, which is an image.
    Image(PathBuf),
    /// Of the only input, which has one long axis.
    Sound(PathBuf),
    /// One for each input.
    Arrays(Vec<ArrayRef>),
}

/// Where the target of a sample is.
#[derive(Debug, Clone)]
pub(super) enum Target {
    None,
    Values(Vec<f32>),
    Mask(PathBuf),
    Arrays(Vec<ArrayRef>),
}

/// A sample.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub inputs: Inputs,
    pub target: Target,
    pub label: Option<usize>,
}

/// The samples of one part of the data.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    pub records: Vec<Record>,
    /// Empty for samples without labels.
    pub classes: Vec<String>,
}

impl Record {
    fn check_image(&self) -> Result<(), DataError> {
        let Inputs::Image(path) = &self.inputs else {
            return Ok(());
        };
        let (width, height) = upright_size(path)?;
        let Target::Mask(mask) = &self.target else {
            return Ok(());
        };
        let (across, down) = upright_size(mask)?;
        let product = |a: u32, b: u32| u64::from(a) * u64::from(b);
        let apart = product(across, height).abs_diff(product(width, down));
        let most = width.max(height).max(across).max(down);
        match apart > u64::from(most) {
            true => Err(unfit(
                mask,
                format!(
                    "it has {across} x {down} pixels, and its image '{}' {width} x {height} as it is shown",
                    path.display()
                ),
            )),
            false => Ok(()),
        }
    }

    /// What tells a sample from others: files by name and length.
    pub fn described(&self) -> String {
        let file = |path: &PathBuf| {
            let length = std::fs::metadata(path).map_or(0, |of| of.len());
            format!("{}:{length}", listing::name(path))
        };
        let arrays = |all: &[ArrayRef]| {
            let words = all.iter().map(|of| match of {
                ArrayRef::File(path, name) => format!("{}#{name:?}", file(path)),
                ArrayRef::Row(values, row) => format!("{row} of {}", digest(values)),
            });
            words.collect::<Vec<_>>().join(",")
        };
        let inputs = match &self.inputs {
            Inputs::Image(path) | Inputs::Sound(path) => file(path),
            Inputs::Arrays(all) => arrays(all),
        };
        let target = match &self.target {
            Target::None => String::new(),
            Target::Values(values) => format!("{values:?}"),
            Target::Mask(path) => file(path),
            Target::Arrays(all) => arrays(all),
        };
        format!("{inputs} {target} {:?}", self.label)
    }
}

/// Refuses records whose image or mask is none, and a mask of another shape than its image.
pub(super) fn check_images(records: &[Record]) -> Result<(), DataError> {
    let fault = |record: &Record| record.check_image().err();
    records.par_iter().find_map_first(fault).map_or(Ok(()), Err)
}

/// A digest of an array in memory, by its length and some of its values.
fn digest(values: &[f32]) -> String {
    let some = values.iter().step_by((values.len() / 64).max(1));
    let sum: f64 = some.map(|&value| f64::from(value)).sum();
    format!("{} values, {sum}", values.len())
}

/// The error of an input that is no image, for data of images.
pub(super) fn not_an_image(input: &TensorSpec) -> DataError {
    DataError::Option {
        option: "data",
        reason: format!(
            "the network's '{}' takes {:?} for a sample, which is no image of 1 or 3 channels; give arrays (npz:DIR)",
            input.name, input.dims
        ),
    }
}
