//! Augmentation of training images.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{DataError, InputSpec};

/// Random changes of training images, applied in this order: random resized crop (while
/// decoding), colour, shift, mirror, cutout. [`Augment::none`] and `Default` change nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Shift by up to this many pixels in each direction; uncovered pixels get the mean colour.
    pub crop_pad: usize,
    /// Mirror half of the images horizontally.
    pub flip: bool,
    /// Side of a square at a random position that gets the mean colour; 0 for none (DeVries and
    /// Taylor, 2017).
    pub cutout: usize,
    /// Random brightness, contrast and saturation.
    pub colour: Option<ColourJitter>,
    /// Crop a random part (8 to 100 % of the area, side ratio 3/4 to 4/3) of photographs larger
    /// than the input (Szegedy et al., 2015). No effect on array data.
    pub random_resized_crop: bool,
}

/// Largest relative changes: each factor is drawn from `1 - v ..= 1 + v`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ColourJitter {
    /// Brightness.
    pub brightness: f32,
    /// Contrast around the image's mean.
    pub contrast: f32,
    /// Saturation; no effect on grey images.
    pub saturation: f32,
}

impl Default for ColourJitter {
    fn default() -> Self {
        Self {
            brightness: 0.2,
            contrast: 0.2,
            saturation: 0.2,
        }
    }
}

impl Augment {
    /// No change, for evaluation.
    pub fn none() -> Self {
        Self::default()
    }

    /// Checks the options against the image size.
    pub(crate) fn check(&self, input: &InputSpec) -> Result<(), DataError> {
        let side = input.height.min(input.width);
        let fail = |option, reason| Err(DataError::Option { option, reason });
        if self.crop_pad >= side {
            return fail(
                "crop_pad",
                format!(
                    "{} must be smaller than the image's side, {side}",
                    self.crop_pad
                ),
            );
        }
        if self.cutout >= side {
            return fail(
                "cutout",
                format!(
                    "{} must be smaller than the image's side, {side}",
                    self.cutout
                ),
            );
        }
        if let Some(jitter) = &self.colour {
            let factors = [jitter.brightness, jitter.contrast, jitter.saturation];
            if factors.iter().any(|v| !(0.0..=1.0).contains(v)) {
                return fail("colour", format!("{factors:?} must lie between 0 and 1"));
            }
        }
        Ok(())
    }

    /// Changes `image` (channels x height x width of `input`, 0..=1, before normalisation) in
    /// place.
    pub(crate) fn apply(&self, image: &mut [f32], input: &InputSpec, rng: &mut ChaCha8Rng) {
        if let Some(jitter) = &self.colour {
            jitter.apply(image, input, rng);
        }
        if self.crop_pad > 0 {
            let pad = self.crop_pad as i64;
            let (dy, dx) = (rng.random_range(-pad..=pad), rng.random_range(-pad..=pad));
            shift(image, input, dy as isize, dx as isize);
        }
        if self.flip && rng.random_bool(0.5) {
            for row in image.chunks_exact_mut(input.width) {
                row.reverse();
            }
        }
        if self.cutout > 0 {
            let (cy, cx) = (
                rng.random_range(0..input.height),
                rng.random_range(0..input.width),
            );
            let (top, left) = (
                cy.saturating_sub(self.cutout / 2),
                cx.saturating_sub(self.cutout / 2),
            );
            let (bottom, right) = (
                (top + self.cutout).min(input.height),
                (left + self.cutout).min(input.width),
            );
            for (channel, plane) in image
                .chunks_exact_mut(input.height * input.width)
                .enumerate()
            {
                for row in plane.chunks_exact_mut(input.width).take(bottom).skip(top) {
                    row[left..right].fill(input.neutral(channel));
                }
            }
        }
    }
}

impl ColourJitter {
    fn apply(&self, image: &mut [f32], input: &InputSpec, rng: &mut ChaCha8Rng) {
        let mut factor = |most: f32| 1.0 + rng.random_range(-1.0..=1.0f32) * most;
        let (brightness, contrast, saturation) = (
            factor(self.brightness),
            factor(self.contrast),
            factor(self.saturation),
        );
        let mean = image.iter().sum::<f32>() / image.len() as f32;
        for value in image.iter_mut() {
            *value = ((*value - mean) * contrast + mean) * brightness;
        }
        let size = input.height * input.width;
        if let [red, green, blue] = &mut image.chunks_exact_mut(size).collect::<Vec<_>>()[..] {
            for ((r, g), b) in red.iter_mut().zip(green.iter_mut()).zip(blue.iter_mut()) {
                // Luma weights of ITU-R BT.601.
                let grey = 0.299 * *r + 0.587 * *g + 0.114 * *b;
                for value in [r, g, b] {
                    *value = grey + (*value - grey) * saturation;
                }
            }
        }
        for value in image {
            *value = value.clamp(0.0, 1.0);
        }
    }
}

