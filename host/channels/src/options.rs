//! Choices between ways of grouping channels.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The unit in which an attention is pruned.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Attention {
    /// The widths of queries and keys, and those of values, the same in every head.
    #[default]
    Widths,
    /// Whole heads.
    Heads,
}

impl FromStr for Attention {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "widths" => Ok(Self::Widths),
            "heads" => Ok(Self::Heads),
            _ => Err(format!("'{text}' is neither widths nor heads")),
        }
    }
}

/// Choices between ways of grouping channels.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(default, deny_unknown_fields)]
pub struct AnalysisOptions {
    /// The unit in which an attention is pruned.
    pub attention: Attention,
}
