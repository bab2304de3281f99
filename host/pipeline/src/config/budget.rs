//! What a pruned network may cost.

use std::fmt;
use std::str::FromStr;

use search::CostKind;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::measure::Measured;

/// A latency budget: a share of the original's latency (`0.7x`) or a time (`1.8ms`, `950us`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum LatencyBudget {
    /// Share of the original's latency, measured side by side.
    Ratio(f64),
    /// Nanoseconds on the device.
    Nanoseconds(f64),
}

impl FromStr for LatencyBudget {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let text = text.trim();
        let bad = || {
            let reason = format!(
                "'{text}' is not a latency; write a share of the original as 0.7x or a time as 1.8ms"
            );
            ConfigError::value("latency", reason)
        };
        let units = [
            ("ns", 1.0),
            ("us", 1e3),
            ("µs", 1e3),
            ("ms", 1e6),
            ("s", 1e9),
            ("x", 0.0),
        ];
        let (number, scale) = units
            .iter()
            .find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, *scale)))
            .ok_or_else(bad)?;
        let number: f64 = number.trim().parse().map_err(|_| bad())?;
        if !(number > 0.0 && number.is_finite()) {
            return Err(bad());
        }
        Ok(if scale == 0.0 {
            Self::Ratio(number)
        } else {
            Self::Nanoseconds(number * scale)
        })
    }
}

impl LatencyBudget {
    /// Whether a valid measurement is within the budget, the upper end of its 95 % interval included. A share needs a
    /// measurement beside a reference.
    #[must_use]
    pub fn allows(&self, measured: &Measured) -> bool {
        let high = match self {
            Self::Ratio(_) => measured.ratio.map(|(_, _, high)| high),
            Self::Nanoseconds(_) => Some(measured.interval_ns.1),
        };
        let (Self::Ratio(limit) | Self::Nanoseconds(limit)) = *self;
        measured.invalid.is_none() && high.is_some_and(|high| high <= limit)
    }
}

impl fmt::Display for LatencyBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ratio(r) => write!(f, "{r}x"),
            Self::Nanoseconds(ns) => write!(f, "{}ms", ns / 1e6),
        }
    }
}

impl TryFrom<String> for LatencyBudget {
    type Error = ConfigError;

    fn try_from(text: String) -> Result<Self, ConfigError> {
        text.parse()
    }
}

impl From<LatencyBudget> for String {
    fn from(budget: LatencyBudget) -> Self {
        budget.to_string()
    }
}

/// What the pruned network may cost. At least one must be given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetConfig {
    /// Latency on the device.
    pub latency: Option<LatencyBudget>,
    /// Multiply-accumulates as a share of the original's, in (0, 1].
    pub macs: Option<f64>,
}

impl BudgetConfig {
    /// The cost that counts: what a budget was given for.
    #[must_use]
    pub fn cost(&self) -> Option<CostKind> {
        match (self.latency.is_some(), self.macs.is_some()) {
            (true, true) => Some(CostKind::Both),
            (true, false) => Some(CostKind::Latency),
            (false, true) => Some(CostKind::Macs),
            (false, false) => None,
        }
    }
}

impl fmt::Display for BudgetConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latency = self.latency.map(|l| format!("latency {l}"));
        let macs = self.macs.map(|m| format!("MACs {m}x"));
        f.write_str(
            &latency
                .into_iter()
                .chain(macs)
                .collect::<Vec<_>>()
                .join(" and "),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_budgets_are_read_as_written() {
        let cases = [
            ("0.7x", Some(LatencyBudget::Ratio(0.7))),
            ("1.8ms", Some(LatencyBudget::Nanoseconds(1.8e6))),
            ("950 us", Some(LatencyBudget::Nanoseconds(950e3))),
            ("0.5s", Some(LatencyBudget::Nanoseconds(0.5e9))),
            ("0.7", None),
            ("-1ms", None),
            ("NaNx", None),
            ("fast", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(text.parse::<LatencyBudget>().ok(), wanted, "{text}");
        }
    }

    #[test]
    fn a_budget_allows_what_lies_below_it_with_the_whole_interval() {
        let measured = |ratio, invalid: Option<&str>| Measured {
            device: "local".into(),
            name: "m".into(),
            sha256: String::new(),
            median_ns: 1.0e6,
            interval_ns: (0.9e6, 1.1e6),
            minimum_ns: 0.8e6,
            p95_ns: 1.3e6,
            ratio,
            peak_memory_bytes: None,
            runtime: String::new(),
            notes: Vec::new(),
            invalid: invalid.map(Into::into),
            samples_ns: Vec::new(),
        };
        let cases = [
            ("0.7x", Some((0.6, 0.5, 0.7)), None, true),
            ("0.7x", Some((0.6, 0.5, 0.71)), None, false),
            ("0.7x", None, None, false),
            ("1.1ms", None, None, true),
            ("1ms", None, None, false),
            ("2ms", None, Some("too noisy"), false),
        ];
        for (budget, ratio, invalid, wanted) in cases {
            let budget: LatencyBudget = budget.parse().unwrap();
            assert_eq!(
                budget.allows(&measured(ratio, invalid)),
                wanted,
                "{budget} {ratio:?}"
            );
        }
    }
}
