//! Errors of this crate.

/// Why processes do not work together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectiveError {
    /// A variable of the environment is missing or wrong.
    #[error("the environment variable {name}: {reason}")]
    Environment {
        /// The variable.
        name: &'static str,
        /// The fault.
        reason: String,
    },
    /// The engine failed, most often because another process ended or is silent.
    #[error(
        "rank {rank} of {size} cannot {action} the other processes: {reason}. If one of them ended, its own message says why"
    )]
    Engine {
        /// This process.
        rank: usize,
        /// All processes.
        size: usize,
        /// What was being done, up to "the other processes".
        action: &'static str,
        /// The engine's reason.
        reason: String,
    },
}
