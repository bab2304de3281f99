//! Image files and masks of the same geometry.

use std::path::Path;

use image::ImageReader;

use super::arrays::unfit;
use crate::picture::{read_image, write_planes};
use crate::{DataError, InputSpec};

/// The class number of positions that do not count.
const IGNORED: f32 = 255.0;

/// Writes an image as the input has it.
pub(super) fn read(path: &Path, input: &InputSpec, out: &mut [f32]) -> Result<(), DataError> {
    let image = read_image(path)?;
    let placement = input.geometry.place(image.dimensions(), input.size(), 1.0);
    write_planes(path, &image, &placement, input, out)
}

/// Writes the class numbers of a mask: its grey values or palette indices where the network sees
/// the image, for positions of `height` x `width`. Positions of padding do not count.
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
    let placement = input.geometry.place(mask.dimensions(), input.size(), 1.0);
    for (at, value) in out.iter_mut().enumerate() {
        let middle = |index: usize, of: usize| (index as f64 + 0.5) / of as f64;
        let (x, y) = (middle(at % width, width), middle(at / width, height));
        *value = match placement.source(x, y) {
            Some((x, y)) if x < mask.width() && y < mask.height() => {
                f32::from(mask.get_pixel(x, y).0[0])
            }
            _ => IGNORED,
        };
    }
    Ok(())
}
