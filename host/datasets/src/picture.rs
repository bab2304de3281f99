//! Image files as the pixels of an input.

use std::io::{BufRead, Seek};
use std::path::Path;

use fast_image_resize::PixelType;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, RgbImage};

use crate::geometry::Placement;
use crate::scale::Pixels;
use crate::{DataError, InputSpec};

/// Width and height of an image file, as they are stored.
///
/// # Errors
/// [`DataError::BrokenImage`] for a file that holds no image, [`DataError::Io`] for one that cannot
/// be read.
pub(crate) fn image_size(path: &Path) -> Result<(u32, u32), DataError> {
    let reader = ImageReader::open(path).map_err(|e| DataError::io(path, e))?;
    let reader = reader.with_guessed_format();
    let reader = reader.map_err(|e| DataError::io(path, e))?;
    let size = reader.into_dimensions();
    size.map_err(|error| DataError::BrokenImage {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// Width and height of an image file as it is read: upright.
///
/// # Errors
/// As [`image_size`].
pub(crate) fn upright_size(path: &Path) -> Result<(u32, u32), DataError> {
    let reader = ImageReader::open(path).map_err(|e| DataError::io(path, e))?;
    let reader = reader.with_guessed_format();
    let decoder = reader.map_err(|e| DataError::io(path, e))?.into_decoder();
    let sizes = decoder.and_then(|mut of| Ok((of.dimensions(), of.orientation()?)));
    let ((width, height), turned) = sizes.map_err(|error| DataError::BrokenImage {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(match turned {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => (height, width),
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => (width, height),
    })
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

/// Writes the planes of the image of a file (0..=1), where it is placed in the input.
pub(crate) fn write_planes(
    path: &Path,
    image: &RgbImage,
    placement: &Placement,
    input: &InputSpec,
    out: &mut [f32],
) -> Result<(), DataError> {
    let drawn = input.geometry.draw(&Pixels::of(image), placement, path)?;
    let planes = Planes {
        bytes: &drawn,
        channels: 3,
    };
    for (value, byte) in out.iter_mut().zip(planes.of(input)) {
        *value = f32::from(byte) * (1.0 / 255.0);
    }
    Ok(())
}

/// Scales an image in planes of bytes to the input, and gives it as many channels. `path` is where
/// it comes from.
pub(crate) fn fitted(
    planes: &[u8],
    [channels, height, width]: [usize; 3],
    input: &InputSpec,
    path: &Path,
) -> Result<Vec<u8>, DataError> {
    let plane = height * width;
    let pixels = (0..plane).flat_map(|at| (0..channels).map(move |c| planes[c * plane + at]));
    let bytes: Vec<u8> = pixels.collect();
    let size = (width as u32, height as u32);
    let drawn = match size == input.size() {
        true => bytes,
        false => {
            let pixels = Pixels {
                bytes: &bytes,
                width: size.0,
                height: size.1,
                kind: if channels == 3 {
                    PixelType::U8x3
                } else {
                    PixelType::U8
                },
            };
            let placement = input.geometry.place(size, input.size(), 1.0);
            input.geometry.draw(&pixels, &placement, path)?
        }
    };
    let planes = Planes {
        bytes: &drawn,
        channels,
    };
    Ok(planes.of(input).collect())
}

/// Pixels in rows.
struct Planes<'a> {
    bytes: &'a [u8],
    channels: usize,
}

impl Planes<'_> {
    /// The bytes of the input's channels, plane by plane.
    fn of(&self, input: &InputSpec) -> impl Iterator<Item = u8> {
        let grey = input.grey || input.channels < self.channels;
        (0..input.channels).flat_map(move |channel| {
            self.bytes
                .chunks_exact(self.channels)
                .map(move |pixel| match *pixel {
                    [red, green, blue] if grey => luma(red, green, blue),
                    [one] => one,
                    _ => pixel[channel],
                })
        })
    }
}

/// The luma of ITU-R BT.601 in fixed point, as Pillow computes it.
fn luma(red: u8, green: u8, blue: u8) -> u8 {
    let weighted =
        19_595 * u32::from(red) + 38_470 * u32::from(green) + 7_471 * u32::from(blue) + 0x8000;
    (weighted >> 16) as u8
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
