//! What can be wrong with a request for a network.

use onnx_graph::GraphError;

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
        /// The field of [`ZooConfig`](crate::ZooConfig).
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
