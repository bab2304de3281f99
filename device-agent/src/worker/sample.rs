//! The sampling pass: interleaved rounds of short blocks, until the interval is narrow enough or
//! time is up.

use std::time::Instant;

use agent_protocol::{Stage, bounds, stats, wire};
use nix::sys::resource::{UsageWho, getrusage};

use super::error::WorkerError;
use super::events::Events;
use super::model::{Bench, Runner, nanoseconds};
use super::sentinel::Sentinel;
use super::{placement, providers};

/// Interval of progress reports, ns.
const REPORT_NS: u64 = 100_000_000;
/// Maximum notes on providers, of all models together.
const MAX_NOTES: usize = 32;
/// Maximum warm-up runs, however fast.
const MAX_WARMUP_RUNS: usize = 2048;

/// Maximum repeats of preempted runs, per run of a block.
const MAX_REPEATS: usize = 2;

/// One model and its times.
struct Series {
    runner: Runner,
    name: String,
    nodes: Vec<wire::NodeProvider>,
    finite: bool,
    warmup_ns: Vec<u64>,
    samples_ns: Vec<u64>,
    preempted_ns: Vec<u64>,
    block_runs: usize,
    medians: Vec<f64>,
}

/// Measures all models of the job.
pub fn pass(
    job: &wire::WorkerJob,
    bench: &Bench,
    events: &mut Events,
) -> Result<wire::WorkerSamples, WorkerError> {
    let begun = Instant::now();
    let mut all = Vec::new();
    let mut notes = Vec::new();
    let mut note = |note: String| {
        if !notes.contains(&note) && notes.len() < MAX_NOTES {
            notes.push(note);
        }
    };
    let order: Vec<&wire::WorkerModel> = if job.reversed {
        job.models.iter().rev().collect()
    } else {
        job.models.iter().collect()
    };
    for model in order {
        events.enter(Stage::Load, &model.name);
        let nodes = if bench.options.providers.iter().all(providers::is_cpu) {
            Vec::new()
        } else {
            placement::find(bench, model)?
        };
        if let Some(fallback) = providers::fallback(&nodes, &bench.options) {
            note(format!("`{}`: {fallback}", model.name));
        }
        let runner = Runner::load(bench, model, None)?;
        runner.notes.iter().cloned().for_each(&mut note);
        all.push(Series {
            runner,
            name: model.name.clone(),
            nodes,
            finite: true,
            warmup_ns: Vec::new(),
            samples_ns: Vec::new(),
            preempted_ns: Vec::new(),
            block_runs: 1,
            medians: Vec::new(),
        });
    }
    for series in &mut all {
        events.enter(Stage::Warmup, &series.name);
        warm_up(series, bench)?;
    }
    if bench.sampling.sustained_ns > 0 {
        sustain(&mut all, bench, events)?;
    }
    events.enter(Stage::Sampling, "");
    let sentinel = Sentinel::new();
    let before_ns = sentinel.time();
    let (sampling, from_ns) = (Instant::now(), waited_ns());
    sample(&mut all, bench, job, events)?;
    let contention = from_ns.zip(waited_ns()).map(|(from, to)| wire::Contention {
        waiting_ns: to.saturating_sub(from),
        elapsed_ns: nanoseconds(sampling),
    });
    let after_ns = sentinel.time();
    if job.reversed {
        all.reverse();
    }
    for series in &mut all {
        series.finite &= series.runner.run_and_check()?;
    }
    let cpu_ns = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| {
        [usage.user_time(), usage.system_time()]
            .iter()
            .map(|time| {
                u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000_000
                    + u64::try_from(time.tv_usec()).unwrap_or(0) * 1000
            })
            .sum()
    });
    let nice = rustix::process::getpriority_process(None).unwrap_or(0);
    let series = all.into_iter().map(|series| wire::WorkerSeries {
        warmup_ns: series.warmup_ns,
        samples_ns: series.samples_ns,
        preempted_ns: series.preempted_ns,
        block_runs: series.block_runs as u32,
        finite: series.finite,
        load_ns: series.runner.load_ns,
        node_providers: series.nodes,
    });
    Ok(wire::WorkerSamples {
        series: series.collect(),
        cpu_ns,
        elapsed_ns: nanoseconds(begun),
        nice,
        sentinel: Some(wire::Sentinel {
            before_ns,
            after_ns,
        }),
        notes,
        contention,
        ..wire::WorkerSamples::default()
    })
}

/// Runs all models in turn without a pause, to warm the device as continuous use does.
fn sustain(all: &mut [Series], bench: &Bench, events: &mut Events) -> Result<(), WorkerError> {
    events.enter(Stage::Sustained, "");
    let begun = Instant::now();
    let mut reported = 0;
    while nanoseconds(begun) < bench.sampling.sustained_ns {
        for series in &mut *all {
            series.runner.run()?;
        }
        let elapsed = nanoseconds(begun);
        if elapsed - reported >= REPORT_NS {
            reported = elapsed;
            events.progress.elapsed_ns = elapsed;
            events.report();
        }
    }
    events.progress.elapsed_ns = 0;
    Ok(())
}

