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
        "say on which images '{model}' was trained, with --data (or `data` in the configuration): {}. A network of the zoo is \
         trained on the built-in images (shapes) where nothing is said",
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
