//! Images as PNG files.

use std::path::Path;

use image::{ExtendedColorType, ImageFormat};

use crate::DataError;

/// Writes an image (channels x height x width, values in 0..=1; 1 channel or 3) as a PNG file.
///
/// # Errors
/// [`DataError::Option`] for other numbers of channels or values, [`DataError::Io`] where the file
/// cannot be written.
pub fn write_png(path: &Path, shape: [usize; 3], pixels: &[f32]) -> Result<(), DataError> {
    let [channels, height, width] = shape;
    let colour = match channels {
        1 => ExtendedColorType::L8,
        3 => ExtendedColorType::Rgb8,
        _ => {
            return Err(DataError::Option {
                option: "image",
                reason: format!("{channels} channels are no picture"),
            });
        }
    };
    let plane = height * width;
    if pixels.len() != channels * plane {
        return Err(DataError::Option {
            option: "image",
            reason: format!("{} values are no image of {shape:?}", pixels.len()),
        });
    }
    let bytes: Vec<u8> = (0..plane)
        .flat_map(|at| (0..channels).map(move |channel| pixels[channel * plane + at]))
        .map(|value| (value.clamp(0.0, 1.0) * 255.0).round() as u8)
        .collect();
    let (width, height) = (width as u32, height as u32);
    image::save_buffer_with_format(path, &bytes, width, height, colour, ImageFormat::Png).map_err(
        |error| DataError::Io {
            path: path.to_owned(),
            source: std::io::Error::other(error),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::write_png;

    #[test]
    fn an_image_is_read_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.png");
        // Two pixels: red and white.
        write_png(&path, [3, 1, 2], &[1.0, 1.0, 0.0, 1.0, 0.0, 1.0]).unwrap();
        let read = image::open(&path).unwrap().into_rgb8();
        assert_eq!(read.into_raw(), [255, 0, 0, 255, 255, 255]);
        assert!(write_png(&path, [2, 1, 1], &[0.0, 0.0]).is_err());
        assert!(write_png(&path, [1, 1, 1], &[0.0, 0.0]).is_err());
    }
}
