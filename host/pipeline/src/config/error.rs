//! Errors of a configuration.

use std::path::PathBuf;

/// A setting that is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The TOML does not parse, or names an unknown key.
    #[error("the configuration{}: {reason}", path.as_ref().map(|p| format!(" '{}'", p.display())).unwrap_or_default())]
    Syntax {
        /// The file, if it came from one.
        path: Option<PathBuf>,
        /// The parser's message with line and column.
        reason: String,
    },
    /// A network came from a file, without the images it is for.
    #[error(
        "'{model}' needs a data set: give the one that it was trained on with --data (or `data` in the configuration): {}. A \
         zoo network without --data is trained on generated images (shapes)",
        datasets::KINDS
    )]
    NoData {
        /// The file.
        model: String,
    },
    /// A value is out of its range.
    #[error("{key}: {reason}")]
    Value {
        /// The key, as in the TOML.
        key: &'static str,
        /// What is wrong and what is allowed.
        reason: String,
    },
}

impl ConfigError {
    pub(crate) fn value(key: &'static str, reason: impl Into<String>) -> Self {
        Self::Value {
            key,
            reason: reason.into(),
        }
    }
}
