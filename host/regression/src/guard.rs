//! One model on one device: measured, compared, judged.

use latency::{Key, LatencyError, LatencySource, Measurement, Model, Origin, Profile};

use crate::Verdict;
use crate::baseline::{Baseline, BaselineFolder, Entry};
use crate::compare::{Change, change_between, compare, level_interval};
use crate::output::Compared;
use crate::series::{Series, SeriesConfig, measure_series};
use crate::statistics::Rounds;

/// A device that models are guarded on.
pub struct Device {
    /// What the user calls it.
    pub name: String,
    /// Its settings.
    pub profile: Profile,
    /// The way to its latencies.
    pub source: Box<dyn LatencySource>,
}

/// What one model's turn brought.
pub struct Turn {
    /// The comparison.
    pub compared: Compared,
    /// What a baseline keeps of it; `None` when it was not measured.
    pub entry: Option<Entry>,
    /// The rounds, for Criterion.
    pub rounds: Rounds,
    /// Every measurement, valid or not, for the history.
    pub measurements: Vec<Measurement>,
    /// What was measured against what, where and how.
    pub key: Key,
    /// Where the measurements come from.
    pub origin: Origin,
}

/// Compares with a baseline, if there is one.
pub struct Guard<'a> {
    /// Where baselines and their models lie.
    pub folder: &'a BaselineFolder,
    /// The baseline to compare with.
    pub baseline: Option<&'a Baseline>,
    /// How to measure.
    pub config: SeriesConfig,
}

impl Guard<'_> {
    /// Measures `model` on `device` and compares it. A model that cannot be measured is a result too.
    ///
    /// # Errors
    /// When the device is lost, so that other models cannot be measured either.
    pub fn turn(
        &self,
        device: &mut Device,
        model: &Model,
        progress: impl FnMut(usize, Option<Change>),
    ) -> Result<Turn, LatencyError> {
        let info = device.source.describe();
        let profile = &device.profile;
        let mut key = Key::new(
            model.sha256(),
            None,
            &info,
            &profile.sampling,
            &profile.runtime,
        );
        let kept = self
            .baseline
            .and_then(|baseline| baseline.inputs(model, &key));
        let sized = kept.map(|inputs| model.clone().with_inputs(inputs.to_vec()));
        let model = sized.as_ref().unwrap_or(model);
        key = key.with_inputs(model.inputs());
        let old = self
            .baseline
            .and_then(|baseline| baseline.find(model.name(), &key.device, &key.setup));
        let reference = old
            .and_then(|entry| self.folder.model(entry.sha256))
            .map(|bytes| Model::new(format!("baseline of {}", model.name()), bytes))
            .map(|old| old.with_inputs(model.inputs().to_vec()));
        key.reference = reference.as_ref().map(Model::sha256);
        let mut compared = Compared {
            model: model.name().to_owned(),
            device: device.name.clone(),
            device_id: key.device.clone(),
            sha256: model.sha256().to_string(),
            median_ns: None,
            median_ci95_ns: None,
            processes: 0,
            baseline_ns: old.and_then(|entry| latency::stats::median(&entry.medians_ns)),
            change: None,
            interleaved: reference.is_some(),
            verdict: Verdict::Unmeasured,
            notes: Vec::new(),
            statistics: None,
        };
        let measured = measure_series(
            device.source.as_mut(),
            profile,
            model,
            reference.as_ref(),
            &self.config,
            progress,
        );
        let series = match measured {
            Ok(series) => series,
            Err(error) if error.is_agent_lost() => return Err(error),
            Err(error) => {
                compared.notes.push(error.to_string());
                Series::default()
            }
        };
        let medians: Vec<f64> = series.processes.iter().map(|p| p.median_ns).collect();
        compared.median_ns = series.median_ns();
        compared.median_ci95_ns = level_interval(&medians);
        compared.processes = medians.len();
        compared.notes.extend(rejections(&series));
        if let (Some(baseline), None) = (self.baseline, old) {
            let known: Vec<&str> = baseline.entries.iter().map(|e| e.model.as_str()).collect();
            compared.notes.push(format!(
                "the baseline has nothing of it on this device with these settings (it has {}); save it with --save-baseline",
                known.join(", ")
            ));
        }
        if let (Some(old), Some(_)) = (old, compared.median_ns) {
            if old.runtime != info.runtime_version {
                compared.notes.push(format!(
                    "the baseline was saved with ONNX Runtime {}, this is {}; interleaved, both run on this one",
                    old.runtime, info.runtime_version
                ));
            }
            compared.change = match &reference {
                Some(_) => series.change(),
                None => series
                    .paced()
                    .and_then(|paced| change_between(&paced, &old.paced)),
            };
            if compared.change.is_none() {
                compared.notes.push(
                    "the baseline's model is not at hand and the device's pace is not known: save the baseline again"
                        .into(),
                );
            }
        }
        compared.verdict = match (compared.median_ns, self.baseline, compared.change) {
            (None, ..) => Verdict::Unmeasured,
            (Some(_), None, _) => Verdict::NoBaseline,
            (Some(_), Some(_), None) => Verdict::Uncompared,
            (Some(_), Some(_), Some(change)) => compare(&change, self.config.threshold),
        };
        let rounds = |of: fn(&crate::Process) -> &Vec<f64>| {
            series.processes.iter().flat_map(of).copied().collect()
        };
        Ok(Turn {
            rounds: Rounds {
                id: format!("{}@{}", model.name(), device.name),
                old_ns: rounds(|p| &p.reference_rounds_ns),
                new_ns: rounds(|p| &p.rounds_ns),
            },
            entry: compared.median_ns.map(|_| Entry {
                model: model.name().to_owned(),
                sha256: model.sha256(),
                device: key.device.clone(),
                runtime: info.runtime_version.clone(),
                setup: key.setup.clone(),
                inputs: model.inputs().to_vec(),
                medians_ns: medians,
                paced: series.paced().unwrap_or_default(),
                taken_unix_ns: series.measurements.last().map_or(0, |m| m.taken_unix_ns),
            }),
            compared,
            measurements: series.measurements,
            key,
            origin: Origin::here(&info),
        })
    }
}

/// Why processes did not count, each reason once with its number.
fn rejections(series: &Series) -> Vec<String> {
    let mut reasons: Vec<(String, usize)> = Vec::new();
    for reason in &series.rejections {
        match reasons.iter_mut().find(|(known, _)| known == reason) {
            Some((_, count)) => *count += 1,
            None => reasons.push((reason.clone(), 1)),
        }
    }
    reasons
        .into_iter()
        .map(|(reason, count)| format!("{count} measurements do not count: {reason}"))
        .collect()
}
