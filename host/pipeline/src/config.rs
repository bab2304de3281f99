//! What a run is asked to do: a TOML file, overridden by flags, stored in the run folder.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use channels::AnalysisOptions;
use datasets::Augment;
use latency::ShareFileError;
use search::{RewardConfig, ScreenConfig, WidthGrid};
use serde::{Deserialize, Serialize};
use torch_exec::ExecOptions;

use crate::device::DeviceSpec;
use crate::knowledge::ProbeConfig;
use crate::model::ModelSpec;
use crate::store_place::StorePlace;

mod budget;
mod shares;

pub use budget::{BudgetConfig, LatencyBudget};

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
    /// A network came from a file, and nobody said which images it is for.
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
    /// How the best are told from the next.
    pub race: RaceConfig,
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
    /// Whether exported networks have an open batch where the model's is fixed. They keep the model's otherwise.
    pub dynamic_batch: bool,
}

impl Default for ResultConfig {
    fn default() -> Self {
        Self {
            candidates: 1,
            race: RaceConfig::default(),
            weights: WeightOrigin::Original,
            baselines: vec![StrategyKind::Uniform],
            final_effort: 4.0,
            confirm_before_finetuning: true,
            confirm_margin: 0.01,
            allow_slower: false,
            dynamic_batch: false,
        }
    }
}

/// A short fine-tuning of more candidates than will be fine-tuned. The weights that a Graph PruningNet generates rank configurations
/// well from afar, but the first dozen of a search are often closer to each other than what an evaluation can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RaceConfig {
    /// Candidates that take part; there is no race unless they are more than are fine-tuned.
    pub entrants: usize,
    /// Passes over the training data that each of them gets.
    pub epochs: usize,
}

impl Default for RaceConfig {
    fn default() -> Self {
        Self {
            entrants: 6,
            epochs: 3,
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

/// What becomes of a network with nodes in training mode: batch normalisations by the statistics of the batch, dropouts that drop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrainingMode {
    /// It is refused: its outputs are not those of any network that could be deployed.
    #[default]
    Refuse,
    /// These nodes are taken as they are at inference, with a warning.
    Inference,
}

impl FromStr for TrainingMode {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "inference" => Ok(Self::Inference),
            _ => Err(ConfigError::value(
                "training_mode",
                format!("'{text}' is neither refuse nor inference"),
            )),
        }
    }
}

