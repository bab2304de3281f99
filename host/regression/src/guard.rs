//! The guard: measures one model on one device, compares it with the baseline and judges it.

use std::time::Instant;

use latency::{DeviceInfo, Key, LatencyError, LatencySource, Measurement, Model, Origin, Profile};

use crate::Verdict;
use crate::baseline::{Baseline, BaselineFolder, Entry};
use crate::compare::{Change, change_between, compare, level_interval};
use crate::series::{ModelPair, Process, Series, SeriesConfig, measure_series};
use crate::statistics::Rounds;
use crate::summary::Compared;

/// A guarded device.
pub struct Device {
    /// The user's name for it.
    pub name: String,
    /// Its settings.
    pub profile: Profile,
    /// The source of its latencies.
    pub source: Box<dyn LatencySource>,
}

/// The result of one model's turn.
pub struct Turn {
    /// The comparison.
    pub compared: Compared,
    /// The entry for a new baseline; `None` if the model was not measured.
    pub entry: Option<Entry>,
    /// The rounds, for Criterion.
    pub rounds: Rounds,
    /// All measurements, valid or not, for the history.
    pub measurements: Vec<Measurement>,
    /// The key of the measurements.
    pub key: Key,
    /// The origin of the measurements.
    pub origin: Origin,
}

/// Compares models with a baseline, if there is one.
pub struct Guard<'a> {
    /// The folder of baselines and their models.
    pub folder: &'a BaselineFolder,
    /// The baseline to compare with.
    pub baseline: Option<&'a Baseline>,
    /// Settings of the series.
    pub config: SeriesConfig,
    /// Whether a model that the baseline lacks is to be added to it, which is no failure.
    pub adds: bool,
    /// Largest relative growth of a file; any where there is none.
    pub largest_growth: Option<f64>,
    /// Largest relative growth of the peak memory, likewise.
    pub largest_memory_growth: Option<f64>,
}

/// The two sides of a comparison.
struct Sides<'a> {
    /// The model, with the baseline's input sizes where it has none of its own.
    model: Model,
    /// The baseline's entry.
    old: Option<&'a Entry>,
    /// The baseline's model, if its content was kept.
    reference: Option<Model>,
    key: Key,
}

impl Guard<'_> {
    /// Measures `model` on `device` and compares it. A model that cannot be measured gives a turn
    /// as well.
    ///
    /// # Errors
    /// Fails if the device is lost, so that other models cannot be measured either.
    pub fn turn(
        &self,
        device: &mut Device,
        model: &Model,
        progress: impl FnMut(usize, Option<Change>),
    ) -> Result<Turn, LatencyError> {
        let started = Instant::now();
        let info = device.source.describe();
        let sides = self.sides(model, &info, &device.profile);
        let pair = ModelPair {
            model: &sides.model,
            reference: sides.reference.as_ref(),
        };
        let source = device.source.as_mut();
        let measured = measure_series(source, &device.profile, pair, &self.config, progress);
        let (series, error) = match measured {
            Ok(series) => (series, None),
            Err(error) if error.is_agent_lost() => return Err(error),
            Err(error) => (Series::default(), Some(error.to_string())),
        };
        let mut compared = self.compared(&sides, &series, &info);
        compared.device.clone_from(&device.name);
        compared.seconds = started.elapsed().as_secs_f64();
        if let Some(error) = error {
            compared.notes.insert(0, error);
        }
        Ok(Turn {
            rounds: Rounds {
                id: format!("{}@{}", model.name(), device.name),
                old_ns: rounds(&series, |p| &p.reference_rounds_ns),
                new_ns: rounds(&series, |p| &p.rounds_ns),
            },
            entry: compared.median_ns.map(|_| entry(&sides, &series)),
            compared,
            measurements: series.measurements,
            key: sides.key,
            origin: Origin::here(&info),
        })
    }

    fn sides(&self, model: &Model, info: &DeviceInfo, profile: &Profile) -> Sides<'_> {
        let (sampling, runtime) = (&profile.sampling, &profile.runtime);
        let mut key = Key::new(model.sha256(), None, info, sampling, runtime);
        let kept = self
            .baseline
            .and_then(|baseline| baseline.inputs(model, &key));
        let model = match kept {
            Some(inputs) => model.clone().with_inputs(inputs.to_vec()),
            None => model.clone(),
        };
        key = key.with_inputs(model.inputs());
        let old = self
            .baseline
            .and_then(|baseline| baseline.find(model.name(), &key.device, &key.setup));
        let reference = old
            .and_then(|entry| self.folder.model(entry.sha256))
            .map(|bytes| Model::new(format!("baseline of {}", model.name()), bytes))
            .map(|old| old.with_inputs(model.inputs().to_vec()));
        key.reference = reference.as_ref().map(Model::sha256);
        Sides {
            model,
            old,
            reference,
            key,
        }
    }

    fn compared(&self, sides: &Sides<'_>, series: &Series, info: &DeviceInfo) -> Compared {
        let median_ns = series.median_ns();
        let mut notes = rejections(series);
        let is_added = self.adds && sides.old.is_none();
        if let (Some(baseline), None, false) = (self.baseline, sides.old, is_added) {
            let known: Vec<&str> = baseline.entries.iter().map(|e| e.model.as_str()).collect();
            notes.push(format!(
                "the baseline has no entry for it on this device with these settings (it has {}); save it with --save-baseline",
                known.join(", ")
            ));
        }
        let old = sides.old.filter(|_| median_ns.is_some());
        let change = old.and_then(|old| change(sides, series, old));
        if let Some(old) = old {
            if old.runtime != info.runtime_version {
                notes.push(format!(
                    "the baseline was saved with ONNX Runtime {}, this is {}; interleaved, both run on this one",
                    old.runtime, info.runtime_version
                ));
            }
            if change.is_none() {
                notes.push(
                    "the baseline's model was not kept and the device's pace is unknown: save the baseline again"
                        .into(),
                );
            }
        }
        let bytes = sides.model.onnx().len();
        let before = sides.reference.as_ref().map(|old| old.onnx().len());
        let memory = series.peak_memory_bytes;
        let memory_before = match &sides.reference {
            Some(_) => series.reference_peak_memory_bytes,
            None => sides.old.and_then(|old| old.peak_memory_bytes),
        };
        let mut verdict = match (median_ns, self.baseline, change) {
            (None, ..) => Verdict::Unmeasured,
            (Some(_), None, _) => Verdict::NoBaseline,
            (Some(_), Some(_), None) if is_added => Verdict::NoBaseline,
            (Some(_), Some(_), None) => Verdict::Uncompared,
            (Some(_), Some(_), Some(change)) => compare(&change, self.config.threshold),
        };
        let file = Growth {
            what: "the file has",
            now: Some(bytes as u64),
            before: before.map(|before| before as u64),
        };
        let peak = Growth {
            what: "the peak memory is",
            now: memory,
            before: memory_before,
        };
        for (growth, most, grown) in [
            (file, self.largest_growth, Verdict::Grown),
            (peak, self.largest_memory_growth, Verdict::MemoryGrown),
        ] {
            let Some(note) = growth.beyond(most) else {
                continue;
            };
            notes.push(note);
            if matches!(verdict, Verdict::Fine | Verdict::Improved) {
                verdict = grown;
            }
        }
        if self.largest_memory_growth.is_some() && old.is_some() {
            match (memory, memory_before) {
                (None, _) => notes.push("the device does not measure peak memory".into()),
                (_, None) => notes
                    .push("the baseline has no peak memory to compare with: save it again".into()),
                _ => {}
            }
        }
        Compared {
            bytes,
            baseline_bytes: before,
            peak_memory_bytes: memory,
            baseline_peak_memory_bytes: memory_before,
            seconds: 0.0,
            model: sides.model.name().to_owned(),
            device: String::new(),
            device_id: sides.key.device.clone(),
            sha256: sides.model.sha256().to_string(),
            median_ns,
            median_ci95_ns: level_interval(&medians(series)),
            processes: series.processes.len(),
            baseline_ns: sides
                .old
                .and_then(|entry| latency::stats::median(&entry.medians_ns)),
            change,
            interleaved: sides.reference.is_some(),
            verdict,
            notes,
            statistics: None,
        }
    }
}

