//! One measurement from those of several processes.

use agent_protocol::stats::{self, Interval};
use agent_protocol::{
    Measurement, ProcessFigures, ProtocolError, Ratio, Sentinel, Verdict, bounds,
};

use super::disturbed::{ByDisturbance, Kind};
use super::interval::over_processes;
use crate::{LatencyError, MeasureRequest};

/// The measurement of one model over all processes.
pub struct Merged {
    pub measurement: Measurement,
    /// Whether further processes are of no use.
    pub is_enough: bool,
    /// Whether there are as many undisturbed processes as were asked for.
    pub has_fewest: bool,
    /// Whether no process gave a figure.
    pub is_without_figures: bool,
    /// Whether the interval alone makes the measurement invalid.
    pub is_too_wide: bool,
}

/// Merges the answers of the processes: one slot per model of the request, the reference last.
pub fn merged(
    request: &MeasureRequest,
    processes: &[Vec<Measurement>],
) -> Result<Vec<Merged>, LatencyError> {
    let slots = request.names().count();
    if processes.iter().any(|answer| answer.len() != slots) {
        let (message, field) = ("Results", "measurements");
        return Err(ProtocolError::Missing { message, field }.into());
    }
    let reference = request.reference.as_ref().and(slots.checked_sub(1));
    let references_ns: Option<Vec<f64>> =
        reference.map(|at| processes.iter().map(|answer| answer[at].p5_ns).collect());
    let slot = |i: usize| {
        let all: Vec<&Measurement> = processes.iter().map(|answer| &answer[i]).collect();
        // The reference of others only serves their ratios.
        let serves = request.reference.is_some() && i == request.models.len() && i > 0;
        Slot {
            request,
            all,
            references_ns: references_ns.as_deref(),
            serves,
        }
        .merge()
    };
    (0..slots).map(slot).collect()
}

/// The measurements of one model, one per process.
struct Slot<'a> {
    request: &'a MeasureRequest,
    all: Vec<&'a Measurement>,
    references_ns: Option<&'a [f64]>,
    serves: bool,
}

impl Slot<'_> {
    fn merge(&self) -> Result<Merged, LatencyError> {
        let fewest = self.request.processes.fewest as usize;
        let (Some(first), Some(last)) = (self.all.first(), self.all.last()) else {
            let (message, field) = ("Results", "measurements");
            return Err(ProtocolError::Missing { message, field }.into());
        };
        let sampling = &self.request.sampling;
        let processes = ByDisturbance::of(&self.all, self.references_ns, sampling);
        let enough_calm = processes.calm.len() >= fewest;
        let have_figures = processes.valid.len() >= fewest.max(2);
        let counts = |figures: &Option<Figures>| {
            let ratio = figures.as_ref().and_then(|figures| figures.ratio);
            ratio.is_none_or(|of| of.interval.half_width_rel() <= sampling.ci_accept_rel)
        };
        let of_kind = |kind| {
            let figures = have_figures.then(|| Figures::of(processes.of_kind(kind)));
            (kind, figures.flatten())
        };
        // A few fast ones may give no usable interval where all calm ones do.
        let mut kinds = processes.kinds(fewest);
        let best = kinds.next().map_or((Kind::Valid, None), of_kind);
        let (kind, figures) = match counts(&best.1) {
            true => best,
            false => kinds
                .map(of_kind)
                .find(|(_, figures)| figures.is_some() && counts(figures))
                .unwrap_or(best),
        };
        let used = processes.of_kind(kind);
        let mut notes: Vec<String> = Vec::new();
        for note in used.iter().flat_map(|m| &m.notes) {
            if notes.len() < MAX_NOTES && !notes.iter().any(|other| wording(other) == wording(note))
            {
                notes.push(note.clone());
            }
        }
        notes.extend(processes.notes(self.all.len(), kind));
        let Some(figures) = figures else {
            let reason = self.too_few(processes.valid.len());
            let measurement = Measurement {
                verdict: Verdict::Invalid { reason },
                notes,
                ..(*last).clone()
            };
            return Ok(Merged {
                measurement,
                is_enough: false,
                has_fewest: false,
                is_without_figures: used.is_empty(),
                is_too_wide: false,
            });
        };
        let decisive = figures.ratio.map_or(figures.time, |ratio| ratio.interval);
        let wide = decisive.half_width_rel();
        // The width of a time alone is the device's change of pace, which the interval states. A
        // ratio in which it does not cancel is of no use.
        let accepted = sampling.ci_accept_rel;
        let disturbed = processes.objection(self.all.len(), fewest);
        let is_too_wide = disturbed.is_none() && figures.ratio.is_some() && wide > accepted;
        let verdict = if let Some(reason) = disturbed {
            Verdict::Invalid { reason }
        } else if is_too_wide {
            Verdict::Invalid {
                reason: format!(
                    "over {} of {} processes the 95 % interval of its ratio to the reference is ±{:.1} %, more than the ±{:.1} % that \
                     count as usable: measure with more effort or reduce the load of the device",
                    used.len(),
                    self.all.len(),
                    wide * 100.0,
                    accepted * 100.0
                ),
            }
        } else {
            Verdict::Valid
        };
        let is_enough = enough_calm && (self.serves || wide <= sampling.ci_target_rel);
        Ok(Merged {
            measurement: figures.measurement(first, used, verdict, notes),
            is_enough,
            has_fewest: enough_calm,
            is_without_figures: false,
            is_too_wide,
        })
    }

    fn too_few(&self, used: usize) -> String {
        let reason = self.all.iter().rev().find_map(|m| match &m.verdict {
            Verdict::Invalid { reason } => Some(reason.as_str()),
            Verdict::Valid => None,
        });
        format!(
            "{used} of {} processes gave a figure, and {} are needed: {}",
            self.all.len(),
            self.request.processes.fewest,
            reason.unwrap_or("the others gave no ratio to the reference")
        )
    }
}

