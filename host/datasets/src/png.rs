//! Images as PNG.

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder as _};

use crate::DataError;

/// Encodes an image (channels x height x width, values in 0..=1; 1 channel or 3) as PNG.
///
/// # Errors
/// [`DataError::Option`] for other numbers of channels or values.
pub fn encode_png(shape: [usize; 3], pixels: &[f32]) -> Result<Vec<u8>, DataError> {
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
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(&bytes, width, height, colour)
        .map_err(|error| DataError::Option {
            option: "image",
            reason: error.to_string(),
        })?;
    Ok(png)
}

#[cfg(test)]
mod tests {
    use super::encode_png;

    #[test]
    fn an_image_is_decoded_as_it_was_encoded() {
        // Two pixels: red and white.
        let png = encode_png([3, 1, 2], &[1.0, 1.0, 0.0, 1.0, 0.0, 1.0]).unwrap();
        let read = image::load_from_memory(&png).unwrap().into_rgb8();
        assert_eq!(read.into_raw(), [255, 0, 0, 255, 255, 255]);
        assert!(encode_png([2, 1, 1], &[0.0, 0.0]).is_err());
        assert!(encode_png([1, 1, 1], &[0.0, 0.0]).is_err());
    }
}
