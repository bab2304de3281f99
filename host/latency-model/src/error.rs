//! What can go wrong with knowledge of latency.

/// Why a latency model cannot be made or taught.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LatencyModelError {
    /// A setting makes no sense.
    #[error("latency model, option {option}: {reason}")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// What would make sense.
        reason: &'static str,
    },
    /// A sample cannot be learned from.
    #[error("a sample for the latency model is unusable: {reason}")]
    Sample {
        /// What is wrong with it.
        reason: String,
    },
}
