//! Settings of a Graph PruningNet.

use serde::{Deserialize, Serialize};

use crate::topology::FEATURES;

/// Initial values of the generated weights.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// The weights of the graph: at first the full-width network is the user's network.
    #[default]
    Warm,
    /// He initialisation, as in the paper.
    Scratch,
}

/// Where the weights of a configuration come from.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum NetWeights {
    /// A generator for each layer, from the layer's embedding.
    #[default]
    Generated,
    /// The same weights for all configurations, cropped to their channels (Yu et al., ICLR 2019).
    /// Only the embeddings depend on the configuration.
    Shared,
}

/// Settings of a [`PruningNet`](crate::PruningNet).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PruningNetConfig {
    /// Width of the embeddings.
    pub hidden: usize,
    /// Number of graph convolution layers.
    pub layers: usize,
    /// Initial values of the generated weights.
    pub start: Start,
    /// Whether a configuration has weights of its own or shares those of all others.
    pub weights: NetWeights,
    /// Standard deviation of U's elements, as a share of that of the layer's weights over the
    /// root of `hidden`.
    pub u_scale: f64,
    /// Layers with more weights than this get a factored generator.
    pub factor_above: usize,
    /// Rank of the factored generators.
    pub rank: usize,
}

impl Default for PruningNetConfig {
    fn default() -> Self {
        Self {
            hidden: 32,
            layers: 2,
            start: Start::Warm,
            weights: NetWeights::Generated,
            u_scale: 0.01,
            factor_above: 200_000,
            rank: 4,
        }
    }
}

impl PruningNetConfig {
    /// Width of a layer's embedding; without graph convolutions these are the features.
    pub(crate) fn embedding_width(&self) -> usize {
        if self.layers == 0 {
            FEATURES
        } else {
            self.hidden
        }
    }
}
