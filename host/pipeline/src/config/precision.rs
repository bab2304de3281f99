//! The numbers that the result computes in.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ConfigError, ModelSource, RunConfig};

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

impl RunConfig {
    /// Refuses to search precision where it has no ranges or no effect.
    pub(super) fn check_precision(&self) -> Result<(), ConfigError> {
        if self.precision == PrecisionChoice::Given {
            return Ok(());
        }
        let refuse = |reason: &str| Err(ConfigError::value("precision", reason));
        if let ModelSource::Zoo(_) = self.model.source() {
            return refuse("`joint` needs a network that is given trained: an ONNX file");
        }
        if self.budget.latency.is_none() {
            return refuse("`joint` needs a latency budget: integers save time, and no MACs");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelSpec;

    fn check(model: &str, budget: &str, refusal: Option<&str>) {
        let settings = format!("precision = \"joint\"\nbudget.{budget}");
        let mut config = RunConfig::from_toml(&settings, None).unwrap();
        config.model = ModelSpec::new(model);
        match (config.check(), refusal) {
            (Ok(()), None) => {}
            (Err(error), Some(reason)) => {
                let error = error.to_string();
                assert!(
                    error.contains("precision") && error.contains(reason),
                    "{error}"
                );
            }
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn joint_precision_needs_a_trained_network_and_a_latency_budget() {
        check("net.onnx", "latency = 0.5", None);
        check("resnet20", "latency = 0.5", Some("given trained"));
        check("net.onnx", "macs = 0.5", Some("latency budget"));
    }
}
