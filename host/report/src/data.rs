//! What the report is made of. Accuracies are 0..=1, times nanoseconds, sizes bytes, ratios relative to the original.

use agent_protocol::stats::Interval;
use serde::{Deserialize, Serialize};

/// Everything a report says. All of it may be missing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReportData {
    /// What was done, where and when.
    pub header: Header,
    /// Whether the budget was met.
    pub verdict: Verdict,
    /// What was asked for.
    pub budget: Budget,
    /// The networks compared: original, pruned, baselines, in the order of the table.
    pub rows: Vec<Row>,
    /// Every configuration the search tried.
    pub candidates: Vec<Candidate>,
    /// The groups of channels of the pruned network.
    pub groups: Vec<Group>,
    /// What was measured, where, and how sure.
    pub evidence: Evidence,
    /// The run's configuration as text (TOML).
    pub config: String,
    /// Files of the data set that were left out.
    pub skipped: Vec<SkippedFiles>,
    /// What the reader should know before believing the rest.
    pub warnings: Vec<String>,
}

/// Files of a data set that were left out for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SkippedFiles {
    /// Why.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// The first of them.
    pub examples: Vec<String>,
    /// Whether they are images.
    pub image: bool,
}

/// What was done, where and when.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// Name or file of the model.
    pub model: String,
    /// Name of the device.
    pub device: String,
    /// The data set.
    pub data: String,
    /// The strategy that searched.
    pub strategy: String,
    /// Start of the run, seconds since 1970 in UTC.
    pub started_unix_s: Option<u64>,
    /// Time the run took, over all its resumptions.
    pub duration_s: Option<f64>,
    /// The run's seed.
    pub seed: Option<u64>,
    /// Name and version of the program.
    pub program: String,
    /// The command line.
    pub command: String,
}

/// Whether the budget was met.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "why")]
pub enum Verdict {
    /// The run has not come to its end.
    #[default]
    Unfinished,
    /// Met, and by what figure.
    Met(String),
    /// Not met, and why.
    NotMet(String),
}

/// The limits asked for, relative to the original.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Budget {
    /// Largest latency ratio.
    pub latency_ratio: Option<f64>,
    /// Largest ratio of multiply-accumulates.
    pub macs_ratio: Option<f64>,
}

/// What a row of the table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The network as given.
    Original,
    /// The result.
    Pruned,
    /// Something to compare the result with.
    #[default]
    Baseline,
}

/// One network of the table.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Row {
    /// What to call it.
    pub label: String,
    /// What it is.
    pub role: Role,
    /// On the test split.
    pub test_accuracy: Option<f64>,
    /// Images of the test split.
    pub test_images: Option<u64>,
    /// The 95 % interval of the accuracy on the test split.
    pub test_interval: Option<(f64, f64)>,
    /// On the search split.
    pub search_accuracy: Option<f64>,
    /// As measured on the device.
    pub latency: Option<LatencyFigure>,
    /// The same on other devices of the profile, as a check.
    pub checks: Vec<LatencyFigure>,
    /// Multiply-accumulates per image.
    pub macs: Option<u64>,
    /// Number of parameters.
    pub parameters: Option<u64>,
    /// Size of the model file.
    pub bytes: Option<u64>,
}

/// A measured latency: medians with their 95 % intervals.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LatencyFigure {
    /// The device that measured it; empty where there is only one.
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
    /// Raw samples, warm-up excluded.
    pub samples_ns: Vec<u64>,
}

