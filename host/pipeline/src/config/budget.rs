//! What a pruned network may cost.

use std::fmt;
use std::str::FromStr;

use latency::ShareOf;
use search::{Budget, CostKind};
use serde::{Deserialize, Serialize};

use super::{Bytes, ConfigError};

/// A limit on a latency: a share of a reference's (`0.7x`, `70%`, `0.7`) or a time (`1.8ms`,
/// `950us`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "String")]
pub enum LatencyBudget {
    /// Share of the reference's latency, measured side by side.
    Ratio(f64),
    /// Nanoseconds on the device.
    Nanoseconds(f64),
}

/// A limit in a file.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a share such as 0.7x or a time such as 1.8ms")]
enum Written {
    Text(String),
    Number(f64),
}

impl FromStr for LatencyBudget {
    type Err = ConfigError;

    /// Reads any limit. A share can be larger than the whole where it has a sign (`1.05x`,
    /// `105%`).
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let text = text.trim();
        let bad = |reason: String| ConfigError::value("latency", reason);
        let units = [
            ("ns", 1.0),
            ("us", 1e3),
            ("µs", 1e3),
            ("ms", 1e6),
            ("s", 1e9),
        ];
        let time = units
            .iter()
            .find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, *scale)));
        let Some((number, scale)) = time else {
            let share = ShareOf::Factor.parse(text);
            return share
                .map(Self::Ratio)
                .map_err(|error| bad(format!("{error}, or a time as 1.8ms")));
        };
        match number.trim().parse::<f64>().map(|number| number * scale) {
            Ok(ns) if ns > 0.0 && ns.is_finite() => Ok(Self::Nanoseconds(ns)),
            _ => Err(bad(format!("`{text}` is no time; write one as 1.8ms"))),
        }
    }
}

impl LatencyBudget {
    /// Reads the budget of a pruned network: a time, or a share below the whole.
    ///
    /// # Errors
    /// [`ConfigError::Value`] with what to write.
    pub fn budget(text: &str) -> Result<Self, ConfigError> {
        text.parse::<Self>()?.below_the_original()
    }

    pub(super) fn below_the_original(self) -> Result<Self, ConfigError> {
        if let Self::Ratio(share) = self {
            ShareOf::Budget
                .parse(&format!("{share}x"))
                .map_err(|error| {
                    ConfigError::value("budget.latency", format!("{error}, or a time as 1.8ms"))
                })?;
        }
        Ok(self)
    }

