//! The configuration of a run: a TOML file, overridden by flags, stored in the run folder.

use std::path::PathBuf;
use std::str::FromStr;

use datasets::{Augment, DataSpec, Preprocessing, Source};
use latency::ShareFileError;
use search::WidthGrid;
use serde::{Deserialize, Deserializer, Serialize};
use torch_exec::ExecOptions;

mod budget;
mod bytes;
mod device;
mod error;
mod groups;
mod importance;
mod input;
mod model;
mod original;
mod precision;
mod qat;
mod recipe;
mod reference;
mod result;
mod shares;
mod store;
mod strategy;
mod task;
#[cfg(test)]
mod tests;

pub use budget::{BudgetConfig, LatencyBudget};
pub use bytes::Bytes;
pub use device::DeviceSpec;
pub use error::ConfigError;
pub(crate) use groups::GroupNames;
pub use groups::{Extent, GroupRule, GroupsConfig};
pub use importance::{Criterion, ImportanceConfig};
pub use model::{ModelSource, ModelSpec};
pub use original::OriginalConfig;
pub use precision::PrecisionChoice;
pub use qat::QatConfig;
pub use reference::{Setting, SettingsTable, settings};
pub use result::{HalvingConfig, ResultConfig, WeightOrigin};
pub use search::StrategyKind;
pub use store::StorePlace;
pub use strategy::{EvaluationWeights, KnowledgeConfig, Score, SearchConfig};
pub use task::{OutputChoice, TaskConfig, TaskKind};

/// What happens to nodes in training mode: batch normalisations with the statistics of the batch,
/// dropouts that drop.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum TrainingMode {
    /// The network is refused: no network that could be deployed computes its outputs.
    #[default]
    Refuse,
    /// The nodes are converted to inference mode, with a warning.
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

/// The settings of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// An ONNX file, or a network of the zoo by name; as a table with `name` and `input_shapes`
    /// where the file leaves sizes open.
    #[schemars(with = "String")]
    pub model: ModelSpec,
    /// What happens to nodes of the model that are in training mode: `refuse`, or `inference`.
    pub training_mode: TrainingMode,
    /// The data set, for example `cifar10:DIR`, `folder:DIR`, `npz:DIR`, `shapes`. A file needs
    /// one; a network of the zoo takes `shapes` by default.
    #[serde(deserialize_with = "data_if_named")]
    #[schemars(with = "Option<String>")]
    pub data: Option<DataSpec>,
    /// What the network is for.
    pub task: TaskConfig,
    /// Whether a run goes on where more than one in a hundred image files of a folder cannot be
    /// used.
    pub allow_skipped: bool,
    /// How images become the network's input: a value is (byte / scale - mean) / std.
    #[serde(alias = "normalise", deserialize_with = "input::table_or_preset")]
    pub input: Preprocessing,
    /// Random changes to training images; when absent, what suits the data set.
    pub augment: Option<Augment>,
    /// The device the latency is measured on.
    #[schemars(with = "String")]
    pub device: DeviceSpec,
    /// Where measurements are stored and looked up: `run` (in the run's folder), `user` (one file
    /// for all runs of the user), or a file.
    #[schemars(with = "String")]
    pub measurements: StorePlace,
    /// What the result may cost.
    pub budget: BudgetConfig,
    /// Seed of everything random.
    pub seed: u64,
    /// Where training runs: `cpu` or `cuda` (`cuda:1`).
    pub train_on: String,
    /// Threads of the training; 0 chooses their number by a measurement at the start.
    pub threads: usize,
    /// Memory order and precision of the training; when absent, the fastest that the processor
    /// has, by a measurement at the start. Exported networks are always computed, compared and
    /// tested in full precision.
    pub exec: Option<ExecOptions>,
    /// Images of a training batch.
    pub batch: usize,
    /// Whether several processes that train one run normalise each batch as a whole
    /// (SyncBatchNorm), and not each process's images by their own statistics. So their number does
    /// not change what a network with BatchNorm learns. It takes two more sums for each layer.
    pub sync_batch_norm: bool,
    /// How channels are grouped where there is a choice, and rules for single groups in tables of
    /// their own, `[groups."PATTERN"]`.
    pub groups: GroupsConfig,
    /// The numbers that the result computes in: `given` (those of the model) or `joint`, where the
    /// search decides for each part of the network between floats and 8-bit integers.
    pub precision: PrecisionChoice,
    /// Admissible widths.
    pub widths: WidthGrid,
    /// Which channels are dropped first.
    pub importance: ImportanceConfig,
    /// Training of a network of the zoo, before it is pruned.
    pub original: OriginalConfig,
    /// Joint training of the Graph PruningNet.
    pub joint: train::JointConfig,
    /// The Graph PruningNet.
    pub pruning_net: train::PruningNetConfig,
    /// How the device's latency is modelled.
    pub knowledge: KnowledgeConfig,
    /// The search.
    pub search: SearchConfig,
    /// How several devices share the measurements.
    pub fleet: latency::FleetConfig,
    /// Evaluation of candidates.
    pub evaluate: train::EvaluatorConfig,
    /// Repair of a cut by least squares.
    pub repair: train::RepairConfig,
    /// Fine-tuning.
    pub finetune: train::FinetuneConfig,
    /// Quantisation-aware training of networks with integers, after fine-tuning.
    pub qat: QatConfig,
    /// From candidates to the result.
    pub result: ResultConfig,
}

