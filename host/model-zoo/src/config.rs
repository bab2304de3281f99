//! Settings of a network.

use serde::{Deserialize, Serialize};

use crate::error::ZooError;

/// Bounds that prevent a mistyped setting from allocating terabytes of weights.
const MAX_DIMENSION: usize = 1 << 16;
const MAX_WIDTH_MULT: f64 = 16.0;

/// Reduction of the resolution by the first layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Layout {
    /// [`Layout::Small`] for inputs of at most 64 pixels on the shorter side, [`Layout::Large`]
    /// above.
    #[default]
    Auto,
    /// As published for ImageNet: the first layers divide the resolution by 4 or more.
    Large,
    /// For small images, as is usual for CIFAR: early strides are 1 and there is no first
    /// pooling.
    Small,
}

/// Settings of a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ZooConfig {
    /// Number of classes: the width of the logits.
    pub classes: usize,
    /// Channels, height and width of one image.
    pub input: [usize; 3],
    /// Seed of the initial weights.
    pub seed: u64,
    /// Factor on the width of every layer; widths other than 1.0 times the published one are
    /// rounded to multiples of 8 as in MobileNet's reference code.
    pub width_mult: f64,
    /// Reduction of the resolution by the first layers; the CIFAR networks ignore it.
    pub layout: Layout,
}

impl Default for ZooConfig {
    fn default() -> Self {
        Self {
            classes: 10,
            input: [3, 32, 32],
            seed: 0,
            width_mult: 1.0,
            layout: Layout::Auto,
        }
    }
}

impl ZooConfig {
    /// Returns the settings of the publications on ImageNet: 1000 classes, 224 x 224.
    #[must_use]
    pub fn imagenet() -> Self {
        Self {
            classes: 1000,
            input: [3, 224, 224],
            ..Self::default()
        }
    }

    /// Whether the layout for small images applies.
    pub(crate) fn small(&self) -> bool {
        match self.layout {
            Layout::Auto => self.input[1].min(self.input[2]) <= 64,
            Layout::Large => false,
            Layout::Small => true,
        }
    }

    pub(crate) fn validate(&self) -> Result<(), ZooError> {
        let bad = |field: &'static str, reason: String| Err(ZooError::Config { field, reason });
        if self.classes == 0 {
            return bad("classes", "a classifier needs at least one class".into());
        }
        if self.input.contains(&0) {
            return bad("input", format!("{:?} has an empty dimension", self.input));
        }
        if self.input.iter().any(|&d| d > MAX_DIMENSION) || self.classes > MAX_DIMENSION {
            return bad(
                "input",
                format!("dimensions and classes up to {MAX_DIMENSION} are supported"),
            );
        }
        if !(self.width_mult > 0.0 && self.width_mult <= MAX_WIDTH_MULT) {
            return bad(
                "width_mult",
                format!(
                    "{} is not above 0 and at most {MAX_WIDTH_MULT}",
                    self.width_mult
                ),
            );
        }
        Ok(())
    }
}
