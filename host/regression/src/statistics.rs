//! Criterion's statistics for times measured on a device.
//!
//! An implementation of Criterion's `Measurement` trait hands out the rounds that an agent has
//! measured, so Criterion's bootstrap, outlier classification and significance test apply to
//! them. Criterion writes to standard output and to its folder; run it in a separate process to
//! keep these apart from your own output.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter};
use criterion::{Criterion, SamplingMode, Throughput};
use latency::stats::Interval;
use serde::{Deserialize, Serialize};

use crate::RegressionError;

/// The rounds of a benchmark, old and new.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rounds {
    /// The benchmark's name: model and device.
    pub id: String,
    /// Block medians of the old model, ns; empty without one.
    pub old_ns: Vec<f64>,
    /// Block medians of the new model, ns.
    pub new_ns: Vec<f64>,
}

/// An interval as the records of this crate contain it.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Interval")]
struct PointFields {
    #[serde(rename = "point")]
    value: f64,
    low: f64,
    high: f64,
}

/// [`PointFields`] of an optional interval.
mod optional_point_fields {
    use latency::stats::Interval;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Fields(#[serde(with = "super::PointFields")] Interval);

    pub(super) fn serialize<S: Serializer>(
        of: &Option<Interval>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        of.map(Fields).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Interval>, D::Error> {
        Ok(Option::<Fields>::deserialize(from)?.map(|fields| fields.0))
    }
}

/// Criterion's estimates for a benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimates {
    /// Mean, ns.
    #[serde(with = "PointFields")]
    pub mean_ns: Interval,
    /// Median, ns.
    #[serde(with = "PointFields")]
    pub median_ns: Interval,
    /// Median absolute deviation, ns.
    #[serde(with = "PointFields")]
    pub deviation_ns: Interval,
    /// Relative change of the mean against the old model; `None` without one.
    #[serde(default, with = "optional_point_fields")]
    pub change: Option<Interval>,
}

/// A clock whose values are nanoseconds measured by an agent.
struct AgentClock;

struct Nanoseconds;

impl ValueFormatter for Nanoseconds {
    fn scale_values(&self, typical: f64, values: &mut [f64]) -> &'static str {
        let (factor, unit) = match typical {
            ns if ns < 1e3 => (1.0, "ns"),
            ns if ns < 1e6 => (1e-3, "µs"),
            _ => (1e-6, "ms"),
        };
        values.iter_mut().for_each(|value| *value *= factor);
        unit
    }

    fn scale_throughputs(&self, _: f64, _: &Throughput, values: &mut [f64]) -> &'static str {
        values.iter_mut().for_each(|ns| *ns = 1e9 / *ns);
        "runs/s"
    }

    fn scale_for_machines(&self, _: &mut [f64]) -> &'static str {
        "ns"
    }
}

impl Measurement for AgentClock {
    type Intermediate = ();
    type Value = f64;

    fn start(&self) {}

    fn end(&self, (): ()) -> f64 {
        0.0
    }

    fn add(&self, a: &f64, b: &f64) -> f64 {
        a + b
    }

    fn zero(&self) -> f64 {
        0.0
    }

    fn to_f64(&self, value: &f64) -> f64 {
        *value
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &Nanoseconds
    }
}

/// Criterion's baseline name for the old model.
const OLD: &str = "old";

/// The fewest samples that Criterion accepts.
const FEWEST: usize = 10;

/// Runs Criterion on the rounds, the old model's first. Criterion prints to standard output and
/// writes to `folder`. Fewer than ten rounds are skipped.
pub fn run(folder: &Path, rounds: &Rounds) {
    if rounds.new_ns.len() < FEWEST {
        return;
    }
    // Criterion would also compare the old model's rounds with those of an earlier call. If the
    // folder cannot be removed, only that extra remark is printed.
    let _ = std::fs::remove_dir_all(benchmark_folder(folder, rounds));
    let criterion = || {
        Criterion::default()
            .with_measurement(AgentClock)
            .without_plots()
            .output_directory(folder)
    };
    if rounds.old_ns.len() >= FEWEST {
        serve(
            criterion().save_baseline(OLD.into()),
            &rounds.id,
            &rounds.old_ns,
        );
        serve(
            criterion().retain_baseline(OLD.into(), false),
            &rounds.id,
            &rounds.new_ns,
        );
    } else {
        serve(criterion(), &rounds.id, &rounds.new_ns);
    }
}

/// The benchmark's name as a folder name, since a device's name can be a path. Criterion itself
/// cuts names at 64 bytes.
fn folder_name(id: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "@._-".contains(c);
    let safe = id.chars().map(|c| if is_safe(c) { c } else { '_' });
    safe.take(64).collect()
}

/// Criterion's folder for these rounds.
fn benchmark_folder(folder: &Path, rounds: &Rounds) -> PathBuf {
    folder.join("latency").join(folder_name(&rounds.id))
}

