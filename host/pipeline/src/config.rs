//! What a run is asked to do: a TOML file, overridden by flags, stored in the run folder.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use channels::AnalysisOptions;
use datasets::Augment;
use search::{CostKind, RewardConfig, ScreenConfig, WidthGrid};
use serde::{Deserialize, Serialize};
use torch_exec::ExecOptions;

use crate::device::DeviceSpec;
use crate::knowledge::ProbeConfig;
use crate::measure::Measured;
use crate::model::ModelSpec;
use crate::store_place::StorePlace;

/// A setting that cannot be.
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

/// A search strategy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StrategyKind {
    /// Deep deterministic policy gradient on the Graph PruningNet's node embeddings.
    Ddpg,
    /// The evolutionary search of MetaPruning.
    Evolution,
    /// Random configurations near the budget.
    Random,
    /// One keep ratio for all groups.
    Uniform,
}

impl StrategyKind {
    /// All strategies.
    pub const ALL: [Self; 4] = [Self::Ddpg, Self::Evolution, Self::Random, Self::Uniform];

    /// Whether several configurations can be asked for before the first is told, without a loss to speak of: then the devices
    /// of a fleet measure them at once. DDPG learns from every episode before the next, and the bisection of the uniform
    /// one needs each answer for its next question.
    #[must_use]
    pub fn asks_ahead(self) -> bool {
        matches!(self, Self::Evolution | Self::Random)
    }

    /// The name as written in configurations and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ddpg => "ddpg",
            Self::Evolution => "evolution",
            Self::Random => "random",
            Self::Uniform => "uniform",
        }
    }
}

impl FromStr for StrategyKind {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        Self::ALL
            .into_iter()
            .find(|s| s.name() == text)
            .ok_or_else(|| {
                ConfigError::value(
                    "strategy",
                    format!("'{text}' is not one of ddpg, evolution, random, uniform"),
                )
            })
    }
}

/// The search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchConfig {
    /// Who proposes the configurations.
    pub strategy: StrategyKind,
    /// Configurations to try.
    pub episodes: u64,
    /// The most configurations whose latency is measured before the search, so that the latency model knows the device.
    pub calibration: u64,
    /// How cost enters the reward.
    pub reward: RewardConfig,
    /// How the measurement of a candidate is retried when it is not valid.
    pub measure_attempts: u32,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self {
            strategy: StrategyKind::Ddpg,
            episodes: 240,
            calibration: 40,
            reward: RewardConfig::default(),
            measure_attempts: 3,
        }
    }
}

/// From the best candidates to the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResultConfig {
    /// The best candidates of the search that are fine-tuned; the best on the search split wins.
    pub candidates: usize,
    /// Where the weights of a candidate come from before fine-tuning.
    pub weights: WeightOrigin,
    /// Strategies to compare with: the best configuration of each gets the same fine-tuning and measurement.
    pub baselines: Vec<StrategyKind>,
    /// Sampling effort of the final measurements, as a multiple of the search's.
    pub final_effort: f64,
    /// Whether a candidate is measured with the final effort before it is fine-tuned, and passed over when the upper end
    /// of that interval exceeds the budget less the margin.
    pub confirm_before_finetuning: bool,
    /// Share of the budget that the confirming measurement must leave free, because the final one differs a little.
    pub confirm_margin: f64,
    /// Whether a result that turns out slower than the original is one. It is refused otherwise.
    pub allow_slower: bool,
}

impl Default for ResultConfig {
    fn default() -> Self {
        Self {
            candidates: 1,
            weights: WeightOrigin::Original,
            baselines: vec![StrategyKind::Uniform],
            final_effort: 4.0,
            confirm_before_finetuning: true,
            confirm_margin: 0.01,
            allow_slower: false,
        }
    }
}

/// Where a candidate's weights come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightOrigin {
    /// Generated by the Graph PruningNet for exactly these widths.
    Generated,
    /// Cut from the model's own weights by importance; generated where the model was not given trained.
    Original,
    /// Initialised anew: trained from scratch, the papers' protocol.
    Scratch,
}

/// What a run finds out about the device's latency, and what it makes of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KnowledgeConfig {
    /// Whether the network's kernels are measured alone before the search, so that predictions begin with their sum instead of
    /// MACs.
    pub kernels: bool,
    /// Whether only widths that end a step of the device's are offered: the others take no less time than the next of these.
    pub corners: bool,
    /// How kernels are measured.
    pub probe: ProbeConfig,
    /// Half the width of the predicted interval, relative: calibration ends early once predictions are as sure as this.
    pub sure: f64,
    /// Which candidates are measured.
    pub screen: ScreenConfig,
}

impl Default for KnowledgeConfig {
    fn default() -> Self {
        Self {
            kernels: true,
            corners: true,
            probe: ProbeConfig::default(),
            sure: 0.025,
            screen: ScreenConfig::default(),
        }
    }
}

