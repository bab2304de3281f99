//! Errors of this crate.

/// Errors of the width search.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// The smallest configuration exceeds the budget, by measurement.
    #[error(
        "the smallest configuration measured {load:.3} times the budget: raise the budget, or admit smaller widths \
         (min_keep, multiple)"
    )]
    BudgetUnreachable {
        /// Upper end of its measured cost divided by the budget.
        load: f64,
    },
    /// All configurations within the budget were tried.
    #[error(
        "no untried configuration within the budget is left after {tried}: end the search here, or admit more widths"
    )]
    Exhausted {
        /// Number of configurations tried.
        tried: usize,
    },
    /// A configuration does not fit the space.
    #[error("configuration {widths} does not fit the search space: {reason}")]
    InvalidWidths {
        /// The configuration as text.
        widths: String,
        /// The fault.
        reason: String,
    },
    /// A group of the space has no usable widths.
    #[error("group {group}: {reason}")]
    InvalidSpace {
        /// Name of the group.
        group: String,
        /// The fault.
        reason: String,
    },
    /// An option has an invalid value.
    #[error("option {option}: {reason}")]
    InvalidOption {
        /// Name of the option.
        option: &'static str,
        /// The accepted values.
        reason: String,
    },
    /// The cost that the budget limits was not measured.
    #[error(
        "the reward counts latency, and the candidate has no measured latency: measure it, or count MACs"
    )]
    LatencyMissing,
    /// A snapshot cannot be written or restored.
    #[error(
        "the {strategy} search cannot continue from its snapshot: {reason}; start the search anew or use the same configuration"
    )]
    Snapshot {
        /// Name of the strategy.
        strategy: &'static str,
        /// The fault.
        reason: String,
    },
    /// The environment's embeddings or costs are unusable.
    #[error("the search environment gave unusable {what}: {reason}")]
    Environment {
        /// The unusable values.
        what: &'static str,
        /// The fault.
        reason: String,
    },
    /// The environment failed.
    #[error("the search environment failed: {0}")]
    Outside(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// libtorch failed.
    #[error("libtorch failed in the search agent: {0}")]
    Torch(#[from] tch::TchError),
}