/// Notes of a merged measurement.
const MAX_NOTES: usize = 32;

/// A note without its figures, which differ from process to process.
fn wording(note: &str) -> String {
    note.replace(|c: char| c.is_ascii_digit() || c == '.', "")
}

/// The figures over processes.
struct Figures {
    time: Interval,
    ratio: Option<Ratio>,
}

impl Figures {
    /// `None` where the ratios of some processes are missing.
    fn of(used: &[&Measurement]) -> Option<Self> {
        let medians: Vec<f64> = used.iter().map(|m| m.median_ns).collect();
        let time = over_processes(&medians)?;
        let ratios: Vec<Ratio> = used.iter().filter_map(|m| m.ratio).collect();
        if ratios.is_empty() {
            return Some(Self { time, ratio: None });
        }
        if ratios.len() < used.len() {
            return None;
        }
        // What disturbs a process slows large networks more than small ones. The least disturbed
        // runs repeat best from one measurement to the next (`host/docs/decisions.md`).
        let low_ends: Vec<f64> = ratios.iter().map(|ratio| ratio.low_end).collect();
        let interval = over_processes(&low_ends)?;
        let ratio = Ratio {
            interval,
            low_end: interval.value,
            rounds: ratios.iter().map(|ratio| ratio.rounds).sum(),
        };
        Some(Self {
            time,
            ratio: Some(ratio),
        })
    }

    /// `first` has the full evidence, where it was asked for.
    fn measurement(
        &self,
        first: &Measurement,
        used: &[&Measurement],
        verdict: Verdict,
        notes: Vec<String>,
    ) -> Measurement {
        // The store keeps at most so many of one measurement.
        let most = bounds::MAX_SAMPLES / used.len();
        let joined = |times: fn(&Measurement) -> &[u64]| -> Vec<u64> {
            let part = |m: &&Measurement| times(m).iter().take(most).copied().collect::<Vec<_>>();
            used.iter().flat_map(part).collect()
        };
        let samples_ns = joined(|m| &m.samples_ns);
        let sorted = stats::ascending(&samples_ns);
        let percentile = |p: f64| stats::percentile(&sorted, p).unwrap_or(self.time.value);
        let (begun, ended) = (used[0], used[used.len() - 1]);
        let sentinels: Option<Vec<Sentinel>> = used.iter().map(|m| m.sentinel).collect();
        let sentinel = sentinels.and_then(|all| {
            Some(Sentinel {
                before_ns: all.first()?.before_ns,
                after_ns: all.last()?.after_ns,
            })
        });
        let others: Option<Vec<f64>> = used.iter().map(|m| m.others_cores).collect();
        let others_cores = others.map(|all| all.iter().sum::<f64>() / all.len() as f64);
        let loads: Vec<f64> = used.iter().map(|m| m.load_ns as f64).collect();
        Measurement {
            median_ns: self.time.value,
            ci95_ns: (self.time.low, self.time.high),
            min_ns: samples_ns.iter().copied().min().unwrap_or(0),
            p5_ns: percentile(5.0),
            p25_ns: percentile(25.0),
            p50_ns: percentile(50.0),
            p75_ns: percentile(75.0),
            p95_ns: percentile(95.0),
            p99_ns: percentile(99.0),
            samples_ns,
            block_runs: begun.block_runs,
            warmup_ns: joined(|m| &m.warmup_ns),
            preempted_ns: joined(|m| &m.preempted_ns),
            ratio: self.ratio,
            before: begun.before.clone(),
            after: ended.after.clone(),
            verdict,
            notes,
            taken_unix_ns: ended.taken_unix_ns,
            load_ns: stats::median(&loads).unwrap_or(0.0) as u64,
            sentinel,
            contention: None,
            others_cores,
            processes: used.iter().map(|m| process(m, most)).collect(),
            ..first.clone()
        }
    }
}

fn process(m: &Measurement, most: usize) -> ProcessFigures {
    ProcessFigures {
        samples: m.samples_ns.len().min(most),
        block_runs: m.block_runs,
        median_ns: m.median_ns,
        ratio: m.ratio.map(|ratio| ratio.low_end),
        sentinel: m.sentinel,
        contention: m.contention,
        others_cores: m.others_cores,
    }
}
