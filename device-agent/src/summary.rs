//! Turns raw samples into measurements and judges whether they may be used.
//!
//! The interval of the ratio to the reference decides, because drift and load affect both alike
//! and cancel there. A busy machine alone makes nothing invalid; on a shared machine it would
//! make everything invalid. Without a reference nothing cancels, so drift, throttling and a
//! changed pace of the device count as well; with one, the host replaces the process. A device that
//! is too hot at the end violates the conditions, reference or not.

use std::time::Duration;

use agent_protocol::{
    BoardInfo, Contention, DeviceState, MeasureJob, Measurement, ModelRef, NodeProvider, Ratio,
    RuntimeInfo, RuntimeOptions, Sentinel, Verdict, pace, stats, wire,
};

use crate::conditions;
use crate::worker::providers;

/// Difference between the clock and the elapsed time that counts as a jump, ns. Synchronised
/// clocks move by far less.
const CLOCK_JUMP_NS: i128 = 1_000_000_000;
/// Change of the sentinel's time that is noted. On a busy shared machine it moved by up to 3 %.
const PACE_NOTED_REL: f64 = 0.1;
/// Share of the sampling spent waiting for a core that is noted.
const CONTENTION_NOTED: f64 = 0.02;
/// Cores that other programs keep busy, on average, that are noted.
const OTHERS_NOTED: f64 = 0.2;

/// The device around one pass.
pub struct Surroundings {
    /// Before it.
    pub before: DeviceState,
    /// After it.
    pub after: DeviceState,
    /// Time in between, by the monotonic clock.
    pub elapsed: Duration,
}

impl Surroundings {
    /// Returns how far the device's clock ran ahead of the elapsed time, ns.
    fn clock_ahead_ns(&self) -> i128 {
        let by_clock = i128::from(self.after.taken_unix_ns) - i128::from(self.before.taken_unix_ns);
        by_clock - self.elapsed.as_nanos() as i128
    }
}

/// Returns one measurement for each model, in the job's order, then the reference's.
///
/// The worker's series come in its own order: the reference first.
pub fn measurements(
    job: &MeasureJob,
    samples: wire::WorkerSamples,
    around: &Surroundings,
) -> Result<Vec<Measurement>, String> {
    let expected = job.models.len() + usize::from(job.reference.is_some());
    if samples.series.len() != expected {
        return Err(format!(
            "the worker sent {} series instead of {expected}",
            samples.series.len()
        ));
    }
    let others_cores = others_cores(around, samples.cpu_ns);
    let mut notes = notes(around, others_cores);
    notes.extend(samples.notes);
    notes.extend(conditions::notes(&job.conditions, &around.before));
    let sentinel: Option<Sentinel> = samples.sentinel.map(Into::into);
    let contention: Option<Contention> = samples.contention.map(Into::into);
    notes.extend(contention.and_then(contention_note));
    notes.extend(sentinel.and_then(|sentinel| pace::change(sentinel, PACE_NOTED_REL)));
    let runtime = RuntimeInfo {
        version: samples.runtime_version,
        provider: String::new(),
        threads: job.sampling.threads,
        spinning: job.sampling.spinning,
        cores: job.sampling.cores.clone(),
        nice: samples.nice,
        node_providers: Vec::new(),
        options: job.runtime.clone(),
        confinement: samples.confinement,
        board: samples
            .board
            .map(BoardInfo::try_from)
            .transpose()
            .map_err(|error| error.to_string())?,
    };
    let pass = Pass {
        job,
        around,
        runtime,
        notes,
        sentinel,
        contention,
        others_cores,
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
        all.push(pass.measurement(model, series, base.as_ref())?);
    }
    if let Some((model, series)) = reference {
        all.push(pass.measurement(model, series, None)?);
    }
    Ok(all)
}

/// The reference, as far as its candidates need it.
struct Base<'a> {
    model: &'a ModelRef,
    medians: Vec<f64>,
    p5: f64,
}

/// The values that all measurements of one pass share.
struct Pass<'a> {
    job: &'a MeasureJob,
    around: &'a Surroundings,
    runtime: RuntimeInfo,
    notes: Vec<String>,
    sentinel: Option<Sentinel>,
    contention: Option<Contention>,
    others_cores: Option<f64>,
}

