//! The numbers that the result computes in.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// The numbers that the result computes in.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionChoice {
    /// Those of the model.
    #[default]
    Given,
    /// The search decides for each part of the network: floats, or 8-bit integers where the device
    /// is faster with them.
    Joint,
}

impl FromStr for PrecisionChoice {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "given" => Ok(Self::Given),
            "joint" => Ok(Self::Joint),
            _ => Err(ConfigError::value(
                "precision",
                format!("'{text}' is neither given nor joint"),
            )),
        }
    }
}
