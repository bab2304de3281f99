//! The part of a photo that a network sees: its centre, or a random part in training.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::InputSpec;
use crate::geometry::Placement;
use crate::scale::Area;

/// Evaluation resizes the image to cover this multiple of the input and takes its centre: the
/// usual 256 for 224.
const EVALUATION_MARGIN: f64 = 256.0 / 224.0;
/// Bounds of a random resized crop (Szegedy et al., 2015): share of the area, side ratio.
const CROP_AREA: (f64, f64) = (0.08, 1.0);
const CROP_RATIO: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);
const CROP_TRIES: usize = 10;

/// Places a photo of this size as evaluation sees it.
pub(crate) fn whole(size: (u32, u32), input: &InputSpec) -> Placement {
    input.geometry.place(size, input.size(), EVALUATION_MARGIN)
}

/// Places a random part of a photo of this size.
pub(crate) fn random(size: (u32, u32), input: &InputSpec, rng: &mut ChaCha8Rng) -> Placement {
    let geometry = &input.geometry;
    match random_area(size, geometry.ratio(size, input.size()), rng) {
        Some(part) => geometry.place_part(part, input.size()),
        None => whole(size, input),
    }
}

/// A random part of an image of `width` x `height`; `shape` is the input's side ratio in its
/// pixels.
fn random_area((width, height): (u32, u32), shape: f64, rng: &mut ChaCha8Rng) -> Option<Area> {
    let whole = f64::from(width) * f64::from(height);
    for _ in 0..CROP_TRIES {
        let area = whole * rng.random_range(CROP_AREA.0..=CROP_AREA.1);
        let ratio = shape
            * rng
                .random_range(CROP_RATIO.0.ln()..=CROP_RATIO.1.ln())
                .exp();
        let (w, h) = (
            (area * ratio).sqrt().round() as u32,
            (area / ratio).sqrt().round() as u32,
        );
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            let (left, top) = (
                rng.random_range(0..=width - w),
                rng.random_range(0..=height - h),
            );
            return Some(Area {
                left,
                top,
                width: w,
                height: h,
            });
        }
    }
    None
}
