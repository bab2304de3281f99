//! Errors of a comparison.

use std::path::PathBuf;

/// An error of a comparison with a baseline.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegressionError {
    /// A file cannot be read or written.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// The attempted operation.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// No baseline has that name.
    #[error(
        "there is no baseline `{name}` in {}; {}", folder.display(),
        if known.is_empty() { "save one with --save-baseline".to_owned() } else { format!("there are {}", known.join(", ")) }
    )]
    NoBaseline {
        /// The requested name.
        name: String,
        /// The searched folder.
        folder: PathBuf,
        /// The existing baselines.
        known: Vec<String>,
    },
    /// A baseline's file is damaged or from a newer graphprune.
    #[error("baseline {}: {detail}", path.display())]
    Baseline {
        /// The file.
        path: PathBuf,
        /// The problem.
        detail: String,
    },
    /// A baseline's name is not a valid file name.
    #[error(
        "`{name}` cannot be a baseline's name: use letters, digits, dots, hyphens and underscores"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// An entry of the history is from a newer graphprune.
    #[error("history {}: {detail}", path.display())]
    History {
        /// The file.
        path: PathBuf,
        /// The problem.
        detail: String,
    },
    /// Criterion's results cannot be read.
    #[error("the statistics of {id}: {detail}")]
    Statistics {
        /// The benchmark.
        id: String,
        /// The problem.
        detail: String,
    },
    /// The device failed.
    #[error(transparent)]
    Latency(#[from] latency::LatencyError),
}
