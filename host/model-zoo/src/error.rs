//! Errors of this crate.

use onnx_graph::GraphError;

/// Faults of a requested network.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ZooError {
    /// No network of that name.
    #[error("no built-in network is called '{name}'; there are {known}")]
    UnknownNetwork {
        /// The requested name.
        name: String,
        /// All names, separated by commas.
        known: String,
    },
    /// A setting is out of range.
    #[error("{field}: {reason}")]
    Config {
        /// The field of [`ZooConfig`](crate::ZooConfig).
        field: &'static str,
        /// The reason.
        reason: String,
    },
    /// The input is too small for the network, or a shape does not fit.
    #[error("building '{network}' for an input of {input:?}: {source}")]
    Build {
        /// The network.
        network: &'static str,
        /// Requested channels, height and width.
        input: [usize; 3],
        /// The error of the graph.
        source: GraphError,
    },
}
