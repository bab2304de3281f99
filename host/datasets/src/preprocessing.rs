//! How images become what a network takes, as a user sets it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::geometry::{Geometry, Sizing};
use crate::input::{ChannelOrder, InputSpec, Normalise};
use crate::resize::Resize;
use crate::scale::{Filter, Interpolation};

/// Mean and standard deviation of ImageNet's training images.
const IMAGENET: ([f64; 3], [f64; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

/// A normalisation by its name:
///
/// | name | scale | mean | std |
/// |---|---|---|---|
/// | `cifar10` | 255 | .485 .456 .406 | .229 .224 .225 |
/// | `imagenet` | 255 | .485 .456 .406 | .229 .224 .225 |
/// | `mnist` | 255 | .1307 | .3081 |
/// | `half` | 255 | .5 | .5 |
/// | `unit` | 255 | 0 | 1 |
/// | `none255` | 1 | 0 | 1 |
///
/// `cifar10` has ImageNet's values because common CIFAR-10 ResNets are trained with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Common CIFAR-10 ResNets: the values of `imagenet`.
    Cifar10,
    /// Mean and deviation of ImageNet.
    Imagenet,
    /// Mean and deviation of MNIST.
    Mnist,
    /// From -1 to 1.
    Half,
    /// From 0 to 1.
    Unit,
    /// From 0 to 255: the bytes.
    None255,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Cifar10,
        Self::Imagenet,
        Self::Mnist,
        Self::Half,
        Self::Unit,
        Self::None255,
    ];

    /// The name, as users write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cifar10 => "cifar10",
            Self::Imagenet => "imagenet",
            Self::Mnist => "mnist",
            Self::Half => "half",
            Self::Unit => "unit",
            Self::None255 => "none255",
        }
    }

    fn values(self) -> (f64, Vec<f64>, Vec<f64>) {
        let (mean, std) = IMAGENET;
        match self {
            Self::Cifar10 | Self::Imagenet => (255.0, mean.to_vec(), std.to_vec()),
            Self::Mnist => (255.0, vec![0.1307], vec![0.3081]),
            Self::Half => (255.0, vec![0.5], vec![0.5]),
            Self::Unit => (255.0, vec![0.0], vec![1.0]),
            Self::None255 => (1.0, vec![0.0], vec![1.0]),
        }
    }
}

/// How an image fills the input.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// Its centre is cut out.
    #[default]
    Crop,
    /// The whole image is scaled into the input, and the rest is padded.
    Letterbox,
    /// Both sides are scaled to those of the input.
    Stretch,
}

impl Fit {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Crop, Self::Letterbox, Self::Stretch];

    /// The name, as users write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Crop => "crop",
            Self::Letterbox => "letterbox",
            Self::Stretch => "stretch",
        }
    }
}

/// Reads a value by its name.
macro_rules! by_name {
    ($kind:ty, $option:literal) => {
        impl FromStr for $kind {
            type Err = DataError;

            fn from_str(text: &str) -> Result<Self, DataError> {
                let found = Self::ALL.into_iter().find(|one| one.name() == text);
                found.ok_or_else(|| {
                    let known = Self::ALL.map(Self::name).join(", ");
                    DataError::option($option, format!("no '{text}'; known: {known}"))
                })
            }
        }
    };
}

by_name!(Preset, "normalise");
by_name!(Fit, "fit");
by_name!(Interpolation, "interpolation");
by_name!(ChannelOrder, "order");

/// How images become the network's input. A value of the input is (byte / scale - mean) / std.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Preprocessing {
    /// The normalisation that `scale`, `mean` and `std` change; that of the data set when absent.
    pub preset: Option<Preset>,
    /// The divisor of bytes: 255 for values from 0 to 1.
    pub scale: Option<f64>,
    /// The mean of each channel after the division, in the network's order; one value holds for
    /// all.
    pub mean: Option<Vec<f64>>,
    /// The standard deviation of each channel, likewise.
    pub std: Option<Vec<f64>>,
    /// The order of the network's channels.
    pub order: ChannelOrder,
    /// Whether colours become grey, in all channels of the network.
    pub grey: bool,
    /// Pixels of the shorter side, or height x width such as "256x320", to which an image is scaled
    /// before its centre is cut out. When absent, the image covers the input, or for class folders
    /// 8/7 of it (256 pixels for 224).
    #[schemars(with = "Option<String>")]
    pub resize: Option<Resize>,
    /// How an image fills the input.
    pub fit: Fit,
    /// The value, 0 to 255, of pixels that the image does not cover.
    pub pad: u8,
    /// How pixels between those of the image are found.
    pub interpolation: Interpolation,
    /// Whether the filter widens where an image shrinks, as Pillow's; OpenCV's does not.
    pub antialias: bool,
}

impl Default for Preprocessing {
    fn default() -> Self {
        let Geometry { filter, pad, .. } = Geometry::default();
        Self {
            preset: None,
            scale: None,
            mean: None,
            std: None,
            order: ChannelOrder::default(),
            grey: false,
            resize: None,
            fit: Fit::default(),
            pad,
            interpolation: filter.interpolation,
            antialias: filter.antialias,
        }
    }
}

impl From<Preset> for Preprocessing {
    fn from(preset: Preset) -> Self {
        Self {
            preset: Some(preset),
            ..Self::default()
        }
    }
}