fn serve(mut criterion: Criterion<AgentClock>, id: &str, rounds: &[f64]) {
    let next = Cell::new(0);
    let mut group = criterion.benchmark_group("latency");
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(rounds.len())
        .warm_up_time(Duration::from_nanos(1))
        // Criterion warns of a measurement time that it cannot reach; handing out rounds takes
        // none.
        .measurement_time(Duration::from_millis(5));
    group.bench_function(folder_name(id), |bencher| {
        bencher.iter_custom(|runs| {
            let round = next.get();
            next.set((round + 1) % rounds.len());
            rounds[round] * runs as f64
        });
    });
    group.finish();
}

/// The part of Criterion's `estimates.json` that is read.
#[derive(Deserialize)]
struct EstimatesFile {
    mean: EstimateFile,
    median: EstimateFile,
    median_abs_dev: Option<EstimateFile>,
}

#[derive(Deserialize)]
struct EstimateFile {
    point_estimate: f64,
    confidence_interval: IntervalFile,
}

#[derive(Deserialize)]
struct IntervalFile {
    lower_bound: f64,
    upper_bound: f64,
}

impl From<EstimateFile> for Interval {
    fn from(file: EstimateFile) -> Self {
        Self {
            value: file.point_estimate,
            low: file.confidence_interval.lower_bound,
            high: file.confidence_interval.upper_bound,
        }
    }
}

/// Reads the results of [`run`] from `folder`, or returns `None` for too few rounds.
///
/// # Errors
/// Fails if a file is missing or malformed.
pub fn read(folder: &Path, rounds: &Rounds) -> Result<Option<Estimates>, RegressionError> {
    if rounds.new_ns.len() < FEWEST {
        return Ok(None);
    }
    let malformed = |detail: String| RegressionError::Statistics {
        id: rounds.id.clone(),
        detail,
    };
    let results = benchmark_folder(folder, rounds);
    let file = |kind: &str| -> Result<EstimatesFile, RegressionError> {
        let path = results.join(kind).join("estimates.json");
        let text = std::fs::read_to_string(&path)
            .map_err(|error| malformed(format!("{}: {error}", path.display())))?;
        serde_json::from_str(&text)
            .map_err(|error| malformed(format!("{}: {error}", path.display())))
    };
    let new = file("new")?;
    let deviation = new
        .median_abs_dev
        .ok_or_else(|| malformed("there is no deviation".into()))?;
    let change = if rounds.old_ns.len() >= FEWEST {
        Some(file("change")?.mean.into())
    } else {
        None
    };
    Ok(Some(Estimates {
        mean_ns: new.mean.into(),
        median_ns: new.median.into(),
        deviation_ns: deviation.into(),
        change,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_keep_their_fields_in_json() {
        let figure = r#"{"point":2.0,"low":1.0,"high":3.0}"#;
        for change in ["null", figure] {
            let old = format!(
                r#"{{"mean_ns":{figure},"median_ns":{figure},"deviation_ns":{figure},"change":{change}}}"#
            );
            let found: Estimates = serde_json::from_str(&old).unwrap();
            assert_eq!(found.mean_ns, (2.0, 1.0, 3.0).into());
            assert_eq!(serde_json::to_string(&found).unwrap(), old);
        }
    }

    #[test]
    fn criterion_finds_the_change_in_the_rounds() {
        let folder = tempfile::tempdir().unwrap();
        let noisy = |scale: f64| (0..60).map(move |i| scale * (1.0 + 0.002 * f64::from(i % 7)));
        let rounds = Rounds {
            id: format!("a@../boards/{}.toml", "long".repeat(20)),
            old_ns: noisy(1e6).collect(),
            new_ns: noisy(1.05e6).collect(),
        };
        run(folder.path(), &rounds);
        let estimates = read(folder.path(), &rounds).unwrap().unwrap();
        let change = estimates.change.unwrap();
        assert!((change.value - 0.05).abs() < 1e-3, "{change:?}");
        assert!(change.low < 0.05 && 0.05 < change.high, "{change:?}");
        let mean = noisy(1.05e6).sum::<f64>() / 60.0;
        assert!(
            (estimates.mean_ns.value - mean).abs() < 1e-6 * mean,
            "{estimates:?}"
        );
        // The next call is not compared with this one.
        let alone = Rounds {
            old_ns: Vec::new(),
            ..rounds.clone()
        };
        run(folder.path(), &alone);
        let estimates = read(folder.path(), &alone).unwrap().unwrap();
        assert_eq!(estimates.change, None);
        let results = benchmark_folder(folder.path(), &alone);
        assert!(!results.join("change").exists());
        let too_few = Rounds {
            new_ns: vec![1.0; 3],
            ..rounds
        };
        run(folder.path(), &too_few);
        assert_eq!(read(folder.path(), &too_few).unwrap(), None);
    }
}
