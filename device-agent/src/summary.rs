//! Raw samples to measurements, and whether they may be used.
//!
//! What decides is the interval of the ratio to the reference, because drift and load touch both alike and cancel there;
//! how busy the machine is by itself makes nothing invalid (on a shared machine it would make everything so). Without a
//! reference nothing cancels, so then drift and throttling count too.

use agent_protocol::{
    DeviceState, MeasureJob, Measurement, ModelRef, Ratio, RuntimeInfo, Sentinel, Verdict, stats,
    wire,
};

/// The provider the sessions ask for.
const PROVIDER: &str = "CPUExecutionProvider";

/// The device around one pass.
pub struct Surroundings {
    /// Before it.
    pub before: DeviceState,
    /// After it.
    pub after: DeviceState,
}

/// The samples of all models: one measurement a model in the job's order, then the reference's.
///
/// The worker's series come in its own order: the reference first.
pub fn measurements(
    job: &MeasureJob,
    samples: wire::WorkerSamples,
    around: &Surroundings,
) -> Result<Vec<Measurement>, String> {
    let wanted = job.models.len() + usize::from(job.reference.is_some());
    if samples.series.len() != wanted {
        return Err(format!(
            "the worker sent {} series instead of {wanted}",
            samples.series.len()
        ));
    }
    let runtime = RuntimeInfo {
        version: samples.runtime_version,
        provider: PROVIDER.to_owned(),
        threads: job.sampling.threads,
        spinning: job.sampling.spinning,
        cores: job.sampling.cores.clone(),
        nice: samples.nice,
        node_providers: Vec::new(),
        options: job.runtime.clone(),
        confinement: samples.confinement,
    };
    let shared = Shared {
        job,
        around,
        runtime,
        notes: notes(around, samples.cpu_ns, samples.elapsed_ns),
        sentinel: samples.sentinel.map(Into::into),
    };
    let mut series = samples.series.into_iter();
    let reference = job
        .reference
        .as_ref()
        .and_then(|model| Some((model, series.next()?)));
    let base = reference.as_ref().map(|(model, series)| Base {
        model,
        medians: stats::block_medians(&series.samples_ns, series.block_runs as usize),
        p5: stats::percentile(&stats::ascending(&series.samples_ns), 5.0).unwrap_or(f64::NAN),
    });
    let mut all = Vec::new();
    for (model, series) in job.models.iter().zip(series) {
        all.push(shared.measurement(model, series, base.as_ref())?);
    }
    if let Some((model, series)) = reference {
        all.push(shared.measurement(model, series, None)?);
    }
    Ok(all)
}

/// The reference, as its candidates need it.
struct Base<'a> {
    model: &'a ModelRef,
    medians: Vec<f64>,
    p5: f64,
}

struct Shared<'a> {
    job: &'a MeasureJob,
    around: &'a Surroundings,
    runtime: RuntimeInfo,
    notes: Vec<String>,
    sentinel: Option<Sentinel>,
}