impl Pass<'_> {
    fn measurement(
        &self,
        model: &ModelRef,
        series: wire::WorkerSeries,
        base: Option<&Base<'_>>,
    ) -> Result<Measurement, String> {
        let medians = stats::block_medians(&series.samples_ns, series.block_runs as usize);
        let sorted = stats::ascending(&series.samples_ns);
        let too_few = || {
            format!(
                "the worker sent only {} rounds of `{}`",
                medians.len(),
                model.name
            )
        };
        let (low, high) = stats::median_ci(&medians).ok_or_else(too_few)?;
        let median_ns = stats::median(&medians).ok_or_else(too_few)?;
        let percentile = |p: f64| stats::percentile(&sorted, p).unwrap_or(median_ns);
        let ratio =
            base.and_then(|base| stats::ratio(&medians, &base.medians, percentile(5.0) / base.p5));
        let alone = (high - low) / 2.0 / median_ns;
        let nodes = series.node_providers.iter().cloned();
        let node_providers = nodes
            .map(NodeProvider::try_from)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| error.to_string())?;
        let runtime = RuntimeInfo {
            provider: first_used(&self.job.runtime, &node_providers).to_owned(),
            node_providers,
            ..self.runtime.clone()
        };
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
            p5_ns: percentile(5.0),
            p25_ns: percentile(25.0),
            p50_ns: percentile(50.0),
            p75_ns: percentile(75.0),
            p95_ns: percentile(95.0),
            p99_ns: percentile(99.0),
            samples_ns: series.samples_ns,
            block_runs: series.block_runs,
            warmup_ns: series.warmup_ns,
            preempted_ns: series.preempted_ns,
            ratio,
            peak_memory_bytes: None,
            before: self.around.before.clone(),
            after: self.around.after.clone(),
            runtime,
            verdict,
            notes: self.notes.clone(),
            taken_unix_ns: self.around.after.taken_unix_ns,
            load_ns: series.load_ns,
            sentinel: self.sentinel,
            contention: self.contention,
            processes: Vec::new(),
            reference_excess_rel: None,
            others_cores: self.others_cores,
        })
    }

    /// Returns why a measurement may not be used. `against` is its ratio, where there is a
    /// reference.
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
        if let Some(most) = self.job.conditions.max_millicelsius
            && let Some(zone) = conditions::too_hot(&self.around.after, most)
        {
            return Some(format!(
                "{} at its end: let the device cool, or measure for a shorter time",
                conditions::describe(zone, most)
            ));
        }
        let wide = |rel: f64, what: &str| {
            format!(
                "the 95 % interval of its {what} is ±{:.1} %, more than the ±{:.1} % that count as usable, after {} rounds: measure for longer (max_duration_ns) or reduce the load of the machine",
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
                let changed = |sentinel| pace::change(sentinel, sampling.drift_accept_rel);
                if let Some(note) = self.sentinel.and_then(changed) {
                    return Some(format!(
                        "{note}: let the device settle, or measure against a reference"
                    ));
                }
                pace::throttling(&self.around.before, &self.around.after).map(|note| {
                    format!(
                        "{note} while it was measured: let it cool, or measure against a reference"
                    )
                })
            }
        }
    }
}

/// Returns the first requested provider that ran a node. Without a list of nodes, the CPU alone
/// was requested.
fn first_used(options: &RuntimeOptions, nodes: &[NodeProvider]) -> &'static str {
    let requested = options.providers.iter();
    requested
        .map(|provider| providers::name_in_runtime(&provider.name))
        .find(|name| nodes.iter().any(|node| node.provider == *name))
        .unwrap_or(providers::CPU)
}

/// Returns a note on the time that the worker waited for a core.
fn contention_note(contention: Contention) -> Option<String> {
    let share = contention.share();
    (share > CONTENTION_NOTED).then(|| {
        format!(
            "the worker waited for a core during {:.0} % of the sampling: other processes use the device",
            share * 100.0
        )
    })
}

/// Returns how many cores other programs kept busy, on average; `None` where the system does not
/// count it.
fn others_cores(around: &Surroundings, worker_cpu_ns: u64) -> Option<f64> {
    let busy = around.after.cpu_busy_ns?;
    let others = busy.saturating_sub(around.before.cpu_busy_ns?);
    let elapsed = around.elapsed.as_nanos().max(1) as f64;
    Some(others.saturating_sub(worker_cpu_ns) as f64 / elapsed)
}

/// Returns notes on the machine.
fn notes(around: &Surroundings, others_cores: Option<f64>) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(pace::throttling(&around.before, &around.after));
    let ahead = around.clock_ahead_ns();
    if ahead.abs() > CLOCK_JUMP_NS {
        notes.push(format!(
            "the clock of the device jumped by {:.1} s, or the device slept",
            ahead as f64 / 1e9
        ));
    }
    let (before, after) = (&around.before, &around.after);
    let elapsed = around.elapsed.as_nanos().max(1) as f64;
    if let Some(others) = others_cores.filter(|others| *others > OTHERS_NOTED) {
        notes.push(format!(
            "other processes kept {others:.1} of {} cores busy",
            after.cores.len()
        ));
    }
    if let (Some(from), Some(to)) = (before.cpu_steal_ns, after.cpu_steal_ns) {
        let stolen = to.saturating_sub(from) as f64 / elapsed;
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
mod tests;
