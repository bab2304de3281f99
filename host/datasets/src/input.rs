//! A model's input: its shape, and how images become its values.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::geometry::{Geometry, Sizing};

/// The order of a network's channels.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red, as OpenCV and Caffe have them.
    Bgr,
}

impl ChannelOrder {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Rgb, Self::Bgr];

    /// The name, as users write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rgb => "rgb",
            Self::Bgr => "bgr",
        }
    }
}

/// How bytes become values: (byte / scale - mean) / std. Means and deviations have one entry per
/// channel in the network's order, or a single one for all.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalise {
    /// The divisor of bytes.
    pub scale: f32,
    /// Mean, subtracted.
    pub mean: Vec<f32>,
    /// Standard deviation, the second divisor.
    pub std: Vec<f32>,
}

impl Default for Normalise {
    fn default() -> Self {
        Self {
            scale: BYTE,
            mean: vec![0.0],
            std: vec![1.0],
        }
    }
}

/// The largest byte.
const BYTE: f32 = 255.0;

/// A model's input.
#[derive(Debug, Clone, PartialEq)]
pub struct InputSpec {
    /// Channels: 1 (grey) or 3.
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// How bytes become values.
    pub normalise: Normalise,
    /// The order of the channels.
    pub order: ChannelOrder,
    /// Whether colours become grey.
    pub grey: bool,
    /// How images of other sizes fill it.
    pub geometry: Geometry,
}

impl Default for InputSpec {
    fn default() -> Self {
        Self {
            channels: 3,
            height: 32,
            width: 32,
            normalise: Normalise::default(),
            order: ChannelOrder::default(),
            grey: false,
            geometry: Geometry::default(),
        }
    }
}

impl InputSpec {
    /// Channels, height, width.
    pub fn shape(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }

    /// Whether samples are rows of numbers and no images.
    pub fn is_row(&self) -> bool {
        self.channels == 1 && self.height == 1
    }

    /// The names of the channels, in the network's order.
    pub fn channel_names(&self) -> Vec<&'static str> {
        match (self.channels, self.order) {
            (3, ChannelOrder::Rgb) => vec!["red", "green", "blue"],
            (3, ChannelOrder::Bgr) => vec!["blue", "green", "red"],
            (channels, _) => vec!["grey"; channels],
        }
    }

    /// Width and height in pixels.
    pub(crate) fn size(&self) -> (u32, u32) {
        (self.width as u32, self.height as u32)
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
        for (option, values) in [
            ("std", &self.normalise.std[..]),
            ("scale", &[self.normalise.scale]),
        ] {
            if values.iter().any(|&v| v <= 0.0 || !v.is_finite()) {
                return fail(option, format!("{values:?} must be positive"));
            }
        }
        Ok(())
    }

    /// Mean and deviation of a channel of an image, which is in the order red, green, blue.
    fn mean_std(&self, channel: usize) -> (f32, f32) {
        let place = match self.order {
            ChannelOrder::Rgb => channel,
            ChannelOrder::Bgr => self.channels - 1 - channel,
        };
        let pick = |values: &[f32]| match values {
            [one] => *one,
            each => each[place],
        };
        (pick(&self.normalise.mean), pick(&self.normalise.std))
    }

    /// Normalises an image (channels x height x width; red, green, blue; 0..=1) in place, and
    /// brings its channels into the network's order.
    pub fn normalise(&self, image: &mut [f32]) {
        let white = BYTE / self.normalise.scale;
        let plane = self.height * self.width;
        for (channel, values) in image.chunks_exact_mut(plane).enumerate() {
            let (mean, std) = self.mean_std(channel);
            let (factor, offset) = (white / std, mean / std);
            for value in values {
                *value = *value * factor - offset;
            }
        }
        self.reorder(image);
    }

    /// The image (red, green, blue; 0..=1) that [`InputSpec::normalise`] made these values of, in
    /// place.
    pub fn restore(&self, values: &mut [f32]) {
        self.reorder(values);
        let white = BYTE / self.normalise.scale;
        for (channel, plane) in values
            .chunks_exact_mut(self.height * self.width)
            .enumerate()
        {
            let (mean, std) = self.mean_std(channel);
            for value in plane {
                *value = (*value * std + mean) / white;
            }
        }
    }

    /// Between red, green, blue and the network's order.
    fn reorder(&self, image: &mut [f32]) {
        if self.order == ChannelOrder::Bgr {
            let plane = self.height * self.width;
            let (first, rest) = image.split_at_mut(plane);
            let last = rest.len() - plane;
            first.swap_with_slice(&mut rest[last..]);
        }
    }

    /// Returns the value (0..=1) of a channel of an image that normalisation maps to zero; padding
    /// uses it.
    pub fn neutral(&self, channel: usize) -> f32 {
        (self.mean_std(channel).0 * self.normalise.scale / BYTE).clamp(0.0, 1.0)
    }
}

/// In words: `3x224x224, rgb, shorter side to 256, bilinear, (byte / 255 - [0.5]) / [0.5]`.
impl fmt::Display for InputSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Normalise { scale, mean, std } = &self.normalise;
        let [channels, height, width] = self.shape();
        if self.is_row() {
            return f.write_str("arrays, as they are");
        }
        write!(f, "{channels}x{height}x{width}, ")?;
        match (self.channels, self.grey) {
            (1, _) | (_, true) => f.write_str("grey, ")?,
            _ => write!(f, "{}, ", self.order.name())?,
        }
        let Geometry {
            sizing,
            filter,
            pad,
        } = self.geometry;
        match sizing {
            Sizing::Cover => f.write_str("covered and cut to the centre, ")?,
            Sizing::ShortSide(side) => write!(f, "shorter side to {side} and cut, ")?,
            Sizing::Exact(height, width) => write!(f, "to {height}x{width} and cut, ")?,
            Sizing::Letterbox => write!(f, "letterbox padded with {pad}, ")?,
            Sizing::Stretch => f.write_str("stretched, ")?,
        }
        f.write_str(filter.interpolation.name())?;
        if !filter.antialias {
            f.write_str(" without antialiasing")?;
        }
        write!(f, ", (byte / {scale} - {mean:?}) / {std:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_in_reverse_order_have_the_means_of_that_order() {
        let input = InputSpec {
            height: 1,
            width: 1,
            order: ChannelOrder::Bgr,
            normalise: Normalise {
                scale: 1.0,
                mean: vec![10.0, 20.0, 30.0],
                std: vec![1.0, 2.0, 4.0],
            },
            ..InputSpec::default()
        };
        let image = [50.0, 100.0, 150.0].map(|byte| byte / 255.0);
        let mut values = image;
        input.normalise(&mut values);
        let expected = [150.0 - 10.0, (100.0 - 20.0) / 2.0, (50.0 - 30.0) / 4.0];
        for (value, expected) in values.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-4, "{values:?}");
        }
        assert!((input.neutral(0) - 30.0 / 255.0).abs() < 1e-6);
        input.restore(&mut values);
        for (value, expected) in values.iter().zip(image) {
            assert!((value - expected).abs() < 1e-6, "{values:?}");
        }
    }
}
