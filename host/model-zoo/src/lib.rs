//! Reference convolutional networks built in code, with a file per network or family.
//!
//! Invariants: a network is a function of its name and [`ZooConfig`] only, bit for bit;
//! BatchNormalization nodes are kept; the batch is the open dimension `N`; nodes and weights
//! have the names used in the paper (`layer1.0.conv1`, `layer1.0.conv1.weight`);
//! parameter counts equal the published ones where those exist.
//! Deliberately absent: trained weights, files, Dropout (the identity at inference).
#![forbid(unsafe_code)]

mod builder;
mod config;
mod error;
mod mobilenet_v1;
mod mobilenet_v2;
mod resnet;
mod resnet_cifar;
mod shapes_net;
mod vgg;

use onnx_graph::{Graph, GraphError};

use builder::Builder;
pub use config::{Layout, ZooConfig};
pub use error::ZooError;

/// A network of the zoo.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Network {
    /// Name for [`build`].
    pub name: &'static str,
    /// Description in one line.
    pub description: &'static str,
    /// Publication, if there is one.
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

/// Returns all networks.
#[must_use]
pub fn names() -> &'static [Network] {
    &NETWORKS
}

/// Builds the network `name` with fresh weights. Its input, `input`, is NCHW float; its only
/// output are the logits, N x classes.
///
/// # Errors
/// [`ZooError`] if there is no such network, a setting is out of range, or the input is too
/// small.
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
