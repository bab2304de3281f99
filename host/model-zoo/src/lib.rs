//! Reference convolutional networks, built in code: one network (or family), one file.
//!
//! Invariants: a network is a function of its name and [`ZooConfig`] only, bit for bit; BatchNormalization nodes are
//! kept; the batch is the open dimension `N`; nodes and weights carry the names a reader of the paper expects
//! (`layer1.0.conv1`, `layer1.0.conv1.weight`); parameter counts equal the published ones where those exist.
//! Deliberately absent: trained weights, files, Dropout (it does nothing in a network that is being run).
#![forbid(unsafe_code)]

mod builder;
mod mobilenet_v1;
mod mobilenet_v2;
mod resnet;
mod resnet_cifar;
mod shapes_net;
mod vgg;

use onnx_graph::{Graph, GraphError};
use serde::{Deserialize, Serialize};

use builder::Builder;

/// How the first layers treat the input's resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Layout {
    /// [`Layout::Small`] for inputs of at most 64 pixels on the shorter side, [`Layout::Large`] above.
    #[default]
    Auto,
    /// As published for ImageNet: the first layers divide the resolution by 4 or more.
    Large,
    /// For small images, as is usual for CIFAR: early strides are 1 and the first pooling is left out.
    Small,
}

/// What to build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ZooConfig {
    /// Number of classes: the width of the logits.
    pub classes: usize,
    /// Channels, height and width of one image.
    pub input: [usize; 3],
    /// Seed of the initial weights.
    pub seed: u64,
    /// Factor on the width of every layer; widths other than 1.0 times the published one are rounded to multiples of 8
    /// as in MobileNet's reference code.
    pub width_mult: f64,
    /// Treatment of the input's resolution; the CIFAR networks have only one and ignore it.
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
    /// The settings the networks for ImageNet were published with: 1000 classes, 224 x 224.
    #[must_use]
    pub fn imagenet() -> Self {
        Self {
            classes: 1000,
            input: [3, 224, 224],
            ..Self::default()
        }
    }

    /// Whether the layout for small images applies.
    fn small(&self) -> bool {
        match self.layout {
            Layout::Auto => self.input[1].min(self.input[2]) <= 64,
            Layout::Large => false,
            Layout::Small => true,
        }
    }

    fn validate(&self) -> Result<(), ZooError> {
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

/// Bounds that keep a mistyped setting from asking for terabytes of weights.
const MAX_DIMENSION: usize = 1 << 16;
const MAX_WIDTH_MULT: f64 = 16.0;

/// What can be wrong with a request for a network.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ZooError {
    /// No network of that name.
    #[error("no built-in network is called '{name}'; there are {known}")]
    UnknownNetwork {
        /// The name asked for.
        name: String,
        /// The names there are, separated by commas.
        known: String,
    },
    /// A setting is out of range.
    #[error("{field}: {reason}")]
    Config {
        /// The field of [`ZooConfig`].
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The input is too small for the network, or another shape does not fit.
    #[error("building '{network}' for an input of {input:?}: {source}")]
    Build {
        /// The network.
        network: &'static str,
        /// Channels, height and width asked for.
        input: [usize; 3],
        /// What did not fit.
        source: GraphError,
    },
}

/// A network of the zoo.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Network {
    /// Name to give to [`build`].
    pub name: &'static str,
    /// One line on what it is.
    pub description: &'static str,
    /// Where it was published, if it was.
    pub paper: Option<&'static str>,
    build: fn(&mut Builder) -> Result<(), GraphError>,
}

const RESNET: Option<&str> = Some("https://arxiv.org/abs/1512.03385");

/// All networks, smallest first within a family.
static NETWORKS: [Network; 9] = [
    Network {
        name: "shapes_net",
        description: "small residual network for 32x32 images, quick to train on a CPU; wide enough to prune for time",
        paper: None,
        build: shapes_net::build,
    },
    Network {
        name: "resnet20",
        description: "ResNet-20 for CIFAR, parameter-free (option A) short-cuts",
        paper: RESNET,
        build: |b| resnet_cifar::build(b, 3),
    },
    Network {
        name: "resnet32",
        description: "ResNet-32 for CIFAR, parameter-free (option A) short-cuts",
        paper: RESNET,
        build: |b| resnet_cifar::build(b, 5),
    },
    Network {
        name: "resnet56",
        description: "ResNet-56 for CIFAR, parameter-free (option A) short-cuts",
        paper: RESNET,
        build: |b| resnet_cifar::build(b, 9),
    },
    Network {
        name: "resnet18",
        description: "ResNet-18, basic blocks, projection short-cuts",
        paper: RESNET,
        build: |b| resnet::build(b, resnet::Block::Basic, [2, 2, 2, 2]),
    },
    Network {
        name: "resnet50",
        description: "ResNet-50, bottleneck blocks with the stride in the 3x3 convolution (version 1.5)",
        paper: RESNET,
        build: |b| resnet::build(b, resnet::Block::Bottleneck, [3, 4, 6, 3]),
    },
    Network {
        name: "mobilenet_v1",
        description: "MobileNet, depthwise separable convolutions",
        paper: Some("https://arxiv.org/abs/1704.04861"),
        build: mobilenet_v1::build,
    },
    Network {
        name: "mobilenet_v2",
        description: "MobileNetV2, inverted residuals with linear bottlenecks",
        paper: Some("https://arxiv.org/abs/1801.04381"),
        build: mobilenet_v2::build,
    },
    Network {
        name: "vgg16_bn",
        description: "VGG-16 with BatchNorm",
        paper: Some("https://arxiv.org/abs/1409.1556"),
        build: vgg::build,
    },
];

/// The networks there are.
#[must_use]
pub fn names() -> &'static [Network] {
    &NETWORKS
}

/// Builds the network called `name` with fresh weights. The input, called `input`, is NCHW
/// float; the only output holds the logits, N x classes.
///
/// # Errors
/// [`ZooError`] when there is no such network, a setting is out of range, or the input is too small for the network.
pub fn build(name: &str, config: &ZooConfig) -> Result<Graph, ZooError> {
    let network =
        NETWORKS
            .iter()
            .find(|n| n.name == name)
            .ok_or_else(|| ZooError::UnknownNetwork {
                name: name.to_owned(),
                known: NETWORKS.map(|n| n.name).join(", "),
            })?;
    config.validate()?;
    let build = || {
        let mut builder = Builder::new(network.name, config);
        (network.build)(&mut builder)?;
        builder.finish()
    };
    build().map_err(|source| ZooError::Build {
        network: network.name,
        input: config.input,
        source,
    })
}
