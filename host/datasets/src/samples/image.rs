//! Image files.

use std::path::Path;

use crate::picture::{read_image, write_planes};
use crate::{DataError, InputSpec};

/// Writes an image as the input has it.
pub(super) fn read(path: &Path, input: &InputSpec, out: &mut [f32]) -> Result<(), DataError> {
    let image = read_image(path)?;
    let placement = input.geometry.place(image.dimensions(), input.size(), 1.0);
    write_planes(path, &image, &placement, input, out)
}
