//! The data of a run's report. Accuracies are in 0..=1, times in nanoseconds, sizes in bytes, and
//! ratios are relative to the original network.

use agent_protocol::stats::Interval;
use serde::{Deserialize, Serialize};

use crate::format;

/// In place of a latency, of a network that the device has not the memory for.
pub(crate) const DOES_NOT_FIT: &str = "does not fit";

/// The version of the schema of `report.json`. It rises when a field changes its meaning or is no
/// longer written; a new field does not raise it.
pub const SCHEMA: u32 = 1;

/// The content of a run's report, as it is stored in `report.json`. Every part may be missing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct ReportData {
    /// Version of the schema; 0 in files of versions that did not say.
    pub schema: u32,
    /// Model, device, data and settings of the run.
    pub header: Header,
    /// Whether the budget was met.
    pub verdict: Verdict,
    /// The limits of the run.
    pub budget: Budget,
    /// The compared networks in the order of the table: original, pruned, baselines.
    pub rows: Vec<Row>,
    /// All configurations of the search.
    pub candidates: Vec<Candidate>,
    /// The channel groups of the network, with the widths of the pruned one.
    pub groups: Vec<Group>,
    /// Measurements, devices and their conditions.
    pub evidence: Evidence,
    /// The run's configuration as TOML.
    pub config: String,
    /// Skipped files of the data set.
    pub skipped: Vec<SkippedFiles>,
    /// Caveats, shown at the top of the page.
    pub warnings: Vec<String>,
}

/// The JSON schema of `report.json`.
#[must_use]
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(ReportData)
}

/// Files of a data set that were skipped for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct SkippedFiles {
    /// The reason.
    pub reason: String,
    /// Number of files.
    pub count: u64,
    /// The first few paths.
    pub examples: Vec<String>,
    /// Whether the files are images.
    pub image: bool,
}

/// What networks are compared by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Whether it is a share, shown in percent.
    pub percent: bool,
}

impl Default for Metric {
    fn default() -> Self {
        Self {
            name: "accuracy".into(),
            percent: true,
        }
    }
}

impl Metric {
    /// Its name at the start of a title.
    #[must_use]
    pub fn title(&self) -> String {
        let mut letters = self.name.chars();
        let first = letters.next().map(|c| c.to_uppercase().to_string());
        first.unwrap_or_default() + letters.as_str()
    }

    /// A value of the metric.
    #[must_use]
    pub fn write(&self, value: f64) -> String {
        match self.percent {
            true => format::percent(value),
            false => format!("{value:.4}"),
        }
    }

    /// A difference of two values.
    #[must_use]
    pub fn change(&self, by: f64) -> String {
        match self.percent {
            true => format!("{} points", format::points(by)),
            false => format!("{by:+.4}"),
        }
    }

    /// A value on the search split, in words.
    #[must_use]
    pub fn on_search_split(&self, value: f64) -> String {
        match (&self.name[..], self.percent) {
            ("accuracy", true) => format!("{:.2} % on the search split", value * 100.0),
            (name, true) => format!("{name} {:.2} % on the search split", value * 100.0),
            (name, false) => format!("{name} {value:.4}"),
        }
    }
}

/// A figure behind a network's score.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct RowFigure {
    /// An output, or a second measure.
    pub name: String,
    /// A share, 0 to 1.
    pub value: f64,
}

/// Model, device, data and settings of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Header {
    /// Name or file of the model.
    pub model: String,
    /// Name of the device.
    pub device: String,
    /// The data set.
    pub data: String,
    /// How its images become the network's input; empty in runs of versions that did not say.
    pub input: String,
    /// The search strategy.
    pub strategy: String,
    /// What the network is for; empty in runs of versions that knew classifiers only.
    pub task: String,
    /// What the networks of the table are compared by.
    pub score: Metric,
    /// What the candidates of the search are compared by.
    pub estimate: Metric,
    /// Start of the run, in seconds since 1970 (UTC).
    pub started_unix_s: Option<u64>,
    /// Duration of the run over all its resumptions, in seconds.
    pub duration_s: Option<f64>,
    /// The run's seed.
    pub seed: Option<u64>,
    /// Name and version of the program.
    pub program: String,
    /// The command line.
    pub command: String,
}

/// Whether the budget was met.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "why")]
pub enum Verdict {
    /// The run has not finished.
    #[default]
    Unfinished,
    /// Met, with the deciding figure.
    Met(String),
    /// Not met, with the reason.
    NotMet(String),
}