impl Shared<'_> {
    fn measurement(
        &self,
        model: &ModelRef,
        series: wire::WorkerSeries,
        base: Option<&Base<'_>>,
    ) -> Result<Measurement, String> {
        let medians = stats::block_medians(&series.samples_ns, series.block_runs as usize);
        let sorted = stats::ascending(&series.samples_ns);
        let few = || {
            format!(
                "the worker sent only {} rounds of `{}`",
                medians.len(),
                model.name
            )
        };
        let (low, high) = stats::median_ci(&medians).ok_or_else(few)?;
        let median_ns = stats::median(&medians).ok_or_else(few)?;
        let at = |p: f64| stats::percentile(&sorted, p).unwrap_or(median_ns);
        let ratio = base.and_then(|base| stats::ratio(&medians, &base.medians, at(5.0) / base.p5));
        let alone = (high - low) / 2.0 / median_ns;
        let verdict = match self.objection(&series, base.map(|_| ratio), alone, &medians) {
            None => Verdict::Valid,
            Some(reason) => Verdict::Invalid { reason },
        };
        Ok(Measurement {
            name: model.name.clone(),
            model_sha256: model.sha256,
            reference_sha256: base.map(|base| base.model.sha256),
            median_ns,
            ci95_ns: (low, high),
            min_ns: series.samples_ns.iter().copied().min().unwrap_or(0),
            p5_ns: at(5.0),
            p25_ns: at(25.0),
            p50_ns: at(50.0),
            p75_ns: at(75.0),
            p95_ns: at(95.0),
            p99_ns: at(99.0),
            samples_ns: series.samples_ns,
            block_runs: series.block_runs,
            warmup_ns: series.warmup_ns,
            preempted_ns: series.preempted_ns,
            ratio,
            peak_memory_bytes: None,
            before: self.around.before.clone(),
            after: self.around.after.clone(),
            runtime: self.runtime.clone(),
            verdict,
            notes: self.notes.clone(),
            taken_unix_ns: self.around.after.taken_unix_ns,
            load_ns: series.load_ns,
            sentinel: self.sentinel,
        })
    }

    /// Why a measurement may not be used. `against` is the ratio where one was to be had.
    fn objection(
        &self,
        series: &wire::WorkerSeries,
        against: Option<Option<Ratio>>,
        alone_rel: f64,
        medians: &[f64],
    ) -> Option<String> {
        let sampling = &self.job.sampling;
        if !series.finite {
            return Some(
                "its output is not finite on random input: look for NaN or overflow in the weights"
                    .into(),
            );
        }
        let wide = |rel: f64, what: &str| {
            format!(
                "the 95 % interval of its {what} is ±{:.1} %, more than the ±{:.1} % that count as usable, after {} rounds: measure for longer (max_duration_ns) or calm the machine",
                rel * 100.0,
                sampling.ci_accept_rel * 100.0,
                medians.len(),
            )
        };
        match against {
            Some(None) => Some("it has no ratio to the reference: too few rounds".into()),
            Some(Some(ratio)) => (ratio.ci_rel() > sampling.ci_accept_rel)
                .then(|| wide(ratio.ci_rel(), "ratio to the reference")),
            // The reference itself, which only serves the ratios.
            None if self.job.reference.is_some() && !self.job.models.is_empty() => None,
            None => {
                if alone_rel > sampling.ci_accept_rel {
                    return Some(wide(alone_rel, "median"));
                }
                let drift = stats::drift(medians).unwrap_or(0.0);
                if drift.abs() > sampling.drift_accept_rel {
                    return Some(format!(
                        "it became {:.0} % {} while it was measured: let the machine settle, or measure against a reference",
                        drift.abs() * 100.0,
                        if drift > 0.0 { "slower" } else { "faster" },
                    ));
                }
                throttled(self.around).map(|times| {
                    format!("the device was throttled {times} times while it was measured: let it cool, or measure against a reference")
                })
            }
        }
    }
}

/// How often cores were throttled in between, if at all.
fn throttled(around: &Surroundings) -> Option<u64> {
    let pairs = around.before.cores.iter().zip(&around.after.cores);
    let times: u64 = pairs
        .filter_map(|(before, after)| after.throttle_count?.checked_sub(before.throttle_count?))
        .sum();
    (times > 0).then_some(times)
}