    /// The limit in words: `at most 0.7x of the original's latency`.
    #[must_use]
    pub fn words(&self, of: &str) -> String {
        match self {
            Self::Ratio(_) => format!("at most {self} of {of}'s latency"),
            Self::Nanoseconds(_) => format!("at most {self}"),
        }
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

impl TryFrom<Written> for LatencyBudget {
    type Error = ConfigError;

    fn try_from(written: Written) -> Result<Self, ConfigError> {
        match written {
            Written::Text(text) => text.parse(),
            Written::Number(number) => number.to_string().parse(),
        }
    }
}

impl From<LatencyBudget> for String {
    fn from(budget: LatencyBudget) -> Self {
        budget.to_string()
    }
}

/// What the pruned network may cost. At least one must be given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetConfig {
    /// Latency on the device.
    #[schemars(with = "Option<String>")]
    pub latency: Option<LatencyBudget>,
    /// Multiply-accumulates as a share of the original's, in (0, 1).
    pub macs: Option<f64>,
    /// RAM on a bare-metal board, such as "96KiB", beside a budget of latency or MACs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ram: Option<Bytes>,
    /// Flash on a bare-metal board, such as "256KiB", beside a budget of latency or MACs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flash: Option<Bytes>,
}

impl BudgetConfig {
    /// Refuses a budget that the original meets.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if let Some(latency) = self.latency {
            latency.below_the_original()?;
        }
        if let Some(share) = self.macs {
            let checked = ShareOf::Budget.check(share);
            checked.map_err(|error| ConfigError::value("budget.macs", error.to_string()))?;
        }
        Ok(())
    }

    /// The budget in words: `at most 0.7x of the original's latency and at most 0.5x of its
    /// MACs`.
    #[must_use]
    pub fn words(&self) -> String {
        let latency = self.latency.map(|limit| limit.words("the original"));
        let macs = self
            .macs
            .map(|share| format!("at most {share}x of the original's MACs"));
        let all: Vec<String> = latency
            .into_iter()
            .chain(macs)
            .chain(self.memory_words("at most "))
            .collect();
        all.join(" and ")
    }

    /// The limits of memory in words, each after `before`.
    fn memory_words(&self, before: &str) -> impl Iterator<Item = String> {
        let limits = [("RAM", self.ram), ("flash", self.flash)];
        limits
            .into_iter()
            .filter_map(move |(what, limit)| Some(format!("{before}{} of {what}", limit?)))
    }

    /// The limit on latency where it is a time, ns.
    pub(crate) fn latency_ns(&self) -> Option<f64> {
        match self.latency {
            Some(LatencyBudget::Nanoseconds(ns)) => Some(ns),
            _ => None,
        }
    }

    /// A remark where the original, which takes `original_ns`, is within the budget.
    pub(crate) fn met_by_the_original(&self, original_ns: f64) -> Option<&'static str> {
        let latency_only = self.macs.is_none() && self.ram.is_none() && self.flash.is_none();
        let is_met = latency_only && self.latency_ns().is_some_and(|ns| original_ns <= ns);
        is_met.then_some("the original meets the budget already: nothing has to be removed")
    }

    /// The budget of the search.
    pub(crate) fn of_search(&self) -> Budget {
        let latency_ratio = match self.latency {
            Some(LatencyBudget::Ratio(ratio)) => Some(ratio),
            _ => None,
        };
        Budget {
            latency_ratio,
            latency_ns: self.latency_ns(),
            macs_ratio: self.macs,
        }
    }

    /// The costs that have a budget.
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
                .chain(self.memory_words(""))
                .collect::<Vec<_>>()
                .join(" and "),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_on_latency_is_read_as_written_and_a_budget_lies_below_the_original() {
        use LatencyBudget::{Nanoseconds, Ratio};
        let cases = [
            ("0.7x", Some(Ratio(0.7)), true),
            ("70%", Some(Ratio(0.7)), true),
            ("0.7", Some(Ratio(0.7)), true),
            ("1.8ms", Some(Nanoseconds(1.8e6)), true),
            ("950 us", Some(Nanoseconds(950e3)), true),
            ("0.5s", Some(Nanoseconds(0.5e9)), true),
            ("1.05x", Some(Ratio(1.05)), false),
            ("105%", Some(Ratio(1.05)), false),
            ("1x", Some(Ratio(1.0)), false),
            ("100%", Some(Ratio(1.0)), false),
            ("1", None, false),
            ("70", None, false),
            ("0", None, false),
            ("0x", None, false),
            ("0ms", None, false),
            ("-1ms", None, false),
            ("-0.5x", None, false),
            ("NaNx", None, false),
            ("infx", None, false),
            ("infms", None, false),
            ("1e308s", None, false),
            ("fast", None, false),
            ("", None, false),
        ];
        for (text, limit, is_budget) in cases {
            assert_eq!(text.parse::<LatencyBudget>().ok(), limit, "{text}");
            let budget = LatencyBudget::budget(text).ok();
            assert_eq!(budget, limit.filter(|_| is_budget), "{text}");
        }
    }

    #[test]
    fn an_original_within_the_budget_has_a_remark() {
        let of = |text: &str| BudgetConfig {
            latency: Some(LatencyBudget::budget(text).unwrap()),
            ..BudgetConfig::default()
        };
        let both = BudgetConfig {
            macs: Some(0.5),
            ..of("2ms")
        };
        let cases = [
            (of("2ms"), true),
            (of("1ms"), true),
            (of("0.9ms"), false),
            (of("0.5x"), false),
            (both, false),
        ];
        for (budget, is_met) in cases {
            let remark = budget.met_by_the_original(1e6);
            assert_eq!(remark.is_some(), is_met, "{budget}: {remark:?}");
        }
    }

    #[test]
    fn a_budget_has_its_words() {
        let budget = BudgetConfig {
            latency: "70%".parse().ok(),
            macs: Some(0.5),
            ..BudgetConfig::default()
        };
        let words =
            "at most 0.7x of the original's latency and at most 0.5x of the original's MACs";
        assert_eq!(budget.words(), words);
        let on_board = BudgetConfig {
            ram: "96KiB".parse().ok(),
            ..budget
        };
        assert_eq!(
            on_board.words(),
            format!("{words} and at most 98.3 kB of RAM")
        );
    }
}
