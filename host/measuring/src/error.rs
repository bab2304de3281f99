//! Errors of this crate.

/// Why something could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasuringError {
    /// The device gave no valid measurement.
    #[error("no valid measurement of {model} on '{device}': {reason}")]
    NoMeasurement {
        /// The model's label.
        model: String,
        /// The device's profile.
        device: String,
        /// The last reason.
        reason: String,
    },
    /// The device reports no times of operators.
    #[error(
        "'{device}' reported no operator times; its agent is older than this program: update it with graphprune device deploy"
    )]
    NoOperatorTimes {
        /// The device's profile.
        device: String,
    },
    /// The network of a kernel could not be built or written.
    #[error("model '{model}': {source}")]
    Kernel {
        /// The kernel's label.
        model: String,
        /// Why.
        source: onnx_graph::GraphError,
    },
    /// The caller ended the work.
    #[error("stopped")]
    Stopped,
    /// The latency model failed.
    #[error(transparent)]
    LatencyModel(#[from] latency_model::LatencyModelError),
    /// The device or the store failed.
    #[error(transparent)]
    Latency(#[from] latency::LatencyError),
}
