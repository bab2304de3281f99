//! Budgets of latency and multiply-accumulates.

use crate::error::SearchError;
use serde::{Deserialize, Serialize};

/// The cost that counts.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum CostKind {
    /// Latency on the device.
    #[default]
    Latency,
    /// Multiply-accumulates.
    Macs,
    /// Both: the larger share of its budget.
    Both,
}

/// A budget as given by the user. The part that the reward counts is required.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Latency as a share of the original network's, measured side by side; 0.7 means 30 %
    /// faster.
    pub latency_ratio: Option<f64>,
    /// Latency in nanoseconds on the device; converted by the original network's measured
    /// latency.
    pub latency_ns: Option<f64>,
    /// Multiply-accumulates as a share of the original network's.
    pub macs_ratio: Option<f64>,
}

/// Cost of the original network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Multiply-accumulates per image.
    pub macs: u64,
    /// Median latency in nanoseconds on the device, if measured.
    pub latency_ns: Option<f64>,
}

/// A budget resolved against the original network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest latency ratio, if latency counts.
    pub latency_ratio: Option<f64>,
    /// Most multiply-accumulates, if they count.
    pub macs: Option<f64>,
}

impl Budget {
    /// Returns the limits that count under `kind`. If a ratio and nanoseconds are given, the
    /// tighter one holds.
    ///
    /// # Errors
    /// [`SearchError::InvalidOption`] if a required part is missing or not positive, or if
    /// nanoseconds are given without a measured reference.
    pub fn resolve(&self, kind: CostKind, reference: &Reference) -> Result<Limits, SearchError> {
        let invalid = |option, reason: String| Err(SearchError::InvalidOption { option, reason });
        for (option, value) in [
            ("latency_ratio", self.latency_ratio),
            ("latency_ns", self.latency_ns),
            ("macs_ratio", self.macs_ratio),
        ] {
            if let Some(value) = value
                && !(value > 0.0 && value.is_finite())
            {
                return invalid(option, format!("must be a positive number, not {value}"));
            }
        }
        let mut limits = Limits {
            latency_ratio: None,
            macs: None,
        };
        if matches!(kind, CostKind::Latency | CostKind::Both) {
            let from_ns = match (self.latency_ns, reference.latency_ns) {
                (Some(limit), Some(full)) if full > 0.0 => Some(limit / full),
                (Some(_), _) => {
                    return invalid(
                        "latency_ns",
                        "needs the original network's measured latency: measure it first".into(),
                    );
                }
                (None, _) => None,
            };
            limits.latency_ratio = match (self.latency_ratio, from_ns) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            if limits.latency_ratio.is_none() {
                return invalid(
                    "latency_ratio",
                    "the reward counts latency: give a latency budget".into(),
                );
            }
        }
        if matches!(kind, CostKind::Macs | CostKind::Both) {
            let Some(ratio) = self.macs_ratio else {
                return invalid(
                    "macs_ratio",
                    "the reward counts MACs: give a MACs budget".into(),
                );
            };
            limits.macs = Some(ratio * reference.macs as f64);
        }
        Ok(limits)
    }
}

impl Limits {
    /// Returns the cost as a share of the budget, the larger one if both costs count; up to 1 is
    /// within the budget. This is the preferred unit of [`crate::Environment::cost`], with a
    /// budget of 1. An unknown latency counts as infinite.
    pub fn load(&self, macs: u64, latency_ratio: Option<f64>) -> f64 {
        let latency = self
            .latency_ratio
            .map(|limit| latency_ratio.map_or(f64::INFINITY, |ratio| ratio / limit));
        let macs = self.macs.map(|limit| macs as f64 / limit);
        latency.unwrap_or(0.0).max(macs.unwrap_or(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_resolve_to_the_tightest_limits_that_count() {
        let reference = Reference {
            macs: 1000,
            latency_ns: Some(2e6),
        };
        let budget = Budget {
            latency_ratio: Some(0.7),
            latency_ns: Some(1e6),
            macs_ratio: Some(0.5),
        };
        let cases = [
            (CostKind::Latency, Some(0.5), None),
            (CostKind::Macs, None, Some(500.0)),
            (CostKind::Both, Some(0.5), Some(500.0)),
        ];
        for (kind, latency_ratio, macs) in cases {
            assert_eq!(
                budget.resolve(kind, &reference).unwrap(),
                Limits {
                    latency_ratio,
                    macs
                }
            );
        }
        let both = budget.resolve(CostKind::Both, &reference).unwrap();
        assert_eq!(both.load(250, Some(0.4)), 0.8);
        assert_eq!(both.load(600, Some(0.4)), 1.2);
        assert_eq!(both.load(600, None), f64::INFINITY);
    }

    #[test]
    fn missing_and_invalid_budgets_are_refused() {
        let reference = Reference {
            macs: 1000,
            latency_ns: None,
        };
        let cases = [
            (Budget::default(), CostKind::Latency, "latency_ratio"),
            (Budget::default(), CostKind::Macs, "macs_ratio"),
            (
                Budget {
                    latency_ns: Some(1.0),
                    ..Budget::default()
                },
                CostKind::Latency,
                "latency_ns",
            ),
            (
                Budget {
                    latency_ratio: Some(-0.5),
                    ..Budget::default()
                },
                CostKind::Latency,
                "latency_ratio",
            ),
            (
                Budget {
                    macs_ratio: Some(f64::NAN),
                    ..Budget::default()
                },
                CostKind::Macs,
                "macs_ratio",
            ),
        ];
        for (budget, kind, expected) in cases {
            match budget.resolve(kind, &reference) {
                Err(SearchError::InvalidOption { option, .. }) => assert_eq!(option, expected),
                other => panic!("{budget:?}: {other:?}"),
            }
        }
    }
}
