//! Scaling by a triangle filter, as wide as the pixels of the result.

use std::path::Path;

use fast_image_resize::images::{CroppedImage, Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

use crate::DataError;

/// A part of an image, pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Area {
    pub left: u32,
    pub top: u32,
    pub width: u32,
    pub height: u32,
}

/// Pixels of one kind in rows.
pub(crate) struct Pixels<'a> {
    pub bytes: &'a [u8],
    pub width: u32,
    pub height: u32,
    pub kind: PixelType,
}

impl<'a> Pixels<'a> {
    pub fn of(image: &'a RgbImage) -> Self {
        Self {
            bytes: image.as_raw(),
            width: image.width(),
            height: image.height(),
            kind: PixelType::U8x3,
        }
    }

    /// The pixels of an area, scaled to `width` x `height`. `path` is where they come from.
    pub fn scaled(
        &self,
        area: Area,
        (width, height): (u32, u32),
        path: &Path,
    ) -> Result<Vec<u8>, DataError> {
        let fail = |reason: String| DataError::BrokenImage {
            path: path.to_owned(),
            reason,
        };
        let from = ImageRef::new(self.width, self.height, self.bytes, self.kind);
        let from = from.map_err(|e| fail(e.to_string()))?;
        // A crop as an option of the resizing would let the filter see the pixels around it.
        let from = CroppedImage::new(&from, area.left, area.top, area.width, area.height);
        let from = from.map_err(|e| fail(e.to_string()))?;
        let mut to = Image::new(width, height, self.kind);
        let triangle = ResizeAlg::Convolution(FilterType::Bilinear);
        Resizer::new()
            .resize(&from, &mut to, &ResizeOptions::new().resize_alg(triangle))
            .map_err(|e| fail(e.to_string()))?;
        Ok(to.into_vec())
    }
}

#[cfg(test)]
mod tests {
    use image::imageops;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// The filter of the crate `image` at the same place is within two grey levels.
    fn check(size: (u32, u32), area: Area, to: (u32, u32)) {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let image = RgbImage::from_fn(size.0, size.1, |x, y| {
            let wave = |by: u32| ((x * by + y * 3) % 256) as u8;
            image::Rgb([wave(2), wave(5), rng.random()])
        });
        let pixels = Pixels::of(&image);
        let scaled = pixels.scaled(area, to, Path::new("net.png")).unwrap();
        let view = imageops::crop_imm(&image, area.left, area.top, area.width, area.height);
        let triangle = imageops::FilterType::Triangle;
        let expected = imageops::resize(&*view, to.0, to.1, triangle).into_raw();
        let apart = scaled.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b));
        assert_eq!(scaled.len(), expected.len());
        let most = apart.max();
        assert!(most <= Some(2), "{most:?} in {size:?} to {to:?}");
    }

    fn area(left: u32, top: u32, width: u32, height: u32) -> Area {
        Area {
            left,
            top,
            width,
            height,
        }
    }

    #[test]
    fn images_are_scaled_down_and_up_as_by_a_triangle_filter() {
        check((320, 240), area(0, 0, 320, 240), (224, 224));
        check((640, 480), area(33, 70, 500, 400), (64, 64));
        check((50, 40), area(10, 5, 30, 30), (96, 96));
        check((31, 57), area(0, 0, 31, 57), (31, 57));
        check((400, 3), area(7, 1, 1, 1), (8, 8));
    }

    #[test]
    fn an_area_beyond_the_image_is_an_error_with_its_file() {
        let image = RgbImage::new(8, 8);
        let pixels = Pixels::of(&image);
        let error = pixels.scaled(area(4, 4, 8, 8), (4, 4), Path::new("a.png"));
        assert!(error.unwrap_err().to_string().contains("a.png"));
    }
}
