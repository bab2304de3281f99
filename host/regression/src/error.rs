//! What can go wrong in a comparison.

use std::path::PathBuf;

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegressionError {
    /// A file cannot be read or written.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no baseline of that name.
    #[error(
        "there is no baseline `{name}` in {}; {}", folder.display(),
        if known.is_empty() { "save one with --save-baseline".to_owned() } else { format!("there are {}", known.join(", ")) }
    )]
    NoBaseline {
        /// The name asked for.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
        /// The baselines that are there.
        known: Vec<String>,
    },
    /// A baseline's file is damaged or of a newer graphprune.
    #[error("baseline {}: {detail}", path.display())]
    Baseline {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A name that cannot be a file's.
    #[error(
        "`{name}` cannot be a baseline's name: use letters, digits, dots, hyphens and underscores"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The history holds an entry that this graphprune does not understand.
    #[error("history {}: {detail}", path.display())]
    History {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Criterion's results cannot be read.
    #[error("the statistics of {id}: {detail}")]
    Statistics {
        /// The benchmark.
        id: String,
        /// What is wrong.
        detail: String,
    },
    /// The device failed.
    #[error(transparent)]
    Latency(#[from] latency::LatencyError),
}