/// What a run finds out about the device's latency, and what it makes of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KnowledgeConfig {
    /// Whether the network's kernels are measured alone before the search, so that predictions begin with their sum instead of
    /// MACs.
    pub kernels: bool,
    /// Whether those of another device of the same profile and processor are taken where the store of measurements holds them
    /// and not the device's own. Twenty whole networks then tell how the device differs; where they cannot, its own are measured.
    #[serde(alias = "kindred")]
    pub donor: bool,
    /// Whether only the step edges of the device's latency are offered: other widths take no less time than the next edge.
    #[serde(alias = "corners")]
    pub step_edges: bool,
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
            donor: true,
            step_edges: true,
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
    /// An ONNX file, or a network of the zoo by name; as a table with `name` and `input_shapes` where the file leaves sizes open.
    pub model: ModelSpec,
    /// What becomes of nodes of the model that are in training mode: `refuse`, or `inference`.
    pub training_mode: TrainingMode,
    /// The data set, for example `cifar10:DIR`, `folder:DIR`, `shapes`. A file needs one; a network of the zoo takes
    /// `shapes` by default.
    pub data: String,
    /// Whether a run goes on where more than one in a hundred image files of a folder cannot be used.
    pub allow_skipped: bool,
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
            training_mode: TrainingMode::default(),
            data: String::new(),
            allow_skipped: false,
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
    /// Reads a configuration; absent keys take their defaults, unknown keys are errors. Shares can be written as on the command
    /// line.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] with line and column, [`ConfigError::Value`] for a share that is none.
    pub fn from_toml(text: &str, path: Option<PathBuf>) -> Result<Self, ConfigError> {
        latency::read_toml(text, shares::KEYS).map_err(|error| match error {
            ShareFileError::Share { key, problem } => ConfigError::value(key, problem.to_string()),
            other => ConfigError::Syntax {
                path,
                reason: other.to_string(),
            },
        })
    }

    /// Reads the configuration that a run wrote into its folder. Numbers are not looked at again, so that the run of an earlier
    /// version goes on.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] with line and column.
    pub fn stored(text: &str, path: PathBuf) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::Syntax {
            path: Some(path),
            reason: error.to_string(),
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

    /// The configuration with what depends on other settings filled in.
    ///
    /// # Errors
    /// [`ConfigError::NoData`] for a file without data.
    pub fn settled(mut self) -> Result<Self, ConfigError> {
        if self.data.trim().is_empty() {
            // What is neither a file nor in the zoo is refused later, with what the zoo has.
            if Path::new(&self.model.name).exists() {
                return Err(ConfigError::NoData {
                    model: self.model.name,
                });
            }
            self.data = "shapes".into();
        }
        Ok(self)
    }

    /// Checks the settings of a new run.
    ///
    /// # Errors
    /// As [`Self::check_stored`], and when the budget asks for nothing that the original is not.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.budget.check()?;
        self.check_stored()
    }

    /// Checks the ranges of the settings this crate reads itself.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub fn check_stored(&self) -> Result<(), ConfigError> {
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
        if self.result.race.epochs == 0 {
            return Err(ConfigError::value(
                "result.race.epochs",
                "must be at least 1; `result.race.entrants = 1` is without a race",
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
    fn only_a_network_of_the_zoo_takes_the_built_in_images_unasked() {
        let config = |model: &str, data: &str| RunConfig {
            model: ModelSpec::new(model),
            data: data.into(),
            ..RunConfig::default()
        };
        let data = |model, given| config(model, given).settled().map(|c| c.data);
        assert_eq!(data("resnet20", "").unwrap(), "shapes");
        assert_eq!(data("resnet20", "cifar10:x").unwrap(), "cifar10:x");
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert_eq!(data(file, "shapes").unwrap(), "shapes");
        let error = data(file, " ").unwrap_err().to_string();
        for word in [file, "--data", "cifar10:DIR", "folder:DIR", "shapes"] {
            assert!(error.contains(word), "no '{word}' in: {error}");
        }
    }

    #[test]
    fn a_model_is_a_name_or_a_table_with_the_sizes_of_its_inputs() {
        let read = |text: &str| RunConfig::from_toml(text, None).map(|c| c.model);
        assert_eq!(read("model = 'a.onnx'").unwrap(), ModelSpec::new("a.onnx"));
        let text = "[model]\nname = 'a.onnx'\ninput_shapes = ['1x3x8x8', 'mask=1x8']";
        let config = RunConfig::from_toml(text, None).unwrap();
        let sizes = config.model.input_sizes.iter().map(ToString::to_string);
        assert_eq!(sizes.collect::<Vec<_>>(), ["1x3x8x8", "mask=1x8"]);
        let again = RunConfig::from_toml(&config.to_toml().unwrap(), None).unwrap();
        assert_eq!(again, config);
        for (wrong, named) in [
            ("[model]\nname = 'a.onnx'\ninput_shapes = ['1x3x']", "1x3x"),
            (
                "[model]\nname = 'a.onnx'\ninput_shape = ['1x3']",
                "input_shape",
            ),
            ("[model]\ninput_shapes = ['1x3']", "name"),
            ("model = 3", "name"),
        ] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn a_share_in_a_file_is_read_and_refused_as_on_the_command_line() {
        let read = |text: &str| {
            let config = RunConfig::from_toml(text, None)?;
            config.check().map(|()| config)
        };
        let check = |text: &str, latency: Option<LatencyBudget>, macs: Option<f64>| {
            let budget = read(text).unwrap().budget;
            assert_eq!((budget.latency, budget.macs), (latency, macs), "{text}");
        };
        check("budget.macs = \"50%\"", None, Some(0.5));
        check("budget.macs = 0.5", None, Some(0.5));
        let seven = Some(LatencyBudget::Ratio(0.7));
        check("budget.latency = \"70%\"", seven, None);
        check("budget.latency = 0.7", seven, None);
        let refused = |text: &str, needles: &[&str]| {
            let error = read(text).unwrap_err().to_string();
            for needle in needles {
                assert!(error.contains(needle), "{text}: no '{needle}' in {error}");
            }
        };
        refused(
            "budget.macs = 1",
            &["budget.macs", "not below the original's"],
        );
        refused("budget.macs = 50", &["budget.macs", "write 50%"]);
        refused("budget.macs = nan", &["budget.macs"]);
        refused("budget.latency = \"1x\"", &["budget.latency", "not below"]);
        refused("budget.latency = 3", &["latency", "`3`"]);
        for key in shares::KEYS {
            refused(&format!("{} = 3", key.key), &[key.key, "write 3%"]);
        }
        // What a run has written is not judged again.
        let old = RunConfig::stored("budget.macs = 1.0\nknowledge.sure = 2.0", "c.toml".into());
        assert!(old.unwrap().check_stored().is_ok());
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
