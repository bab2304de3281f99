//! Image files and masks of the same geometry.

use std::path::Path;

use image::{ImageReader, imageops};

use super::arrays::unfit;
use crate::folder::{fitted, read_image, write_area};
use crate::scale::Area;
use crate::{DataError, InputSpec};

/// Writes the part of an image with the input's side ratio.
pub(super) fn read(path: &Path, input: &InputSpec, out: &mut [f32]) -> Result<(), DataError> {
    let image = read_image(path)?;
    let area = fitted(image.width(), image.height(), input);
    write_area(path, &image, area, input, out)
}

/// Writes the class numbers of a mask: its grey values or palette indices, in the part of the image
/// that the network sees, for positions of `height` x `width`.
pub(super) fn read_mask(
    path: &Path,
    input: &InputSpec,
    (height, width): (usize, usize),
    out: &mut [f32],
) -> Result<(), DataError> {
    let image = ImageReader::open(path)
        .map_err(|e| DataError::missing_or_io(path, e, "the mask of an image"))?
        .with_guessed_format()
        .map_err(|e| DataError::io(path, e))?
        .decode()
        .map_err(|e| DataError::BrokenImage {
            path: path.to_owned(),
            reason: e.to_string(),
        })?;
    let colours = image.color().channel_count();
    if colours > 2 {
        return Err(unfit(
            path,
            format!("a mask has a class number for each pixel, not {colours} colours"),
        ));
    }
    let mask = image.into_luma8();
    let Area {
        left,
        top,
        width: w,
        height: h,
    } = fitted(mask.width(), mask.height(), input);
    let view = imageops::crop_imm(&mask, left, top, w, h);
    let nearest = imageops::FilterType::Nearest;
    let scaled = imageops::resize(&*view, width as u32, height as u32, nearest);
    for (value, pixel) in out.iter_mut().zip(scaled.pixels()) {
        *value = f32::from(pixel.0[0]);
    }
    Ok(())
}