/// Moves the image by (dy, dx) pixels.
fn shift(image: &mut [f32], input: &InputSpec, dy: isize, dx: isize) {
    let (height, width) = (input.height, input.width);
    for (channel, plane) in image.chunks_exact_mut(height * width).enumerate() {
        let old = plane.to_vec();
        plane.fill(input.neutral(channel));
        let columns = width - dx.unsigned_abs();
        let (from, to) = ((-dx).max(0) as usize, dx.max(0) as usize);
        for y in 0..height {
            let Some(source) = y.checked_add_signed(-dy).filter(|&source| source < height) else {
                continue;
            };
            plane[y * width + to..][..columns]
                .copy_from_slice(&old[source * width + from..][..columns]);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn input() -> InputSpec {
        InputSpec {
            channels: 3,
            height: 4,
            width: 5,
            ..InputSpec::default()
        }
    }

    fn ramp() -> Vec<f32> {
        (0..60).map(|v| (v + 1) as f32 / 60.0).collect()
    }

    #[test]
    fn a_shift_moves_pixels_and_fills_with_the_neutral_value() {
        let check = |dy: isize, dx: isize| {
            let (mut image, old) = (ramp(), ramp());
            shift(&mut image, &input(), dy, dx);
            for c in 0..3 {
                for y in 0..4isize {
                    for x in 0..5isize {
                        let (sy, sx) = (y - dy, x - dx);
                        let inside = (0..4).contains(&sy) && (0..5).contains(&sx);
                        let expected = if inside {
                            old[(c * 20 + sy * 5 + sx) as usize]
                        } else {
                            0.0
                        };
                        assert_eq!(
                            image[(c * 20 + y * 5 + x) as usize],
                            expected,
                            "{dy} {dx} at {c} {y} {x}"
                        );
                    }
                }
            }
        };
        for dy in -3..=3 {
            for dx in -3..=3 {
                check(dy, dx);
            }
        }
    }

    #[test]
    fn a_mirrored_image_keeps_the_values_of_its_rows() {
        let augment = Augment {
            flip: true,
            ..Augment::none()
        };
        let mut seen = [false; 2];
        for seed in 0..20 {
            let mut image = ramp();
            augment.apply(&mut image, &input(), &mut ChaCha8Rng::seed_from_u64(seed));
            let mirrored: Vec<f32> = ramp()
                .chunks(5)
                .flat_map(|row| row.iter().rev().copied().collect::<Vec<_>>())
                .collect();
            assert!(image == ramp() || image == mirrored);
            seen[usize::from(image == mirrored)] = true;
        }
        assert_eq!(seen, [true, true]);
    }

    #[test]
    fn every_change_stays_within_range_and_repeats_with_its_seed() {
        let augment = Augment {
            crop_pad: 2,
            flip: true,
            cutout: 2,
            colour: Some(ColourJitter::default()),
            ..Augment::none()
        };
        augment.check(&input()).unwrap();
        for seed in 0..50 {
            let run = || {
                let mut image = ramp();
                augment.apply(&mut image, &input(), &mut ChaCha8Rng::seed_from_u64(seed));
                image
            };
            let image = run();
            assert!(image.iter().all(|v| (0.0..=1.0).contains(v)));
            assert_eq!(image, run());
            assert_ne!(image, ramp());
        }
    }

    #[test]
    fn options_larger_than_the_image_are_refused() {
        for augment in [
            Augment {
                crop_pad: 4,
                ..Augment::none()
            },
            Augment {
                cutout: 9,
                ..Augment::none()
            },
            Augment {
                colour: Some(ColourJitter {
                    contrast: 2.0,
                    ..ColourJitter::default()
                }),
                ..Augment::none()
            },
        ] {
            assert!(augment.check(&input()).is_err(), "{augment:?}");
        }
    }
}