impl Preprocessing {
    /// Checks what can be checked without a network.
    ///
    /// # Errors
    /// [`DataError::Option`] naming the key.
    pub fn check(&self) -> Result<(), DataError> {
        if let (Some(_), fit @ (Fit::Letterbox | Fit::Stretch)) = (self.resize, self.fit) {
            return Err(DataError::option(
                "resize",
                format!(
                    "fit {} scales to the network's size: omit one of the two",
                    fit.name()
                ),
            ));
        }
        let positive = |value: f64| value > 0.0 && value.is_finite();
        if let Some(scale) = self.scale.filter(|&scale| !positive(scale)) {
            return Err(DataError::option(
                "scale",
                format!("{scale} must be a positive number"),
            ));
        }
        for (option, values) in [("mean", &self.mean), ("std", &self.std)] {
            let Some(values) = values else { continue };
            if values.is_empty() {
                return Err(DataError::option(option, "has no value"));
            }
            if values.iter().any(|value| !value.is_finite()) {
                return Err(DataError::option(
                    option,
                    format!("{values:?} must be finite"),
                ));
            }
        }
        match &self.std {
            Some(std) if std.iter().any(|&value| !positive(value)) => Err(DataError::option(
                "std",
                format!("{std:?} must be positive"),
            )),
            _ => Ok(()),
        }
    }

    /// The input of a network that takes images of `shape` (channels, height, width); `default` is
    /// the preset of the data.
    ///
    /// # Errors
    /// [`DataError::Option`] where a setting does not fit the channels.
    pub fn input(&self, default: Preset, shape: [usize; 3]) -> Result<InputSpec, DataError> {
        self.check()?;
        let [channels, height, width] = shape;
        let preset = self.preset.unwrap_or(default);
        let (scale, mean, std) = preset.values();
        let most = mean.len();
        if (self.mean.is_none() || self.std.is_none()) && ![1, channels].contains(&most) {
            return Err(DataError::option(
                "normalisation",
                format!(
                    "'{}' has {most} values, one per channel, and the model takes {channels} channel(s): choose mnist, half, \
                     unit or none255 (--normalise), or give --mean and --std",
                    preset.name()
                ),
            ));
        }
        if self.order == ChannelOrder::Bgr && channels != 3 {
            return Err(DataError::option(
                "order",
                format!("bgr is of three channels, and the model takes {channels}"),
            ));
        }
        let narrow = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
        let input = InputSpec {
            channels,
            height,
            width,
            normalise: Normalise {
                scale: self.scale.unwrap_or(scale) as f32,
                mean: narrow(self.mean.clone().unwrap_or(mean)),
                std: narrow(self.std.clone().unwrap_or(std)),
            },
            order: self.order,
            grey: self.grey,
            geometry: Geometry {
                sizing: match (self.fit, self.resize) {
                    (Fit::Letterbox, _) => Sizing::Letterbox,
                    (Fit::Stretch, _) => Sizing::Stretch,
                    (Fit::Crop, None) => Sizing::Cover,
                    (Fit::Crop, Some(Resize::ShortSide(side))) => Sizing::ShortSide(side),
                    (Fit::Crop, Some(Resize::Exact(height, width))) => Sizing::Exact(height, width),
                },
                filter: Filter {
                    interpolation: self.interpolation,
                    antialias: self.antialias,
                },
                pad: self.pad,
            },
        };
        input.check()?;
        Ok(input)
    }
}

impl InputSpec {
    /// The input of a network that takes images of `shape` (channels, height, width), by the name
    /// of a [`Preset`].
    ///
    /// # Errors
    /// [`DataError::Option`] for an unknown name, and where the preset does not fit the channels.
    pub fn preset(name: &str, shape: [usize; 3]) -> Result<Self, DataError> {
        let preset = name.parse()?;
        Preprocessing::from(preset).input(preset, shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_usable_for_its_channels() {
        for preset in Preset::ALL {
            let channels = if preset == Preset::Mnist { 1 } else { 3 };
            InputSpec::preset(preset.name(), [channels, 4, 4]).unwrap();
        }
        let error = |name: &str, channels: usize| {
            let input = InputSpec::preset(name, [channels, 4, 4]);
            input.unwrap_err().to_string()
        };
        assert!(error("cifar10", 1).contains("one per channel"));
        assert!(error("nope", 3).contains("none255"));
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

    #[test]
    fn a_setting_that_does_not_fit_is_refused_with_its_key() {
        let check = |change: fn(&mut Preprocessing), channels: usize, named: &str| {
            let mut settings = Preprocessing::default();
            change(&mut settings);
            let error = settings.input(Preset::Half, [channels, 8, 8]).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with(&format!("{named}: ")), "{text}");
        };
        check(|of| of.mean = Some(vec![0.1, 0.2]), 3, "mean");
        check(|of| of.mean = Some(vec![]), 3, "mean");
        check(|of| of.mean = Some(vec![f64::NAN]), 3, "mean");
        check(|of| of.std = Some(vec![1.0, 0.0, 1.0]), 3, "std");
        check(|of| of.std = Some(vec![1.0, 1.0, 1.0]), 1, "std");
        check(|of| of.scale = Some(0.0), 3, "scale");
        check(|of| of.order = ChannelOrder::Bgr, 1, "order");
        check(
            |of| {
                of.resize = Some(Resize::ShortSide(9));
                of.fit = Fit::Letterbox;
            },
            3,
            "resize",
        );
    }
}