/// A size that may grow.
struct Growth {
    /// The beginning of a sentence about it.
    what: &'static str,
    now: Option<u64>,
    before: Option<u64>,
}

impl Growth {
    /// A sentence, if it grew by more than `most`.
    fn beyond(&self, most: Option<f64>) -> Option<String> {
        let (now, before, most) = (self.now?, self.before?, most?);
        let growth = now as f64 / before.max(1) as f64 - 1.0;
        (growth > most).then(|| {
            format!(
                "{} {now} bytes, {:+.1} % over the baseline's {before}; {:.1} % are allowed",
                self.what,
                growth * 100.0,
                most * 100.0
            )
        })
    }
}

/// The change against the baseline: by interleaved ratios, or by the device's pace if the
/// baseline's model was not kept.
fn change(sides: &Sides<'_>, series: &Series, old: &Entry) -> Option<Change> {
    match &sides.reference {
        Some(_) => series.change(),
        None => change_between(&series.paced()?, &old.paced),
    }
}

fn entry(sides: &Sides<'_>, series: &Series) -> Entry {
    Entry {
        model: sides.model.name().to_owned(),
        sha256: sides.model.sha256(),
        device: sides.key.device.clone(),
        runtime: sides.key.runtime.clone(),
        setup: sides.key.setup.clone(),
        inputs: sides.model.inputs().to_vec(),
        medians_ns: medians(series),
        paced: series.paced().unwrap_or_default(),
        peak_memory_bytes: series.peak_memory_bytes,
        taken_unix_ns: series.measurements.last().map_or(0, |m| m.taken_unix_ns),
    }
}

fn medians(series: &Series) -> Vec<f64> {
    series.processes.iter().map(|p| p.median_ns).collect()
}

fn rounds(series: &Series, of: fn(&Process) -> &Vec<f64>) -> Vec<f64> {
    series.processes.iter().flat_map(of).copied().collect()
}

/// The reasons of invalid measurements, each once with its count.
fn rejections(series: &Series) -> Vec<String> {
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for reason in &series.rejections {
        match reasons.iter_mut().find(|(known, _)| known == reason) {
            Some((_, count)) => *count += 1,
            None => reasons.push((reason, 1)),
        }
    }
    reasons
        .into_iter()
        .map(|(reason, count)| format!("{count} measurements were invalid: {reason}"))
        .collect()
}