/// Reads a data set; an empty name is none.
fn data_if_named<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DataSpec>, D::Error> {
    let text = String::deserialize(from)?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            model: ModelSpec::default(),
            training_mode: TrainingMode::default(),
            data: None,
            task: TaskConfig::default(),
            allow_skipped: false,
            input: Preprocessing::default(),
            augment: None,
            device: DeviceSpec::default(),
            measurements: StorePlace::default(),
            budget: BudgetConfig::default(),
            seed: 1,
            train_on: "cpu".into(),
            threads: 0,
            exec: None,
            batch: 128,
            sync_batch_norm: false,
            groups: GroupsConfig::default(),
            precision: PrecisionChoice::default(),
            widths: WidthGrid::default(),
            importance: ImportanceConfig::default(),
            original: OriginalConfig::default(),
            joint: train::JointConfig::default(),
            pruning_net: train::PruningNetConfig::default(),
            knowledge: KnowledgeConfig::default(),
            search: SearchConfig::default(),
            fleet: latency::FleetConfig::default(),
            evaluate: train::EvaluatorConfig::default(),
            repair: train::RepairConfig::default(),
            finetune: train::FinetuneConfig::default(),
            qat: QatConfig::default(),
            result: ResultConfig::default(),
        }
    }
}

impl RunConfig {
    /// Reads a configuration. Absent keys take their defaults, unknown keys are errors. Shares
    /// can be written as on the command line.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] with line and column, [`ConfigError::Value`] for an invalid share.
    pub fn from_toml(text: &str, path: Option<PathBuf>) -> Result<Self, ConfigError> {
        latency::read_toml(text, shares::KEYS).map_err(|error| match error {
            ShareFileError::Share { key, problem } => ConfigError::value(key, problem.to_string()),
            other => ConfigError::Syntax {
                path,
                reason: other.to_string(),
            },
        })
    }

    /// Reads the configuration in a run folder. Shares are not checked again, so that the run of
    /// an earlier version can be resumed.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] with line and column.
    pub fn stored(text: &str, path: PathBuf) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            path: Some(path),
            reason: error.to_string(),
        })?;
        // Runs of versions without this key had no other weights.
        let weights = EvaluationWeights::Generated;
        config.search.weights.get_or_insert(weights);
        Ok(config)
    }

    /// The configuration as TOML, with every key that has a value.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] when a value cannot be written.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string_pretty(self).map_err(|e| ConfigError::Syntax {
            path: None,
            reason: e.to_string(),
        })
    }

    /// The configuration with the defaults that depend on other settings.
    ///
    /// # Errors
    /// [`ConfigError::NoData`] for a file without data.
    pub fn settled(mut self) -> Result<Self, ConfigError> {
        if self.data.is_none() {
            // A name that is neither a file nor in the zoo is refused later, with a list of the
            // zoo's.
            if matches!(self.model.source(), ModelSource::File(path) if path.exists()) {
                return Err(ConfigError::NoData {
                    model: self.model.name().to_owned(),
                });
            }
            self.data = Some(DataSpec::new(Source::Shapes));
        }
        if let Some(data) = &self.data {
            self.augment.get_or_insert_with(|| data.default_augment());
        }
        self.settle_recipe();
        Ok(self)
    }

    /// Checks the settings of a new run.
    ///
    /// # Errors
    /// As [`Self::check_stored`], and when the budget does not lie below the original's cost.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.budget.check()?;
        self.groups.check()?;
        self.check_precision()?;
        self.check_input()?;
        self.check_stored()
    }

    /// Checks how data becomes the network's input, and what the network is for.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub fn check_input(&self) -> Result<(), ConfigError> {
        self.task.check()?;
        input::check(&self.input)
    }

    /// Checks the ranges of the settings that this crate uses itself.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub fn check_stored(&self) -> Result<(), ConfigError> {
        const BUDGET: &str =
            "give a budget: a latency (--latency 0.7x or 1.8ms), MACs (--macs 0.5), or both";
        const HALVING: &str =
            "must be at least 1; `result.halving.candidates = 1` skips successive halving";
        let screen = self.knowledge.screen.check();
        let screen = screen.map_err(|e| ConfigError::value("knowledge.screen", e.to_string()));
        let (search, result, sure) = (&self.search, &self.result, self.knowledge.sure);
        let macs = self.budget.macs.unwrap_or(1.0);
        let one = "must be at least 1";
        for (key, holds, reason) in [
            ("budget", self.budget.cost().is_some(), BUDGET),
            (
                "budget.macs",
                macs > 0.0 && macs <= 1.0,
                "a share of the original's MACs, above 0 and at most 1",
            ),
            ("search.episodes", search.episodes != Some(0), one),
            ("batch", self.batch > 0, one),
            (
                "joint.stagewise",
                !self.joint.stagewise || self.pruning_net.start == train::Start::Warm,
                "follows the given network: needs `pruning_net.start = \"warm\"`",
            ),
            (
                "qat.lr",
                self.qat.lr > 0.0 && self.qat.lr.is_finite(),
                "must be a positive number",
            ),
            ("importance.images", self.importance.images > 0, one),
            ("repair.images", self.repair.images > 0, one),
            (
                "repair.ridge",
                self.repair.ridge > 0.0 && self.repair.ridge.is_finite(),
                "must be a positive number",
            ),
            ("search.measure_attempts", search.measure_attempts > 0, one),
            ("result.candidates", result.candidates > 0, one),
            ("result.halving.epochs", result.halving.epochs > 0, HALVING),
            (
                "knowledge.sure",
                sure > 0.0 && sure.is_finite(),
                "must be a positive number",
            ),
            (
                "result.confirm_margin",
                (0.0..1.0).contains(&result.confirm_margin),
                "must be at least 0 and below 1",
            ),
            (
                "result.final_effort",
                result.final_effort >= 1.0 && result.final_effort.is_finite(),
                one,
            ),
        ] {
            if !holds {
                return Err(ConfigError::value(key, reason));
            }
        }
        screen
    }
}
