//! Why a network cannot run on a board.

/// A network that has no plan.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LowerError {
    /// There is no operator in integers.
    #[error(
        "the network computes in floats, and a board in 8-bit integers: `graphprune quantize` with the board as --device makes \
         such a file; `prune` and `measure` quantise on the way, with the images of --data"
    )]
    Floats,
    /// A node has a form that the boards' operators do not cover.
    #[error("node '{node}' ({op}) does not run on a board: {reason}")]
    Node {
        /// Its name.
        node: String,
        /// Its operator.
        op: String,
        /// What is missing, with a remedy if there is one.
        reason: String,
    },
    /// An input or output of the network has a form that boards do not take.
    #[error("the network's {end} '{value}' does not suit a board: {reason}")]
    End {
        /// `input` or `output`.
        end: &'static str,
        /// Its name.
        value: String,
        /// What is missing.
        reason: String,
    },
    /// The plan that was made is refused, which is a fault of this crate.
    #[error("the plan of the network is not valid: {0}")]
    Plan(#[from] int8_engine::PlanError),
    /// The reference did not run.
    #[error(transparent)]
    Run(#[from] int8_engine::RunError),
}
