//! Errors of the latency model.

/// An error of building or fitting a latency model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LatencyModelError {
    /// A setting is out of range.
    #[error("latency model, option {option}: {reason}")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// The accepted values.
        reason: &'static str,
    },
    /// A sample is malformed.
    #[error("a sample for the latency model is unusable: {reason}")]
    Sample {
        /// The defect.
        reason: String,
    },
}
