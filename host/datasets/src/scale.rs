//! Scaling of images, by filters as wide as the pixels of the result.

use std::path::Path;

use fast_image_resize::images::{CroppedImage, Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::DataError;

/// How pixels between those of an image are found.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// The nearest pixel.
    Nearest,
    /// Linear in both directions.
    #[default]
    Bilinear,
    /// Cubic with a = -0.5 (Catmull and Rom), as Pillow's; OpenCV's has a = -0.75.
    Bicubic,
    /// The mean of the pixels that the new one covers.
    Area,
}

impl Interpolation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Nearest, Self::Bilinear, Self::Bicubic, Self::Area];

    /// The name, as users write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Bilinear => "bilinear",
            Self::Bicubic => "bicubic",
            Self::Area => "area",
        }
    }
}

/// The filter of a scaling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter {
    /// How pixels are found.
    pub interpolation: Interpolation,
    /// Whether the filter widens where an image shrinks (Pillow), or reads its few nearest pixels
    /// only (OpenCV).
    pub antialias: bool,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            interpolation: Interpolation::default(),
            antialias: true,
        }
    }
}

impl Filter {
    fn algorithm(self) -> ResizeAlg {
        let filter = match self.interpolation {
            Interpolation::Nearest => return ResizeAlg::Nearest,
            Interpolation::Area => return ResizeAlg::Convolution(FilterType::Box),
            Interpolation::Bilinear => FilterType::Bilinear,
            Interpolation::Bicubic => FilterType::CatmullRom,
        };
        match self.antialias {
            true => ResizeAlg::Convolution(filter),
            false => ResizeAlg::Interpolation(filter),
        }
    }
}

/// A part of an image, pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Area {
    pub left: u32,
    pub top: u32,
    pub width: u32,
    pub height: u32,
}

/// A part of an image whose edges lie between pixels. The filter sees the pixels around it, as if
/// the whole image had been scaled and then cut.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Window {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
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

    /// The pixels of an area, cut first and then scaled to `width` x `height`. `path` is where they
    /// come from.
    pub fn scaled(
        &self,
        area: Area,
        to: (u32, u32),
        filter: Filter,
        path: &Path,
    ) -> Result<Vec<u8>, DataError> {
        let from = self.view(path)?;
        // A crop as an option of the resizing would let the filter see the pixels around it.
        let from = CroppedImage::new(&from, area.left, area.top, area.width, area.height);
        let from = from.map_err(|e| broken(path, e))?;
        let mut to = Image::new(to.0, to.1, self.kind);
        let options = ResizeOptions::new().resize_alg(filter.algorithm());
        let scaled = Resizer::new().resize(&from, &mut to, &options);
        scaled.map_err(|e| broken(path, e))?;
        Ok(to.into_vec())
    }

    /// The pixels of a window, scaled to `width` x `height` as a part of the whole image.
    pub fn cut_from_scaled(
        &self,
        window: Window,
        to: (u32, u32),
        filter: Filter,
        path: &Path,
    ) -> Result<Vec<u8>, DataError> {
        let from = self.view(path)?;
        let mut to = Image::new(to.0, to.1, self.kind);
        let Window {
            left,
            top,
            width,
            height,
        } = window;
        let options = ResizeOptions::new().resize_alg(filter.algorithm());
        let options = options.crop(left, top, width, height);
        let scaled = Resizer::new().resize(&from, &mut to, &options);
        scaled.map_err(|e| broken(path, e))?;
        Ok(to.into_vec())
    }

    fn view(&self, path: &Path) -> Result<ImageRef<'a>, DataError> {
        let view = ImageRef::new(self.width, self.height, self.bytes, self.kind);
        view.map_err(|e| broken(path, e))
    }
}

fn broken(path: &Path, error: impl std::fmt::Display) -> DataError {
    DataError::BrokenImage {
        path: path.to_owned(),
        reason: error.to_string(),
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
        let path = Path::new("net.png");
        let scaled = pixels.scaled(area, to, Filter::default(), path).unwrap();
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
        let (path, filter) = (Path::new("a.png"), Filter::default());
        let error = pixels.scaled(area(4, 4, 8, 8), (4, 4), filter, path);
        assert!(error.unwrap_err().to_string().contains("a.png"));
    }
}