/// The limits of a run, relative to the original.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Budget {
    /// Largest latency ratio.
    pub latency_ratio: Option<f64>,
    /// Largest latency where the limit is a time, nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ns: Option<f64>,
    /// Largest ratio of multiply-accumulates (MACs).
    pub macs_ratio: Option<f64>,
    /// Most RAM on a bare-metal board, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ram_bytes: Option<u64>,
    /// Most flash on a bare-metal board, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flash_bytes: Option<u64>,
}

/// The role of a network in the comparison.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The given network.
    Original,
    /// The result.
    Pruned,
    /// A network to compare the result with.
    #[default]
    Baseline,
}

/// One network of the table.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Row {
    /// The network's name in the table.
    pub label: String,
    /// Its role.
    pub role: Role,
    /// Accuracy on the test split, or another score.
    pub test_accuracy: Option<f64>,
    /// Figures behind that score.
    pub figures: Vec<RowFigure>,
    /// Number of images in the test split.
    pub test_images: Option<u64>,
    /// The 95 % interval of the accuracy on the test split.
    pub test_interval: Option<(f64, f64)>,
    /// Accuracy on the search split.
    pub search_accuracy: Option<f64>,
    /// Latency measured on the device.
    pub latency: Option<LatencyFigure>,
    /// Whether the device has not the memory for it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub does_not_fit: bool,
    /// Latencies of the same file on other devices of the profile.
    pub checks: Vec<LatencyFigure>,
    /// Multiply-accumulates per image.
    pub macs: Option<u64>,
    /// Number of parameters.
    pub parameters: Option<u64>,
    /// Size of the model file.
    pub bytes: Option<u64>,
}

impl Row {
    /// The 95 % interval of the score on the test split, in words.
    pub(crate) fn test_range(&self, metric: &Metric) -> Option<String> {
        let (low, high) = self.test_interval?;
        Some(format!("{} to {}", metric.write(low), metric.write(high)))
    }
}

/// A measured latency: medians with their 95 % intervals.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct LatencyFigure {
    /// The measuring device; empty if there is only one.
    pub device: String,
    /// Median.
    pub median_ns: f64,
    /// Lower end of the median's interval.
    pub low_ns: f64,
    /// Upper end of the median's interval.
    pub high_ns: f64,
    /// Ratio to the original, measured interleaved.
    pub ratio: Option<f64>,
    /// Lower end of the ratio's interval.
    pub ratio_low: Option<f64>,
    /// Upper end of the ratio's interval.
    pub ratio_high: Option<f64>,
    /// Raw samples without warm-up.
    pub samples_ns: Vec<u64>,
    /// Whether an emulated board counted instructions in place of time: it is no latency.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
}

/// One configuration of the search.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Candidate {
    /// Index of the episode.
    pub episode: u64,
    /// The strategy that proposed it.
    pub strategy: String,
    /// Accuracy on the search split.
    #[serde(deserialize_with = "number")]
    #[schemars(with = "Option<f64>")]
    pub accuracy: f64,
    /// Measured latency ratio, with the ends of its 95 % interval.
    #[schemars(with = "Option<(f64, f64, f64)>")]
    pub latency_ratio: Option<Interval>,
    /// Multiply-accumulates per image.
    pub macs: u64,
    /// Latency ratio predicted by the latency model.
    pub predicted_ratio: Option<f64>,
    /// Reward.
    #[serde(deserialize_with = "number")]
    #[schemars(with = "Option<f64>")]
    pub reward: f64,
    /// Whether it is within the budget, by its measurement or else its prediction.
    pub feasible: bool,
    /// Whether it was not measured because it could not win; its reward then follows from the
    /// predicted latency.
    pub screened: bool,
    /// Accuracy on the search split after the short fine-tuning that selects the winner, for the
    /// candidates that took part.
    #[serde(rename = "race_accuracy")]
    pub halving_accuracy: Option<f64>,
    /// Kept channels per group.
    pub widths: Vec<usize>,
    /// The measuring device; `None` if there is only one.
    pub device: Option<String>,
    /// Device time of its measurement, in seconds; 0 if it was not measured.
    pub device_s: f64,
}

/// One group of coupled channels.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Group {
    /// Name.
    pub name: String,
    /// Channels of the original.
    pub channels: usize,
    /// Channels kept.
    pub kept: usize,
}