/// Runs a model without counting, and derives the number of runs in its blocks.
fn warm_up(series: &mut Series, bench: &Bench) -> Result<(), WorkerError> {
    let sampling = &bench.sampling;
    series.finite = series.runner.run_and_check()?;
    let begun = Instant::now();
    let fewest = (sampling.warmup_runs as usize).clamp(1, MAX_WARMUP_RUNS);
    while series.warmup_ns.len() < fewest
        || (nanoseconds(begun) < sampling.warmup_ns && series.warmup_ns.len() < MAX_WARMUP_RUNS)
    {
        series.warmup_ns.push(series.runner.run()?);
    }
    let late: Vec<f64> = series.warmup_ns[series.warmup_ns.len() / 2..]
        .iter()
        .map(|&ns| ns as f64)
        .collect();
    // The fastest of them: on a busy machine the others show neighbouring processes.
    let run_ns = late
        .iter()
        .copied()
        .min_by(f64::total_cmp)
        .unwrap_or(1.0)
        .max(1.0);
    series.block_runs =
        ((sampling.block_ns as f64 / run_ns) as usize).clamp(1, bounds::MAX_BLOCK_RUNS as usize);
    Ok(())
}

fn sample(
    all: &mut [Series],
    bench: &Bench,
    job: &wire::WorkerJob,
    events: &mut Events,
) -> Result<(), WorkerError> {
    let sampling = &bench.sampling;
    let longest = all
        .iter()
        .map(|series| series.block_runs)
        .max()
        .unwrap_or(1);
    let most = (sampling.max_rounds as usize)
        .min(bounds::MAX_SAMPLES / longest)
        .max(6);
    let begun = Instant::now();
    let mut reported = 0;
    for round in 0..most {
        let count = all.len();
        for place in 0..count {
            // Each model comes first, last and after each other model equally often.
            let turned = (round + place) % count;
            let index = if (round / count).is_multiple_of(2) {
                turned
            } else {
                count - 1 - turned
            };
            block(&mut all[index])?;
        }
        let elapsed = nanoseconds(begun);
        let rounds = round + 1;
        let enough = rounds >= (sampling.min_rounds as usize).min(most);
        let widest = if enough { widest_ci(all, job) } else { None };
        if elapsed - reported >= REPORT_NS {
            reported = elapsed;
            events.progress.rounds = u32::try_from(rounds).unwrap_or(u32::MAX);
            events.progress.elapsed_ns = elapsed;
            events.progress.widest_ci_rel = widest;
            events.report();
        }
        // Below six rounds there is no interval, so time alone does not end sampling.
        if widest.is_some_and(|widest| widest <= sampling.ci_target_rel)
            || (elapsed >= sampling.max_duration_ns && rounds >= 6)
        {
            break;
        }
    }
    Ok(())
}

fn block(series: &mut Series) -> Result<(), WorkerError> {
    let from = series.samples_ns.len();
    // The previous model left its data in the caches. One uncounted run replaces it. For a model
    // so slow that its block is a single run the caches make no difference.
    if series.block_runs > 1 {
        series.runner.run()?;
    }
    // On a busy core a model slower than a scheduler's slice never runs undisturbed, so when the
    // repeats are used up a disturbed run counts.
    let mut repeats = series.block_runs * MAX_REPEATS;
    while series.samples_ns.len() < from + series.block_runs {
        let before = preemptions();
        let ns = series.runner.run()?;
        if repeats > 0 && preemptions() != before && series.preempted_ns.len() < bounds::MAX_SAMPLES
        {
            repeats -= 1;
            series.preempted_ns.push(ns);
        } else {
            series.samples_ns.push(ns);
        }
    }
    let block: Vec<f64> = series.samples_ns[from..]
        .iter()
        .map(|&ns| ns as f64)
        .collect();
    series.medians.extend(stats::median(&block));
    Ok(())
}

/// Returns how often the kernel preempted this process; `None` where the system does not count
/// it.
fn preemptions() -> Option<std::ffi::c_long> {
    getrusage(UsageWho::RUSAGE_SELF)
        .ok()
        .map(|usage| usage.involuntary_context_switches())
}

/// Returns how long this thread has been ready to run and waited for a core, ns; `None` where the
/// kernel does not report it.
fn waited_ns() -> Option<u64> {
    // Time on a core, time waiting for one, and the number of turns (sched-stats.rst).
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}

/// Returns half the widest interval relative to its median: of the ratios to the reference where
/// there is one, otherwise of the times.
fn widest_ci(all: &[Series], job: &wire::WorkerJob) -> Option<f64> {
    let split = if job.reversed {
        all.split_last()
    } else {
        all.split_first()
    };
    let widths: Option<Vec<f64>> = match split {
        Some((reference, candidates)) if job.first_is_reference && !candidates.is_empty() => {
            candidates
                .iter()
                .map(|candidate| {
                    stats::ratio(&candidate.medians, &reference.medians, 1.0)
                        .map(|ratio| ratio.ci_rel())
                })
                .collect()
        }
        _ => all
            .iter()
            .map(|series| {
                let (low, high) = stats::median_ci(&series.medians)?;
                Some((high - low) / 2.0 / stats::median(&series.medians)?)
            })
            .collect(),
    };
    widths?.into_iter().max_by(f64::total_cmp)
}