/// Everything a run is asked to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// An ONNX file, or a network of the zoo by name.
    pub model: ModelSpec,
    /// The data set, for example `cifar10:DIR`, `folder:DIR`, `shapes`.
    pub data: String,
    /// How pixels become the model's input: a preset's name; the data set's own when absent.
    pub normalise: Option<String>,
    /// Random changes to training images; when absent, what suits the data set.
    pub augment: Option<Augment>,
    /// The device the latency is measured on.
    pub device: DeviceSpec,
    /// Where measurements are stored and looked up: `run` (in the run's folder), `user` (one file for all runs of the
    /// user), or a file.
    pub measurements: StorePlace,
    /// What the result may cost.
    pub budget: BudgetConfig,
    /// Seed of everything random.
    pub seed: u64,
    /// Where training runs: `cpu` or `cuda` (`cuda:1`).
    pub train_on: String,
    /// Threads of the training; 0 takes all cores.
    pub threads: usize,
    /// Memory order and precision of the training; when absent, the fastest of what the processor has, by a
    /// measurement at the start. Exported networks are always computed, compared and tested in full precision.
    pub exec: Option<ExecOptions>,
    /// Images of a training batch.
    pub batch: usize,
    /// How channels are grouped where there is a choice: `attention = "widths"` or `"heads"`.
    pub groups: AnalysisOptions,
    /// Admissible widths.
    pub widths: WidthGrid,
    /// Joint training of the Graph PruningNet.
    pub joint: train::JointConfig,
    /// The Graph PruningNet.
    pub pruning_net: train::PruningNetConfig,
    /// What is found out about the device's latency.
    pub knowledge: KnowledgeConfig,
    /// The search.
    pub search: SearchConfig,
    /// How several devices share the measurements.
    pub fleet: latency::FleetConfig,
    /// Evaluation of candidates.
    pub evaluate: train::EvaluatorConfig,
    /// Fine-tuning.
    pub finetune: train::FinetuneConfig,
    /// From candidates to the result.
    pub result: ResultConfig,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            model: ModelSpec::default(),
            data: "shapes".into(),
            normalise: None,
            augment: None,
            device: DeviceSpec::default(),
            measurements: StorePlace::default(),
            budget: BudgetConfig::default(),
            seed: 1,
            train_on: "cpu".into(),
            threads: 0,
            exec: None,
            batch: 128,
            groups: AnalysisOptions::default(),
            widths: WidthGrid::default(),
            joint: train::JointConfig::default(),
            pruning_net: train::PruningNetConfig::default(),
            knowledge: KnowledgeConfig::default(),
            search: SearchConfig::default(),
            fleet: latency::FleetConfig::default(),
            evaluate: train::EvaluatorConfig::default(),
            finetune: train::FinetuneConfig::default(),
            result: ResultConfig::default(),
        }
    }
}

impl RunConfig {
    /// Reads a configuration; absent keys take their defaults, unknown keys are errors.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] with line and column.
    pub fn from_toml(text: &str, path: Option<PathBuf>) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|e| ConfigError::Syntax {
            path,
            reason: e.to_string(),
        })
    }

    /// The configuration as TOML, every key written out.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] when a value cannot be written.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string_pretty(self).map_err(|e| ConfigError::Syntax {
            path: None,
            reason: e.to_string(),
        })
    }

    /// Checks the ranges of the settings this crate reads itself.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.budget.cost().is_none() {
            let reason =
                "give a budget: a latency (--latency 0.7x or 1.8ms), MACs (--macs 0.5), or both";
            return Err(ConfigError::value("budget", reason));
        }
        if self.budget.macs.is_some_and(|m| !(m > 0.0 && m <= 1.0)) {
            return Err(ConfigError::value(
                "budget.macs",
                "a share of the original's MACs, above 0 and at most 1",
            ));
        }
        if self.search.episodes == 0 {
            return Err(ConfigError::value("search.episodes", "must be at least 1"));
        }
        if self.batch == 0 {
            return Err(ConfigError::value("batch", "must be at least 1"));
        }
        if self.search.measure_attempts == 0 {
            return Err(ConfigError::value(
                "search.measure_attempts",
                "must be at least 1",
            ));
        }
        if self.result.candidates == 0 {
            return Err(ConfigError::value(
                "result.candidates",
                "must be at least 1",
            ));
        }
        self.knowledge
            .screen
            .check()
            .map_err(|e| ConfigError::value("knowledge.screen", e.to_string()))?;
        if !(self.knowledge.sure > 0.0 && self.knowledge.sure.is_finite()) {
            return Err(ConfigError::value(
                "knowledge.sure",
                "must be a positive number",
            ));
        }
        if !(0.0..1.0).contains(&self.result.confirm_margin) {
            return Err(ConfigError::value(
                "result.confirm_margin",
                "must be at least 0 and below 1",
            ));
        }
        if !(self.result.final_effort >= 1.0 && self.result.final_effort.is_finite()) {
            return Err(ConfigError::value(
                "result.final_effort",
                "must be at least 1",
            ));
        }
        Ok(())
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

    #[test]
    fn a_configuration_survives_its_toml() {
        let mut config = RunConfig {
            seed: 7,
            ..RunConfig::default()
        };
        config.budget.latency = Some(LatencyBudget::Ratio(0.7));
        let text = config.to_toml().unwrap();
        assert_eq!(RunConfig::from_toml(&text, None).unwrap(), config);
    }

    #[test]
    fn an_unknown_key_and_a_missing_budget_are_errors() {
        assert!(
            RunConfig::from_toml("sede = 1", None)
                .unwrap_err()
                .to_string()
                .contains("sede")
        );
        assert!(matches!(
            RunConfig::default().check(),
            Err(ConfigError::Value { key: "budget", .. })
        ));
    }
}
