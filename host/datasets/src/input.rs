//! A model's input: shape, scale and normalisation.

use serde::{Deserialize, Serialize};

use crate::DataError;

/// Names of the [presets](InputSpec::preset).
pub const PRESETS: [&str; 6] = ["cifar10", "imagenet", "mnist", "half", "unit", "none255"];

/// Range of pixel values before mean and standard deviation apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PixelScale {
    /// 0..=1: bytes divided by 255.
    #[default]
    Unit,
    /// 0..=255: plain bytes.
    Byte,
}

impl PixelScale {
    /// Value of a white pixel.
    pub fn white(self) -> f32 {
        match self {
            Self::Unit => 1.0,
            Self::Byte => 255.0,
        }
    }
}

/// Mean and standard deviation per channel, in the units of the [`PixelScale`]. A single entry
/// applies to all channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalise {
    /// Mean, subtracted.
    pub mean: Vec<f32>,
    /// Standard deviation, the divisor.
    pub std: Vec<f32>,
}

impl Default for Normalise {
    fn default() -> Self {
        Self {
            mean: vec![0.0],
            std: vec![1.0],
        }
    }
}

/// A model's input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InputSpec {
    /// Channels: 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Applied after `scale`.
    pub normalise: Normalise,
    /// Range of the pixel values.
    pub scale: PixelScale,
}

impl Default for InputSpec {
    fn default() -> Self {
        Self {
            channels: 3,
            height: 32,
            width: 32,
            normalise: Normalise::default(),
            scale: PixelScale::Unit,
        }
    }
}

impl InputSpec {
    /// Returns a named normalisation for an input of `shape` (channels, height, width):
    ///
    /// | name | values | mean | std |
    /// |---|---|---|---|
    /// | `cifar10` | 0..=1 | .485 .456 .406 | .229 .224 .225 |
    /// | `imagenet` | 0..=1 | .485 .456 .406 | .229 .224 .225 |
    /// | `mnist` | 0..=1 | .1307 | .3081 |
    /// | `half` | 0..=1 | .5 | .5 |
    /// | `unit` | 0..=1 | 0 | 1 |
    /// | `none255` | 0..=255 | 0 | 1 |
    ///
    /// `cifar10` has ImageNet's values because common CIFAR-10 ResNets are trained with them.
    pub fn preset(name: &str, shape: [usize; 3]) -> Result<Self, DataError> {
        let one = |mean: f32, std: f32| Normalise {
            mean: vec![mean],
            std: vec![std],
        };
        let (normalise, scale) = match name {
            "cifar10" | "imagenet" => (
                Normalise {
                    mean: vec![0.485, 0.456, 0.406],
                    std: vec![0.229, 0.224, 0.225],
                },
                PixelScale::Unit,
            ),
            "mnist" => (one(0.1307, 0.3081), PixelScale::Unit),
            "half" => (one(0.5, 0.5), PixelScale::Unit),
            "unit" => (Normalise::default(), PixelScale::Unit),
            "none255" => (Normalise::default(), PixelScale::Byte),
            other => {
                let reason = format!("no preset '{other}'; known: {}", PRESETS.join(", "));
                return Err(DataError::Option {
                    option: "normalisation",
                    reason,
                });
            }
        };
        let [channels, height, width] = shape;
        if ![1, channels].contains(&normalise.mean.len()) {
            let fit = "mnist, half, unit or none255";
            let reason = format!(
                "'{name}' has {} values, one per channel, and the model takes {channels} channel(s): choose {fit} (--normalise)",
                normalise.mean.len()
            );
            return Err(DataError::Option {
                option: "normalisation",
                reason,
            });
        }
        let input = Self {
            channels,
            height,
            width,
            normalise,
            scale,
        };
        input.check()?;
        Ok(input)
    }

    /// Channels, height, width.
    pub fn shape(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }

    /// Checks that the sizes are positive and that mean and standard deviation fit the channels.
    pub fn check(&self) -> Result<(), DataError> {
        let fail = |option, reason| Err(DataError::Option { option, reason });
        if self.channels == 0 || self.height == 0 || self.width == 0 {
            return fail(
                "input",
                format!("every size of {:?} must be positive", self.shape()),
            );
        }
        for (option, values) in [("mean", &self.normalise.mean), ("std", &self.normalise.std)] {
            if values.len() != 1 && values.len() != self.channels {
                let accepted = match self.channels {
                    1 => "1".to_owned(),
                    n => format!("1 or {n} (one per channel)"),
                };
                return fail(
                    option,
                    format!("has {} values; give {accepted}", values.len()),
                );
            }
            if values.iter().any(|v| !v.is_finite()) {
                return fail(option, format!("{values:?} must be finite"));
            }
        }
        if self.normalise.std.iter().any(|&v| v <= 0.0) {
            return fail("std", format!("{:?} must be positive", self.normalise.std));
        }
        Ok(())
    }

    fn mean_std(&self, channel: usize) -> (f32, f32) {
        let pick = |values: &[f32]| {
            if values.len() == 1 {
                values[0]
            } else {
                values[channel]
            }
        };
        (pick(&self.normalise.mean), pick(&self.normalise.std))
    }

    /// Normalises an image (channels x height x width, 0..=1) in place.
    pub fn normalise(&self, image: &mut [f32]) {
        let white = self.scale.white();
        for (channel, plane) in image.chunks_exact_mut(self.height * self.width).enumerate() {
            let (mean, std) = self.mean_std(channel);
            let (factor, offset) = (white / std, mean / std);
            for value in plane {
                *value = *value * factor - offset;
            }
        }
    }

    /// Returns the value (0..=1) of a channel that normalisation maps to zero; padding uses it.
    pub fn neutral(&self, channel: usize) -> f32 {
        (self.mean_std(channel).0 / self.scale.white()).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_usable_for_its_channels() {
        for name in PRESETS {
            let channels = if name == "mnist" { 1 } else { 3 };
            InputSpec::preset(name, [channels, 4, 4]).unwrap();
        }
        assert!(
            InputSpec::preset("cifar10", [1, 4, 4])
                .unwrap_err()
                .to_string()
                .contains("one per channel")
        );
        assert!(
            InputSpec::preset("nope", [3, 4, 4])
                .unwrap_err()
                .to_string()
                .contains("none255")
        );
    }

    #[test]
    fn normalisation_maps_white_and_the_mean_as_documented() {
        let check = |name: &str, channels: usize, channel: usize, white: f32| {
            let input = InputSpec::preset(name, [channels, 1, 2]).unwrap();
            let mut image = vec![0.0; channels * 2];
            image[channel * 2] = 1.0;
            image[channel * 2 + 1] = input.neutral(channel);
            input.normalise(&mut image);
            assert!(
                (image[channel * 2] - white).abs() < 1e-4,
                "{name}: {image:?}"
            );
            assert!(image[channel * 2 + 1].abs() < 1e-5, "{name}: {image:?}");
        };
        check("cifar10", 3, 0, (1.0 - 0.485) / 0.229);
        check("imagenet", 3, 2, (1.0 - 0.406) / 0.225);
        check("mnist", 1, 0, (1.0 - 0.1307) / 0.3081);
        check("half", 3, 1, 1.0);
        check("none255", 3, 1, 255.0);
    }
}