/// One configuration the search tried.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Candidate {
    /// Number of the episode.
    pub episode: u64,
    /// Who proposed it.
    pub strategy: String,
    /// On the search split.
    #[serde(deserialize_with = "number")]
    pub accuracy: f64,
    /// Measured ratio to the original: median, lower and upper end of its 95 % interval.
    pub latency_ratio: Option<Interval>,
    /// Multiply-accumulates per image.
    pub macs: u64,
    /// Latency ratio the cost model predicted.
    pub predicted_ratio: Option<f64>,
    /// Reward.
    #[serde(deserialize_with = "number")]
    pub reward: f64,
    /// Whether it is within the budget, as far as it was measured.
    pub feasible: bool,
    /// Whether it was left unmeasured because it could not win; then the reward is that of its predicted latency.
    pub screened: bool,
    /// On the search split after the short fine-tuning of the race, where it took part.
    pub race_accuracy: Option<f64>,
    /// Kept channels per group.
    pub widths: Vec<usize>,
    /// The device that measured it; none where there is only one.
    pub device: Option<String>,
    /// Time of the device that measuring it took, seconds; 0 if it was not measured.
    pub device_s: f64,
}

/// One group of coupled channels.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    /// Name.
    pub name: String,
    /// Channels of the original.
    pub channels: usize,
    /// Channels kept.
    pub kept: usize,
}

/// What was measured, where, and how sure.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// Facts of the device and the runtime: processor, governor, versions, threads, affinity, ...
    pub facts: Vec<Fact>,
    /// Where the nodes of the measured network ran.
    pub providers: Vec<Provider>,
    /// Name of the network all others were measured interleaved with.
    pub reference: Option<String>,
    /// Number of valid measurements of the whole run.
    pub valid: u64,
    /// Number of invalid measurements of the whole run; none of them entered a figure.
    pub invalid: u64,
    /// The measurements behind the table, and the invalid ones with their reasons.
    pub measurements: Vec<MeasurementLine>,
    /// The devices, where there are several.
    pub devices: Vec<DeviceLine>,
    /// Further remarks.
    pub notes: Vec<String>,
}

/// One of several devices. Figures are medians with the ends of their 95 % intervals.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceLine {
    /// What the user calls it.
    pub name: String,
    /// Processor, own name and runtime, for people.
    pub about: String,
    /// Why it was set aside at the end; none if it was not.
    pub set_aside: Option<String>,
    /// Valid measurements of candidates.
    pub measured: u64,
    /// The original's latency there.
    pub reference_ns: Option<Interval>,
    /// The original's ratio to itself.
    pub itself: Option<Interval>,
    /// Its ratios over those of the other devices, of the models that several have measured.
    pub bias: Option<Interval>,
    /// Models behind that.
    pub shared: u64,
    /// Whether it differs from the others by more than chance and more than a measurement's half-interval.
    pub differs: bool,
}

/// A named fact.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Fact {
    /// What.
    pub name: String,
    /// Which.
    pub value: String,
}

/// How many nodes an execution provider ran.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Provider {
    /// Name of the execution provider.
    pub name: String,
    /// Nodes it ran.
    pub nodes: u64,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MeasurementLine {
    /// What was measured.
    pub name: String,
    /// When, seconds since 1970 in UTC.
    pub taken_unix_s: Option<u64>,
    /// Number of samples.
    pub samples: u64,
    /// Number of warm-up runs left out.
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
    /// Why it does not count; none if it is valid.
    pub invalid: Option<String>,
}

/// JSON writes what is not a finite number as null.
fn number<'de, D: serde::Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(input)?.unwrap_or(f64::NAN))
}

impl ReportData {
    /// The first row of a role.
    pub(crate) fn row(&self, role: Role) -> Option<&Row> {
        self.rows.iter().find(|row| row.role == role)
    }

    /// A candidate's or row's multiply-accumulates relative to the original's.
    pub(crate) fn macs_ratio(&self, macs: u64) -> Option<f64> {
        let original = self.row(Role::Original)?.macs?;
        (original > 0).then(|| macs as f64 / original as f64)
    }
}

impl Row {
    /// Ratio of the row's latency to the original's: 1 for the original itself.
    pub(crate) fn latency_ratio(&self) -> Option<f64> {
        let latency = self.latency.as_ref()?;
        latency
            .ratio
            .or((self.role == Role::Original).then_some(1.0))
            .filter(|ratio| ratio.is_finite())
    }
}