/// What was noticed about the machine.
fn notes(around: &Surroundings, worker_cpu_ns: u64, worker_elapsed_ns: u64) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(times) = throttled(around) {
        notes.push(format!("the device was throttled {times} times"));
    }
    let (before, after) = (&around.before, &around.after);
    let elapsed = after
        .taken_unix_ns
        .saturating_sub(before.taken_unix_ns)
        .max(worker_elapsed_ns);
    let share = |ns: u64| ns as f64 / (elapsed.max(1) as f64);
    if let (Some(from), Some(to)) = (before.cpu_busy_ns, after.cpu_busy_ns) {
        let others = share(to.saturating_sub(from).saturating_sub(worker_cpu_ns));
        if others > 0.2 {
            notes.push(format!(
                "other processes kept {others:.1} of {} cores busy",
                after.cores.len()
            ));
        }
    }
    if let (Some(from), Some(to)) = (before.cpu_steal_ns, after.cpu_steal_ns) {
        let stolen = share(to.saturating_sub(from));
        if stolen > 0.02 {
            notes.push(format!(
                "the hypervisor withheld {:.0} % of a core",
                stolen * 100.0
            ));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_protocol::{
        Conditions, CoreState, Evidence, Limits, RuntimeOptions, Sampling, Sha256,
    };

    fn job(reference: bool) -> MeasureJob {
        let model = |name: &str| ModelRef {
            name: name.into(),
            sha256: Sha256::of(name.as_bytes()),
        };
        MeasureJob {
            models: vec![model("a")],
            reference: reference.then(|| model("base")),
            sampling: Sampling::default(),
            limits: Limits::default(),
            evidence: Evidence::Quick,
            runtime: RuntimeOptions::default(),
            conditions: Conditions::default(),
        }
    }

    fn series(samples_ns: Vec<u64>, finite: bool) -> wire::WorkerSeries {
        wire::WorkerSeries {
            warmup_ns: vec![9],
            samples_ns,
            block_runs: 1,
            finite,
            load_ns: 1,
            preempted_ns: vec![],
        }
    }

    fn calm() -> Surroundings {
        Surroundings {
            before: DeviceState::default(),
            after: DeviceState::default(),
        }
    }

    fn verdicts(
        job: &MeasureJob,
        series: Vec<wire::WorkerSeries>,
        around: &Surroundings,
    ) -> Vec<Verdict> {
        let samples = wire::WorkerSamples {
            series,
            ..Default::default()
        };
        measurements(job, samples, around)
            .unwrap()
            .into_iter()
            .map(|m| m.verdict)
            .collect()
    }

    #[test]
    fn drift_of_both_is_valid_against_a_reference_and_invalid_alone() {
        let drifting: Vec<u64> = (0..30).map(|round| 1000 + round * 40).collect();
        let half: Vec<u64> = drifting.iter().map(|ns| ns / 2).collect();
        let against = verdicts(
            &job(true),
            vec![series(drifting.clone(), true), series(half, true)],
            &calm(),
        );
        assert_eq!(against, vec![Verdict::Valid, Verdict::Valid]);
        let steps: Vec<u64> = (0..300)
            .map(|round| if round < 140 { 1000 } else { 1500 })
            .collect();
        let mut lenient = job(false);
        lenient.sampling.ci_accept_rel = 10.0;
        let alone = verdicts(&lenient, vec![series(steps, true)], &calm());
        assert!(
            matches!(&alone[0], Verdict::Invalid { reason } if reason.contains("slower")),
            "{alone:?}"
        );
    }

    #[test]
    fn a_verdict_names_its_reason() {
        let steady = || series(vec![1000; 20], true);
        let wild = || {
            series(
                (0..20)
                    .map(|i| if i % 2 == 0 { 1000 } else { 3000 })
                    .collect(),
                true,
            )
        };
        let check = |job: &MeasureJob,
                     all: Vec<wire::WorkerSeries>,
                     around: &Surroundings,
                     needle: &str| {
            let found = verdicts(job, all, around);
            assert!(
                matches!(&found[0], Verdict::Invalid { reason } if reason.contains(needle)),
                "{needle}: {found:?}"
            );
        };
        check(
            &job(true),
            vec![steady(), wild()],
            &calm(),
            "ratio to the reference",
        );
        check(&job(false), vec![wild()], &calm(), "its median");
        check(
            &job(true),
            vec![steady(), series(vec![1000; 20], false)],
            &calm(),
            "not finite",
        );
        let core = |count| DeviceState {
            cores: vec![CoreState {
                throttle_count: Some(count),
                ..CoreState::default()
            }],
            ..DeviceState::default()
        };
        let hot = Surroundings {
            before: core(3),
            after: core(5),
        };
        check(&job(false), vec![steady()], &hot, "throttled 2 times");
        assert_eq!(
            verdicts(&job(true), vec![steady(), steady()], &hot)[0],
            Verdict::Valid
        );
    }

    #[test]
    fn a_worker_that_sends_something_else_is_found_out() {
        let samples = |series| wire::WorkerSamples {
            series,
            ..Default::default()
        };
        assert!(
            measurements(&job(true), samples(vec![series(vec![1; 9], true)]), &calm()).is_err()
        );
        assert!(
            measurements(
                &job(false),
                samples(vec![series(vec![1; 5], true)]),
                &calm()
            )
            .is_err()
        );
        let mut no_block = series(vec![1; 9], true);
        no_block.block_runs = 0;
        assert!(measurements(&job(false), samples(vec![no_block]), &calm()).is_err());
    }
}