/// Measurements, devices and their conditions.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Evidence {
    /// Facts about the device and the runtime: processor, governor, versions, threads, affinity.
    pub facts: Vec<Fact>,
    /// Execution providers that ran the nodes of the measured network.
    pub providers: Vec<Provider>,
    /// Name of the network that all others were measured interleaved with.
    pub reference: Option<String>,
    /// Number of valid measurements in the run.
    pub valid: u64,
    /// Number of invalid measurements in the run; no figure uses them.
    pub invalid: u64,
    /// The measurements behind the table, and the invalid ones with their reasons.
    pub measurements: Vec<MeasurementLine>,
    /// The devices, if there are several.
    pub devices: Vec<DeviceLine>,
    /// Further remarks.
    pub notes: Vec<String>,
}

/// One of several devices.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct DeviceLine {
    /// The user's name for the device.
    pub name: String,
    /// Processor, host name and runtime as text.
    pub about: String,
    /// Why the device was set aside at the end of the run; `None` if it was not.
    pub set_aside: Option<String>,
    /// Number of valid measurements of candidates.
    pub measured: u64,
    /// The original's latency on this device, in nanoseconds.
    #[schemars(with = "Option<(f64, f64, f64)>")]
    pub reference_ns: Option<Interval>,
    /// The original's latency ratio to itself.
    #[schemars(with = "Option<(f64, f64, f64)>")]
    pub itself: Option<Interval>,
    /// Its ratios divided by those of the other devices, over the models that several measured.
    #[schemars(with = "Option<(f64, f64, f64)>")]
    pub bias: Option<Interval>,
    /// Number of those models.
    pub shared: u64,
    /// Whether it differs from the others by more than chance and by more than a measurement's
    /// half-interval.
    pub differs: bool,
}

/// A named fact.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Fact {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

/// The number of nodes that an execution provider ran.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Provider {
    /// Name of the execution provider.
    pub name: String,
    /// Number of nodes.
    pub nodes: u64,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct MeasurementLine {
    /// The measured network.
    pub name: String,
    /// Time of the measurement, in seconds since 1970 (UTC).
    pub taken_unix_s: Option<u64>,
    /// Number of samples.
    pub samples: u64,
    /// Number of excluded warm-up runs.
    pub warmup: u64,
    /// Median.
    pub median_ns: Option<f64>,
    /// Interval of the median.
    pub interval_ns: Option<(f64, f64)>,
    /// Peak memory of the process.
    pub peak_memory_bytes: Option<u64>,
    /// The device's state before.
    pub before: String,
    /// The device's state after.
    pub after: String,
    /// Why it is invalid; `None` if it is valid.
    pub invalid: Option<String>,
}

/// Reads a number that JSON stores as null if it is not finite.
fn number<'de, D: serde::Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(input)?.unwrap_or(f64::NAN))
}

impl ReportData {
    /// Number of samples of the test split.
    pub(crate) fn test_images(&self) -> Option<u64> {
        self.rows.iter().find_map(|row| row.test_images)
    }

    /// Whether any latency of the table is of a simulated board.
    pub(crate) fn is_simulated(&self) -> bool {
        let figures = |row: &Row| {
            let own = row.latency.iter().any(|of| of.simulated);
            own || row.checks.iter().any(|of| of.simulated)
        };
        self.rows.iter().any(figures)
    }

    /// The network that latencies are ratios of, where it is not the original: that one does not
    /// fit the device.
    pub(crate) fn stand_in(&self) -> Option<&str> {
        let original = self.row(Role::Original)?;
        let name = self.evidence.reference.as_deref();
        original
            .does_not_fit
            .then(|| name.unwrap_or("another network"))
    }

    /// The first row of a role.
    pub(crate) fn row(&self, role: Role) -> Option<&Row> {
        self.rows.iter().find(|row| row.role == role)
    }

    /// MACs relative to the original's.
    pub(crate) fn macs_ratio(&self, macs: u64) -> Option<f64> {
        let original = self.row(Role::Original)?.macs?;
        (original > 0).then(|| macs as f64 / original as f64)
    }
}

impl Row {
    /// Latency relative to the original's; 1 for the original itself.
    pub(crate) fn latency_ratio(&self) -> Option<f64> {
        let latency = self.latency.as_ref()?;
        latency
            .ratio
            .or((self.role == Role::Original).then_some(1.0))
            .filter(|ratio| ratio.is_finite())
    }
}
