//! What can go wrong in a search.

/// Errors of the width search.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// Not even the smallest configuration meets the budget, by measurement.
    #[error(
        "the smallest configuration measured {load:.3} times the budget: raise the budget, or admit smaller widths \
         (min_keep, multiple)"
    )]
    BudgetUnreachable {
        /// Upper end of the measured cost of the smallest configuration, divided by the budget.
        load: f64,
    },
    /// Every configuration that may meet the budget was asked for already.
    #[error(
        "no untried configuration within the budget is left after {tried}: end the search here, or admit more widths"
    )]
    Exhausted {
        /// Number of configurations tried.
        tried: usize,
    },
    /// A configuration does not fit the space.
    #[error("configuration {config} does not fit the search space: {reason}")]
    InvalidConfig {
        /// The configuration, shown as a list of widths.
        config: String,
        /// What does not fit.
        reason: String,
    },
    /// A group of the space has no usable widths.
    #[error("group {group}: {reason}")]
    InvalidSpace {
        /// The group's name.
        group: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An option has a value that makes no sense.
    #[error("option {option}: {reason}")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// What would make sense.
        reason: String,
    },
    /// The cost that the budget is about was not measured.
    #[error(
        "the reward counts latency, and the candidate has no measured latency: measure it, or count MACs"
    )]
    LatencyMissing,
    /// A snapshot cannot be read back.
    #[error(
        "the {strategy} search cannot go on from its snapshot: {reason}; start the search anew or use the same configuration"
    )]
    Snapshot {
        /// Name of the strategy.
        strategy: &'static str,
        /// What does not fit.
        reason: String,
    },
    /// The embeddings or costs that the environment gave cannot be used.
    #[error("the search environment gave unusable {what}: {reason}")]
    Environment {
        /// Which of its answers.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The environment failed.
    #[error("the search environment failed: {0}")]
    Outside(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// libtorch failed.
    #[error("libtorch failed in the search agent: {0}")]
    Torch(#[from] tch::TchError),
}
